"""Families of strategies: one marker style each, from the registry, and one for combinations of several."""

from __future__ import annotations

from collections.abc import Iterable

from proxyflow.core.errors import UserError
from proxyflow.core.spelling import parts_of
from proxyflow.proxies import COMBINED, parse_proxy, reductions
from proxyflow.quality.options import Families
from proxyflow.reporting.styles import GREY, MarkerStyle, style
from proxyflow.strategies import strategies

OTHER = "Other"


def family_of(strategy: str) -> str:
    """The family of a proxy by its spelling; an unknown one, of a plug-in that is not installed, is of `OTHER`."""
    try:
        return parse_proxy(strategy).family
    except UserError:
        return COMBINED if len(parts_of(strategy)) > 1 else OTHER


def is_synthetic(strategy: str) -> bool:
    """Whether a proxy trains on synthetic images, by the names of its parts."""
    names = [part.partition(":")[0] for part in parts_of(strategy)]
    return any(name in strategies and strategies[name].synthetic for name in names)


def family_styles() -> dict[str, MarkerStyle]:
    """Family to colour and shape, in the order of the registry; the target's is the first, and `OTHER` is grey."""
    names = dict.fromkeys([*(cls.family for cls in strategies.values()), *(cls.family for cls in reductions.values())])
    names[COMBINED] = None
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
