"""Families of strategies: one look each, read from the registry."""

from __future__ import annotations

from collections.abc import Iterable

from proxyflow.errors import UserError
from proxyflow.report.looks import Look, look
from proxyflow.strategies import parse_strategy, strategies

OTHER = "Other"


def family_of(strategy: str) -> str:
    """The family of a strategy by its spelling; one that this version does not know is `Other`."""
    try:
        return parse_strategy(strategy).family
    except UserError:
        return OTHER


def is_synthetic(strategy: str) -> bool:
    """Whether a strategy trains on synthetic images."""
    name = strategy.partition(":")[0]
    return name in strategies and strategies[name].synthetic


def family_looks() -> dict[str, Look]:
    """Family to colour and shape, in the order of the registry; the target's is the first."""
    families = dict.fromkeys(cls.family for cls in strategies.values())
    names = [*families, OTHER]
    return {name: look(index) for index, name in enumerate(names)}


def look_of(family: str) -> Look:
    """The look of one family; one that this version does not know looks like `Other`."""
    looks = family_looks()
    return looks.get(family, looks[OTHER])


def looks_of(families: Iterable[str]) -> dict[str, Look]:
    """The looks of these families, each once, in the order of the registry."""
    wanted = {str(family) for family in families}
    looks = {name: each for name, each in family_looks().items() if name in wanted}
    return looks | {name: look_of(name) for name in sorted(wanted - set(looks))}
