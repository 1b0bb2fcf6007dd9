"""Data sets of any kind: what they have in common (`protocol`), which exist (`catalog`), and `images`."""
