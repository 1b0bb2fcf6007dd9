"""What configurations are made of: which hyperparameters there are, which values they take, and how to draw some."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from pathlib import Path
from typing import Any

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.core.seeds import generator
from proxyflow.core.settings import Number, check_keys
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.parameters import Categorical, Parameter, located, plain, text_of
from proxyflow.spaces.space_file import as_categorical, entries_of, narrowed, parameter_of, read_yaml

MOST_DRAWS = 100_000
# So many points of the sequence per configuration that is asked for; then single ones are picked from a list of all.
_POINTS_PER_DRAW = 16


@dataclass(frozen=True)
class Space:
    """Hyperparameters in order, and the configurations that they allow.

    Attributes:
        parameters: the order is that of configuration names.
        schema: the space of a trainer of which this one is a part. Configurations, with their names and groups, are
            then the trainer's; hyperparameters that are not in use here stay at its defaults.

    Raises:
        InvalidValue: two parameters have one name, or a condition is of an unknown one, of a value that is none, or
            of the parameter itself, maybe through others.

    Example:
        >>> from proxyflow.spaces.parameters import Categorical, Float
        >>> rate = Float("learning_rate", 1e-4, 1e-1, log=True)
        >>> momentum = Float("momentum", 0.8, 0.99, when={"optimizer": ("sgd",)})
        >>> space = Space((Categorical("optimizer", choices=("adam", "sgd")), rate, momentum))
        >>> len(space.sample(8, seed=0))
        8
        >>> space.configuration({"optimizer": "adam", "learning_rate": 0.01}).name
        'optimizer=adam,learning_rate=0.01'
    """

    parameters: tuple[Parameter, ...]
    schema: Space | None = None

    def __post_init__(self) -> None:
        known: dict[str, Parameter] = {}
        for parameter in self.parameters:
            if parameter.name in known:
                raise InvalidValue("hyperparameter", parameter.name, "it is declared twice: name each one once")
            known[parameter.name] = parameter
        checked = tuple(_with_checked_conditions(parameter, known) for parameter in self.parameters)
        object.__setattr__(self, "parameters", checked)
        _ = self.parents_first  # refuses conditions that go round

    @classmethod
    def load(cls, path: str | Path, schema: Space | None = None) -> Space:
        """The space of a YAML file, see `of`.

        Raises:
            UserError: no such file, no YAML, or what `of` refuses.
        """
        return cls.of(read_yaml("space", str(path)), str(path), schema)

    @classmethod
    def of(cls, content: object, origin: str, schema: Space | None = None) -> Space:
        """The space that a mapping describes, as a YAML file or a program has it.

        Args:
            content: by hyperparameter `{low, high, log, step, when, default, label, help, group}`, a list of choices
                (with other keys `{choices, when, ...}`), or a value that stays fixed.
            origin: the file, for messages.
            schema: the space of the trainer, of which the content is a part; none where the trainer takes anything.

        Raises:
            UserError: the content is no such mapping, or a part of it breaks a rule.

        Example:
            >>> space = Space.of({"width": {"low": 16, "high": 64, "step": 16}, "optimizer": ["adam", "sgd"]}, "file")
            >>> len(space.sample(8, seed=0))
            8
        """
        entries = entries_of(content, origin)
        with located(origin):
            if schema is None:
                return cls(tuple(parameter_of(name, entry) for name, entry in entries.items()))
            check_keys("hyperparameter", entries, schema.names)
            return _restricted(schema, entries)

    @classmethod
    def around(cls, configurations: Iterable[Mapping[str, Any]], base: Mapping[str, Any]) -> Space:
        """The space of configurations that are written out for a trainer that takes anything.

        No parameter has a default, so names of configurations have every value: nothing else tells what they stand
        for, and the same values have the same name in every grid.

        Args:
            base: what is common to all.

        Raises:
            InvalidValue: a value is no text, number, true or false.
        """
        values: dict[str, dict[str, Any]] = {}
        for configuration in (base, *configurations):
            for name, value in configuration.items():
                values.setdefault(name, {}).setdefault(text_of(plain(value)), value)
        return cls(tuple(Categorical(name, choices=tuple(values[name].values())) for name in sorted(values, key=str)))

    def __getitem__(self, name: str) -> Parameter:
        check_keys("hyperparameter", [name], self.names)
        return self.parameters[self.names.index(name)]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The hyperparameters' names, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def tunable(self) -> tuple[Parameter, ...]:
        """The parameters that have more than one value."""
        return tuple(parameter for parameter in self.parameters if not parameter.is_fixed)

    @cached_property
    def default(self) -> Configuration | None:
        """The configuration of defaults; none where a parameter that is in use has no default."""
        try:
            return self.configuration({})
        except InvalidValue:
            return None

    @cached_property
    def centre(self) -> Configuration:
        """The configuration of defaults, with the middle of its range for a parameter that has none."""
        values: dict[str, Any] = {}
        for parameter in self.parents_first:
            if parameter.is_active(values):
                values[parameter.name] = parameter.from_unit(0.5) if parameter.default is None else parameter.default
        return self.configuration(values)

    def configuration(self, values: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> Configuration:
        """The configuration with these values, and defaults for the rest.

        Args:
            values: by name, also as text.
            base: values that hold where `values` has none and the parameter is in use; they come before the defaults.

        Raises:
            UnknownName: a name is none of the space.
            InvalidValue: a value breaks its rule, is of a parameter that is not in use, or is missing.
        """
        base = {} if base is None else base
        check_keys("hyperparameter", (*values, *base), self.names)
        found: dict[str, Any] = {}
        for parameter in self.parents_first:
            name = parameter.name
            if not parameter.is_active(found):
                if name in values:
                    rule = f"it is used only where {parameter.condition}: leave it out, or change that"
                    raise InvalidValue(name, values[name], rule)
            elif name in values or name in base:
                found[name] = parameter.parse(values[name] if name in values else base[name])
            elif parameter.default is not None:
                found[name] = parameter.default
            else:
                raise InvalidValue(name, "", f"it has no default, so give {parameter.accepted}")
        if self.schema is not None:
            return self.schema.configuration(found)
        return Configuration(self, tuple((name, found[name]) for name in self.names if name in found))

    def configuration_from_json(self, text: str) -> Configuration:
        """The configuration that `Configuration.to_json` wrote.

        Raises:
            InvalidValue: it is not JSON of a mapping, or none of this space.
        """
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise InvalidValue("config", text, 'it must be JSON such as {"learning_rate": 0.01}')
        return self.configuration(values)

    def from_unit(self, units: Mapping[str, float]) -> Configuration:
        """The configuration at a point of the unit cube.

        Args:
            units: a number in [0, 1) for each parameter of `tunable`; those of parameters not in use have no effect.
        """
        values: dict[str, Any] = {}
        for parameter in self.parents_first:
            if parameter.is_active(values):
                values[parameter.name] = parameter.from_unit(units.get(parameter.name, 0.0))
        return self.configuration(values)

    def sample(self, n: int, seed: int) -> tuple[Configuration, ...]:
        """Draws different configurations that fill the space evenly (Sobol sequence, scrambled as in Matousek 1998).

        Fractions have 4 significant digits. The default configuration has no place of its own among them. The order
        in which parameters are declared has no effect on what is drawn, and fewer draws are the first of more draws
        wherever the space has far more configurations than are asked for.

        Raises:
            InvalidValue: the space has fewer configurations, or a parameter has no bounds.
        """
        n = int(Number(low=1, high=MOST_DRAWS, whole=True).parse("configurations", n))
        for parameter in self.tunable:
            if not parameter.is_bounded:
                rule = f"it has no bounds to draw between (it takes {parameter.accepted}): give low and high"
                raise InvalidValue("hyperparameter", parameter.name, rule)
        found: dict[Configuration, None] = {}
        for configuration in self.sequence(n, seed):
            found[configuration] = None
            if len(found) == n:
                return tuple(found)
        # The sequence rarely comes by the last of few configurations.
        rest = [each for each in islice(self._all(), _POINTS_PER_DRAW * n) if each not in found]
        rest = list(dict.fromkeys(rest))
        if len(found) + len(rest) < n:
            total = len(found) + len(rest)
            raise InvalidValue(
                "configurations", n, f"the space has only {total} different ones: ask for at most {total}"
            )
        generator(seed, "space", "rest").shuffle(rest)
        return (*found, *rest[: n - len(found)])

    def candidates(self, n: int, seed: int) -> tuple[Configuration, ...]:
        """At most `n` configurations to choose the best from, the centre first: all that there are, or an even sample.

        Raises:
            InvalidValue: a parameter has no bounds.

        Example:
            >>> space = Space.of({"optimizer": ["adam", "sgd"], "rate": {"low": 0.01, "high": 1, "log": True}}, "file")
            >>> [each.name for each in space.candidates(2, seed=0)]
            ['optimizer=sgd,rate=0.1', 'optimizer=sgd,rate=0.131']
        """
        few = all(parameter.is_discrete for parameter in self.tunable)
        found = list(dict.fromkeys(islice(self._all(), n + 1))) if few else []
        if not few or len(found) > n:
            found = [*self.sample(n, seed)]
        return tuple(dict.fromkeys([self.centre, *found]))[:n]

    def sequence(self, n: int, seed: int) -> Iterator[Configuration]:
        """Points of a scrambled Sobol sequence: at least `n`, and more while they are asked for; some may repeat."""
        from scipy.stats.qmc import Sobol  # imports scipy

        names = sorted(parameter.name for parameter in self.tunable)
        if not names:
            return
        engine = Sobol(len(names), scramble=True, rng=generator(seed, "space"))
        exponent = math.ceil(math.log2(n))
        # The sequence is balanced at powers of two alone, so each part doubles what there is.
        for part in (exponent, *range(exponent, exponent + int(math.log2(_POINTS_PER_DRAW)))):
            for point in engine.random_base2(part):
                yield self.from_unit(dict(zip(names, map(float, point), strict=True)))

    def _all(self) -> Iterator[Configuration]:
        """All configurations, one after the other; of continuous parameters the values that can be drawn."""

        def extended(values: dict[str, Any], rest: tuple[Parameter, ...]) -> Iterator[Configuration]:
            if not rest:
                yield self.configuration(values)
            elif not rest[0].is_active(values):
                yield from extended(values, rest[1:])
            else:
                for value in rest[0].values():
                    yield from extended({**values, rest[0].name: value}, rest[1:])

        return extended({}, self.parents_first)

    @cached_property
    def parents_first(self) -> tuple[Parameter, ...]:
        """The parameters, each after those that its condition names."""
        by_name = {parameter.name: parameter for parameter in self.parameters}
        sorter = TopologicalSorter({name: parameter.when for name, parameter in by_name.items()})
        try:
            return tuple(by_name[name] for name in sorter.static_order())
        except CycleError as error:
            cycle = " -> ".join(reversed(error.args[1]))
            raise InvalidValue(f"{error.args[1][0]}.when", cycle, "a condition must not lead back to itself") from None


def _with_checked_conditions(parameter: Parameter, known: Mapping[str, Parameter]) -> Parameter:
    when: dict[str, tuple[Any, ...]] = {}
    for parent, values in parameter.when.items():
        if parent not in known:
            raise UnknownName(f"{parameter.name}.when", parent, (name for name in known if name != parameter.name))
        if not known[parent].is_discrete:
            rule = "a condition must be on a list of values, whole numbers or a range with a step"
            raise InvalidValue(f"{parameter.name}.when", parent, rule)
        with located(f"{parameter.name}.when"):
            when[parent] = tuple(known[parent].parse(value) for value in values)
    return parameter if when == parameter.when else replace(parameter, when=when)


def _restricted(schema: Space, entries: Mapping[str, Mapping[str, Any]]) -> Space:
    """A part of a trainer's space: some parameters with fewer values, the others fixed at their defaults."""
    parts: dict[str, Parameter] = {}
    for parameter in schema.parents_first:
        name = parameter.name
        # Values of the parents that are left; without any, the parameter is never in use.
        when = {
            parent: tuple(value for value in allowed if parent in parts and parts[parent].accepts(value))
            for parent, allowed in parameter.when.items()
        }
        if not all(when.values()):
            if name in entries:
                raise InvalidValue("hyperparameter", name, f"it is used only where {parameter.condition}: leave it out")
            continue
        possible = replace(parameter, when=when)
        if name in entries:
            parts[name] = narrowed(possible, entries[name])
        elif parameter.default is not None:
            parts[name] = as_categorical(possible, (parameter.default,), when)
        else:
            rule = f"the trainer has no default for it: give values; it must be {parameter.accepted}"
            raise InvalidValue("hyperparameter", name, rule)
    return Space(tuple(parts[name] for name in schema.names if name in parts), schema)
