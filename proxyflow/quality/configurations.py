"""The configurations of a study by their values, since a name is for people and nothing is read back out of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.quality.runs import TARGET

DEFAULT = "default"
ABSENT = -1


@dataclass(frozen=True)
class Setting:
    """One hyperparameter of a configuration.

    Attributes:
        name: as users set it, `learning_rate`.
        value: as text.
        differs: from the default configuration; False where there is none.
    """

    name: str
    value: str
    differs: bool


@dataclass(frozen=True, eq=False)
class Configurations:
    """All configurations of a study.

    Attributes:
        values: name to hyperparameter to value; none where it is not known.
    """

    values: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, runs: pd.DataFrame) -> Configurations:
        """Reads the configurations of trainings.

        Args:
            runs: `config`, `strategy` and `config_json`. Of several texts for one name the one that most of the
                target's trainings have counts, or most of all where the target has none.
        """
        if runs.empty:
            return cls({})
        ordered = runs.assign(of_target=(runs["strategy"] == TARGET) & (runs["config_json"] != ""))
        counts = ordered.value_counts(["config", "of_target", "config_json"], dropna=False).reset_index(name="count")
        best = counts.sort_values(["of_target", "count", "config_json"]).drop_duplicates("config", keep="last")
        found = zip(best["config"], best["config_json"], strict=True)
        return cls({str(config): _values(text) for config, text in sorted(found)})

    @cached_property
    def default(self) -> str | None:
        """The configuration that the others vary: `default`, else the one that shares most values with the others.

        None where no other configuration differs from that one in a single hyperparameter.
        """
        if DEFAULT in self.values:
            return DEFAULT
        names = [name for name, values in self.values.items() if values]
        _, codes = self.coded(names)
        counts = [Counter(column.tolist()) for column in codes.T]
        shared = [sum(count[code] for count, code in zip(counts, row.tolist(), strict=True)) for row in codes]
        if not names:
            return None
        middle = int(np.argmax(shared))
        varied = ((codes != codes[middle]).sum(axis=1) == 1).any()
        return names[middle] if varied else None

    def settings_of(self, name: str) -> tuple[Setting, ...]:
        """All hyperparameters of a configuration; none where they are not known."""
        base = self.values.get(self.default or "", {})
        return tuple(
            Setting(key, str(value), bool(base) and (key not in base or base[key] != value))
            for key, value in self.values.get(name, {}).items()
        )

    def coded(self, names: Iterable[str]) -> tuple[list[str], NDArray[np.int64]]:
        """Hyperparameters, and a number for each one's value in each of these configurations.

        Returns:
            The hyperparameters of all configurations, and `(names, hyperparameters)`: equal values of one
            hyperparameter have equal numbers, and a configuration without it has `ABSENT`.
        """
        numbers: dict[str, dict[Hashable, int]] = {key: {} for values in self.values.values() for key in values}
        rows = {
            name: [
                numbers[key].setdefault(_hashable(values[key]), len(numbers[key])) if key in values else ABSENT
                for key in numbers
            ]
            for name, values in self.values.items()
        }
        unknown = [ABSENT] * len(numbers)
        table = [rows.get(name, unknown) for name in names]
        return list(numbers), np.array(table, dtype=np.int64).reshape(len(table), len(numbers))


def _values(text: object) -> dict[str, Any]:
    """The hyperparameters in a JSON object; none where it is none."""
    try:
        found = json.loads(str(text))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _hashable(value: Any) -> Hashable:
    return value if isinstance(value, (str, int, float)) else json.dumps(value)
