"""Subsets: the chosen examples as a value (`subset`) and as a self-contained artifact (`artifact`)."""

from proxyflow.subsets.subset import Subset, choose_subset

__all__ = ["Subset", "choose_subset"]
