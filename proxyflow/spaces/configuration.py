"""One set of hyperparameters as a value that can be hashed, named and written as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from proxyflow.core.files import digest
from proxyflow.spaces.parameters import text_of

if TYPE_CHECKING:
    from proxyflow.spaces.space import Space

LONGEST_NAME = 120


@dataclass(frozen=True, eq=False, repr=False)
class Configuration(Mapping[str, Any]):
    """The values of the hyperparameters that are in use, in the order of their space. `Space.configuration` makes it.

    It equals every mapping of the same values; its space only gives it a name and a group.

    Example:
        >>> from proxyflow.spaces.parameters import Float
        >>> from proxyflow.spaces.space import Space
        >>> space = Space((Float("learning_rate", 0, 1, default=0.1, label="lr"), Float("momentum", 0, 1, default=0.9)))
        >>> configuration = space.configuration({"learning_rate": "0.3"})
        >>> configuration["momentum"], configuration.name
        (0.9, 'lr=0.3')
    """

    space: Space
    entries: tuple[tuple[str, Any], ...]

    @cached_property
    def _values(self) -> dict[str, Any]:
        return dict(self.entries)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self.entries))

    def __repr__(self) -> str:
        return f"Configuration({self._values})"

    @cached_property
    def differences(self) -> dict[str, Any]:
        """The values that are not their parameter's default; all of parameters without a default."""
        return {
            parameter.name: self[parameter.name]
            for parameter in self.space.parameters
            if parameter.name in self and (parameter.default is None or self[parameter.name] != parameter.default)
        }

    @cached_property
    def name(self) -> str:
        """`default`, or the differences by their labels: `arch=xresnet18,lr=0.01,stem=4-32`. For people only.

        A name of more than 120 characters keeps its first differences and ends in how many more there are, with the
        beginning of the SHA-256 of `to_json`.
        """
        parts: dict[str, list[Any]] = {}
        different = {parameter.label for parameter in self.space.parameters if parameter.name in self.differences}
        for parameter in self.space.parameters:
            if parameter.name in self and parameter.label in different:
                parts.setdefault(parameter.label, []).append(self[parameter.name])
        texts = [f"{label}={_joined(values)}" for label, values in parts.items()]
        name = ",".join(texts) or "default"
        beginning = "" if len(name) <= LONGEST_NAME else digest(self._values)[:8]
        kept = len(texts)
        while len(name) > LONGEST_NAME:
            kept -= 1
            name = ",".join([*texts[:kept], f"+{len(texts) - kept} more ({beginning})"])
        return name

    @property
    def group(self) -> str:
        """The group of the first difference that has one, else `other`."""
        groups = (parameter.group for parameter in self.space.parameters if parameter.name in self.differences)
        return next(filter(None, groups), "other")

    def to_json(self) -> str:
        """The values as JSON with sorted keys: equal configurations of one space give equal texts.

        Defaults of silent hyperparameters are left out, see `Parameter`.
        """
        return json.dumps(self.told, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def told(self) -> dict[str, Any]:
        """The values without defaults of silent hyperparameters."""
        silent = {each.name: each.default for each in self.space.parameters if each.silent}
        return {name: value for name, value in self.entries if name not in silent or value != silent[name]}

    def replace(self, **changes: Any) -> Configuration:
        """A copy with other values; those that are not in use any more are left out.

        Raises:
            InvalidValue: a value breaks its rule, or is of no use in the new configuration.
        """
        return self.space.configuration(changes, base=self)


def _joined(values: list[Any]) -> str:
    """The values of one label; where there are several, text with a dash is quoted, as a dash is between them."""
    quoted = [len(values) > 1 and isinstance(value, str) and "-" in value for value in values]
    return "-".join(repr(value) if quote else text_of(value) for value, quote in zip(values, quoted, strict=True))
