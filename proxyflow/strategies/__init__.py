"""Strategies: pure functions that select examples from a pool with a seed, one file each, behind one registry."""

# The order of these imports is the order in which the strategies are registered, and so of every list of them.

from proxyflow.strategies.base import (
    ExamplePool,
    EpochPlan,
    Strategy,
    parse_strategy,
    strategies,
)
from proxyflow.strategies.full import Full
from proxyflow.strategies.random import Random
from proxyflow.strategies.half_classes import HalfClasses, OtherHalfClasses
from proxyflow.strategies.easiest import Easiest
from proxyflow.strategies.hardest import Hardest
from proxyflow.strategies.slices import Slice
from proxyflow.strategies.mix import Mix
from proxyflow.strategies.curriculum import Curriculum
from proxyflow.strategies.classes import Classes
from proxyflow.strategies.easiest_classes import EasiestClasses
from proxyflow.strategies.confusable_classes import ConfusableClasses
from proxyflow.strategies.coverage import Coverage
from proxyflow.strategies.k_center import KCenter
from proxyflow.strategies.herding import Herding
from proxyflow.strategies.kmeans_coreset import KMeansCoreset
from proxyflow.strategies.prototypes import Prototypes
from proxyflow.strategies.distilled import Distilled

__all__ = [
    "Classes",
    "ConfusableClasses",
    "Coverage",
    "Curriculum",
    "Distilled",
    "Easiest",
    "EasiestClasses",
    "EpochPlan",
    "ExamplePool",
    "Full",
    "HalfClasses",
    "Hardest",
    "Herding",
    "KCenter",
    "KMeansCoreset",
    "Mix",
    "OtherHalfClasses",
    "Prototypes",
    "Random",
    "Slice",
    "Strategy",
    "parse_strategy",
    "strategies",
]
