"""Families of strategies: one marker style each, from the registry, and one for combinations of several."""

from __future__ import annotations

from collections.abc import Iterable

from proxyflow.core.errors import UserError
from proxyflow.quality.options import Families
from proxyflow.quality.spelling import parts_of
from proxyflow.reporting.styles import GREY, MarkerStyle, style
from proxyflow.strategies import parse_strategy, strategies

COMBINATIONS, OTHER = "Combinations", "Other"


def family_of(strategy: str) -> str:
    """The family of a strategy by its spelling.

    Several reductions joined by `+` are one of `COMBINATIONS`, whatever they are; an unknown strategy is of `OTHER`.
    """
    if len(parts_of(strategy)) > 1:
        return COMBINATIONS
    try:
        return parse_strategy(strategy).family
    except UserError:
        return OTHER


def is_synthetic(strategy: str) -> bool:
    """Whether a strategy, or a part of a combination, trains on synthetic images."""
    return any(_makes_images(part.partition(":")[0]) for part in parts_of(strategy))


def _makes_images(name: str) -> bool:
    try:
        return strategies[name].synthetic
    except UserError:
        return False


def family_styles() -> dict[str, MarkerStyle]:
    """Family to colour and shape, in the order of the registry; the target's is the first, and `OTHER` is grey."""
    names = [*dict.fromkeys(cls.family for cls in strategies.values()), COMBINATIONS]
    return {**{name: style(index) for index, name in enumerate(names)}, OTHER: GREY}


def style_of(family: str) -> MarkerStyle:
    """The style of one family; one that this version does not know styles like `Other`."""
    styles = family_styles()
    return styles.get(family, styles[OTHER])


def styles_of(families: Iterable[str]) -> dict[str, MarkerStyle]:
    """The styles of these families, each once, in the order of the registry."""
    wanted = {str(family) for family in families}
    styles = {name: each for name, each in family_styles().items() if name in wanted}
    return styles | {name: style_of(name) for name in sorted(wanted - set(styles))}


FAMILIES = Families(family_of, is_synthetic)
