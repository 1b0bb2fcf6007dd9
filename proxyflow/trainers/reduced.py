"""What the user's own code is told of a proxy's reductions: one value per kind, and nothing where it is not reduced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from proxyflow.proxies import Epochs, Proxy, reductions


def reduction_names() -> tuple[str, ...]:
    """The reductions whose values trainers hand on; epochs are those of the training itself."""
    return tuple(name for name, cls in reductions.items() if cls is not Epochs)


def reduced_values(proxy: Proxy) -> dict[str, Any]:
    """The values of a proxy's reductions by name.

    Example:
        >>> from proxyflow.proxies import parse_proxy
        >>> reduced_values(parse_proxy("random:0.1+epochs:3+size:64"))
        {'size': 64}
    """
    return {each.name: each.value for each in proxy.reductions if not isinstance(each, Epochs)}


def unsupported_values(proxy: Proxy, hyperparameters: Iterable[str] = ()) -> str:
    """Why the user's code cannot be told of a proxy's reductions; empty if it can.

    Args:
        hyperparameters: names that stand for a hyperparameter instead.
    """
    for each in proxy.reductions:
        if each.name in hyperparameters:
            return f"{each.name} is a hyperparameter of this study; give that another name"
        if each.canonical != f"{each.name}:{each.value}":
            return f"the trainer runs your own code, which is told the number alone; write {each.name}:{each.value}"
    return ""
