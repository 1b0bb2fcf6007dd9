"""Ways to choose a proxy: pure functions of the pool and a seed, one file each, behind one registry."""

# The order of these imports is the order in which the strategies are registered, and so of every list of them.

from proxyflow.strategies.base import Pool, Strategy, parse_strategies, parse_strategy, spelling, strategies
from proxyflow.strategies.full import Full
from proxyflow.strategies.random import Random
from proxyflow.strategies.half_classes import HalfClasses, OtherHalfClasses
from proxyflow.strategies.ranked import Easiest, Hardest
from proxyflow.strategies.epochs import Epochs

__all__ = [
    "Easiest",
    "Epochs",
    "Full",
    "HalfClasses",
    "Hardest",
    "OtherHalfClasses",
    "Pool",
    "Random",
    "Strategy",
    "parse_strategies",
    "parse_strategy",
    "spelling",
    "strategies",
]
