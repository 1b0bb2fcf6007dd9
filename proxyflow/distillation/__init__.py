"""Synthetic examples that stand for a data set: what methods there are (`methods`), and the code that applies them."""
