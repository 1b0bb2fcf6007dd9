"""Methods of distillation as values, one file each, behind one registry; they import no torch."""

# The order of these imports is the order in which the methods are registered; the first is the default.

from proxyflow.strategies.distillation_methods.base import Method, methods, parse_method, syntax_of
from proxyflow.strategies.distillation_methods.distribution_matching import DistributionMatching
from proxyflow.strategies.distillation_methods.gradient_steps import GradientSteps
from proxyflow.strategies.distillation_methods.rank_agreement import RankAgreement

DEFAULT_METHOD = next(iter(methods))

__all__ = [
    "DEFAULT_METHOD",
    "DistributionMatching",
    "GradientSteps",
    "Method",
    "RankAgreement",
    "methods",
    "parse_method",
    "syntax_of",
]
