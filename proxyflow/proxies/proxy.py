"""A proxy: examples and further reductions, joined with `+`, with one canonical spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.core.spelling import LONGEST_SPELLING, parse_spelling, parts_of, takes_list
from proxyflow.proxies.reduction import Reduction, reductions
from proxyflow.strategies import Full, Strategy, strategies
from proxyflow.strategies.base import parse_strategy

R = TypeVar("R", bound=Reduction)

COMBINED = "Combinations"  # family of proxies that reduce in several ways


EVERYTHING: Strategy = Full()


@dataclass(frozen=True)
class Proxy:
    """How a training is made cheaper: which examples it has, and what else is reduced.

    Attributes:
        data: selects the examples.
        reductions: at most one of each kind, in the order of the registry.

    Example:
        >>> proxy = parse_proxy("size:16 + random:.25 + epochs:5")
        >>> proxy.canonical
        'random:0.25+epochs:5+size:16'
        >>> proxy.epochs(20)
        5
    """

    data: Strategy = EVERYTHING
    reductions: tuple[Reduction, ...] = ()

    def __post_init__(self) -> None:
        names = [reduction.name for reduction in self.reductions]
        again = [name for number, name in enumerate(names) if name in names[:number]]
        if again:
            both = [each.canonical for each in self.reductions if each.name == again[0]]
            raise InvalidValue("strategy", "+".join(both), f"{again[0]} is given twice; give it once")
        kept = [each for each in self.reductions if not each.changes_nothing]
        if len(kept) > 1:  # to list the registry imports plug-ins, which may import this module
            order = list(reductions)
            kept.sort(key=lambda each: order.index(each.name))
        object.__setattr__(self, "reductions", tuple(kept))

    @property
    def subset_strategy(self) -> Strategy:
        """The strategy that makes the subset, see `Strategy.subset_strategy`."""
        return self.data.subset_strategy

    @property
    def parts(self) -> tuple[Strategy | Reduction, ...]:
        """What it consists of; the data alone where nothing else is reduced."""
        return self.reductions if self.reductions and isinstance(self.data, Full) else (self.data, *self.reductions)

    @property
    def canonical(self) -> str:
        """The one spelling that tags, files and tables use."""
        return "+".join(part.canonical for part in self.parts)

    @property
    def is_target(self) -> bool:
        """Whether it is what proxies are compared with: everything, nothing reduced."""
        return isinstance(self.data, Full) and not self.reductions

    @property
    def reduces(self) -> frozenset[str]:
        """What it reduces, as trainers name it (`Trainer.fidelities`)."""
        return self.data.reduces | {reduction.name for reduction in self.reductions}

    @property
    def family(self) -> str:
        """The group that figures show it with: that of its only part, or `Combinations`."""
        return self.parts[0].family if len(self.parts) == 1 else COMBINED

    def reduction(self, kind: type[R]) -> R | None:
        """Its reduction of a kind; None where that is not reduced."""
        return next((each for each in self.reductions if isinstance(each, kind)), None)

    def epochs(self, full_epochs: int) -> int:
        """How many epochs to train for where the target trains `full_epochs`."""
        for reduction in self.reductions:
            full_epochs = reduction.epochs(full_epochs)
        return full_epochs

    def too_long(self, full_epochs: int) -> str:
        """Why it is no proxy of a target that trains `full_epochs`; empty where it is one."""
        return "; ".join(filter(None, (reduction.too_long(full_epochs) for reduction in self.reductions)))


TARGET = Proxy()


def known_fidelities() -> tuple[str, ...]:
    """All that proxies can reduce, as trainers name it, examples first."""
    of_data = dict.fromkeys(name for cls in strategies.values() for name in sorted(cls.reduces))
    return (*of_data, *reductions)


def parse_proxy(text: str) -> Proxy:
    """Reads strategies and reductions that are joined with `+`, in any order.

    Raises:
        InvalidValue: a part is wrong (see `parse_strategy`), given twice, or a second choice of examples.

    Example:
        >>> parse_proxy("epochs:5").canonical
        'epochs:5'
        >>> parse_proxy("full+width:1").canonical
        'full'
    """
    data: list[Strategy] = []
    others: list[Reduction] = []
    for part in parts_of(text):
        name = _name_of(part)
        _check_joined(text, part)
        if name in reductions:
            others.append(parse_spelling(part, reductions, Reduction.kind))
        elif name in strategies:
            data.append(parse_strategy(part))
        elif not part.strip() and text.strip():
            raise InvalidValue("strategy", text, "a part is missing beside +; write random:0.25+epochs:5")
        elif data + others and "=" in part.partition(":")[0]:
            raise InvalidValue("strategy", text, f"{part.strip()!r} is an option; write it after a comma")
        else:
            raise UnknownName("strategy", name, [*strategies, *reductions])
    if len(data) > 1:
        both = " and ".join(each.canonical for each in data)
        raise InvalidValue("strategy", text, f"{both} both choose examples; a proxy has one choice of examples")
    proxy = Proxy(data[0] if data else EVERYTHING, tuple(others))
    if len(proxy.canonical) > LONGEST_SPELLING:
        rule = f"its spelling has {len(proxy.canonical):,} characters, and runs can keep {LONGEST_SPELLING:,}"
        raise InvalidValue("strategy", proxy.canonical, rule)
    return proxy


def _check_joined(text: str, part: str) -> None:
    """Refuses a reduction after a comma, with the right spelling."""
    head, *options = [piece.strip() for piece in part.split(",")]
    after = [piece for piece in options if "=" not in piece.partition(":")[0] and _name_of(piece) in reductions]
    if after:
        left = ",".join(piece for piece in options if piece not in after)
        right = "+".join([f"{head},{left}" if left else head, *after])
        raise InvalidValue("strategy", text, f"reductions are joined with +; write {right}")


def _name_of(part: str) -> str:
    """The name at the beginning of a part."""
    head = part.partition(",")[0]
    return (head if ":" in head else head.replace("=", ":", 1)).partition(":")[0].strip()


def split_proxies(text: str) -> list[str]:
    """Splits a comma- or space-separated list; a piece `key=value` belongs to the proxy before it."""
    found: list[str] = []
    for piece in re.sub(r"\s*\+\s*", "+", text).replace(";", " ").replace(",", " ").split():
        head = parts_of(piece)[0]  # by=el2n+size:16 continues the proxy before it
        key, equals, _ = head.partition("=")
        # classes=0+3 is a strategy: its name is not an option of another one. A value may have a colon, not a key.
        option = equals and ":" not in key and key not in strategies
        if found and (option or _continues_list(found[-1], piece)):
            found[-1] += f",{piece}"
        else:
            found.append(piece)
    return found


def _continues_list(before: str, piece: str) -> bool:
    """Whether a piece continues a list with a comma, which `parse_strategy` refuses with the right spelling."""
    name = _name_of(before)
    return piece.isdigit() and name in strategies and takes_list(strategies[name])


def parse_proxies(text: str) -> tuple[Proxy, ...]:
    """Reads a list of proxies; one named twice, in whatever spelling, is kept once."""
    parsed = {proxy.canonical: proxy for proxy in map(parse_proxy, split_proxies(text))}
    if not parsed:
        raise InvalidValue("strategies", text, f"name at least one of {', '.join([*strategies, *reductions])}")
    return tuple(parsed.values())


def check_data_only(proxy: Proxy, why: str) -> Strategy:
    """The strategy of a proxy that reduces nothing but its data.

    Args:
        why: what is done with it, for the message ("materialize selects examples").

    Raises:
        InvalidValue: it reduces something else, too.
    """
    if proxy.reductions:
        others = "+".join(each.canonical for each in proxy.reductions)
        raise InvalidValue("strategy", proxy.canonical, f"{why}; leave out {others}")
    return proxy.data


def data_of(proxies: Iterable[Proxy]) -> tuple[Strategy, ...]:
    """The strategies that choose examples for proxies, each once."""
    return tuple(dict.fromkeys(proxy.data for proxy in proxies))
