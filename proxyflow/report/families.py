"""Families of strategies: one colour each, read from the registry."""

from __future__ import annotations

from proxyflow.errors import UserError
from proxyflow.strategies import parse_strategy, strategies

# Synthetic data sets are no choice of examples, so no strategy class stands for them.
SYNTHETIC = {"distilled": "Distillation"}
OTHER = "Other"

# Okabe & Ito's palette, which colour-blind readers can tell apart, and four of Tol's muted one for the families that
# came later; black is the target.
PALETTE = (
    *("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#332288", "#999933", "#882255", "#44AA99", "#8A8A8A"),
)


def family_of(strategy: str) -> str:
    """The family of a strategy by its spelling; one that this version does not know is `Other`."""
    name = strategy.partition(":")[0]
    if name in SYNTHETIC:
        return SYNTHETIC[name]
    try:
        return parse_strategy(strategy).family
    except UserError:
        return OTHER


def is_synthetic(strategy: str) -> bool:
    """Whether a strategy trains on synthetic images."""
    return strategy.partition(":")[0] in SYNTHETIC


def family_colours() -> dict[str, str]:
    """Family to colour, in the order of the registry."""
    families = dict.fromkeys(cls.family for cls in strategies.values())
    names = [*families, *SYNTHETIC.values(), OTHER]
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(names)}
