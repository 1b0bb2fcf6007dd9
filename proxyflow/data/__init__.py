"""Labelled image sets: which exist (`catalog`), what they hold (`images`), how they reach a model (`batches`)."""
