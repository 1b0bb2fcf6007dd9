"""Scoring: trains models and computes the difficulty scores (`proxyflow.scores`) of training examples."""
