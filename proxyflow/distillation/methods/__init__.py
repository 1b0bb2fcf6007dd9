"""Methods of distillation as values, one file each, behind one registry; no torch, so that they are cheap to read."""

# The order of these imports is the order in which the methods are registered; the first is the default.

from proxyflow.distillation.methods.base import Method, methods, parse_method, spelling
from proxyflow.distillation.methods.distribution_matching import DistributionMatching
from proxyflow.distillation.methods.gradient_steps import GradientSteps
from proxyflow.distillation.methods.rank_agreement import RankAgreement

DEFAULT_METHOD = next(iter(methods))

__all__ = [
    "DEFAULT_METHOD",
    "DistributionMatching",
    "GradientSteps",
    "Method",
    "RankAgreement",
    "methods",
    "parse_method",
    "spelling",
]
