"""What a training is judged by, as one value, so that nothing else has to know a direction, a unit or a noise model."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, TrueFalse, check_keys, setting, validate_settings

# What every tracking store takes as the key of a metric.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*(/[A-Za-z0-9_][A-Za-z0-9_. -]*)*")
_LONGEST_NAME = 250
_VALIDATION = re.compile(r"^(valid|val|validation|eval)[_/ .-]")


@dataclass(frozen=True)
class Metric:
    """A number per epoch that says how good a training is.

    Attributes:
        name: the key under which trainings log it.
        goal: whether more or less of it is better.
        aggregate: which epoch counts, the best or the last.
        share: it is a share of the validation examples, from 0 to 1. Its noise is then binomial, and differences
            are shown in percentage points.

    Raises:
        InvalidValue: a value breaks its rule; `.name` is `metric`, `goal`, `aggregate` or `share`.

    Examples:
        >>> loss = Metric("valid_loss", "minimize")
        >>> loss.aggregate_of([0.9, 0.4, 0.6])
        0.4
        >>> loss.better(0.4, 0.6)
        True
    """

    name: str
    goal: Literal["maximize", "minimize"] = setting(
        "maximize", Choice(("maximize", "minimize")), "whether more or less of the metric is better"
    )
    aggregate: Literal["best", "last"] = setting(
        "best", Choice(("best", "last")), "which epoch's value is a training's result"
    )
    share: bool = setting(False, TrueFalse(), "the metric is a share of the validation examples, from 0 to 1")

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and len(self.name) <= _LONGEST_NAME and _NAME.fullmatch(self.name)):
            rule = f"it must be at most {_LONGEST_NAME} of letters, digits, _ - . and /, for example valid_accuracy"
            raise InvalidValue("metric", self.name, rule)
        validate_settings(self)

    @property
    def sign(self) -> float:
        """1 where more is better, else -1: `sign * value` is always to be maximized."""
        return 1.0 if self.goal == "maximize" else -1.0

    @property
    def scale(self) -> float:
        """The factor by which values are shown: 100 for shares, which are shown in per cent."""
        return 100.0 if self.share else 1.0

    @property
    def unit(self) -> str:
        """The unit of scaled differences; empty where the metric has none that is known."""
        return "points" if self.share else ""

    @property
    def label(self) -> str:
        """The name as text for people: `accuracy` for `valid_accuracy`."""
        return _VALIDATION.sub("", self.name).replace("_", " ").strip() or self.name

    @property
    def worst(self) -> float:
        """The result of a training that diverged before its first value; nan where the metric has no worst value."""
        if not self.share:
            return math.nan
        return 0.0 if self.goal == "maximize" else 1.0

    def of_constant_prediction(self, largest_class: float) -> float:
        """What a model gets that predicts one class for every example; nan where the metric is no share.

        Args:
            largest_class: share of the examples that are of the largest class.
        """
        if not self.share or not 0 <= largest_class <= 1:
            return math.nan
        return largest_class if self.goal == "maximize" else 1 - largest_class

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`; any number is better than nan."""
        if math.isnan(a) or math.isnan(b):
            return math.isnan(b) and not math.isnan(a)
        return self.sign * a > self.sign * b

    def aggregate_of(self, values: Sequence[float]) -> float:
        """The result of a training from its values per epoch, in order.

        Values that are not finite do not count for `best`. The last epoch counts for `last` whatever its value, so a
        training that diverged at its end has no result.

        Returns:
            A finite number, or nan where there is none.
        """
        counted = values[-1:] if self.aggregate == "last" else values
        finite = [float(value) for value in counted if math.isfinite(value)]
        return self.sign * max(self.sign * value for value in finite) if finite else math.nan

    def standard_error(self, value: float, n: int) -> float:
        """Binomial standard error of a share measured on `n` examples; nan where the metric is no share."""
        if not self.share or n < 1 or not 0 <= value <= 1:
            return math.nan
        return math.sqrt(value * (1 - value) / n)

    def to_json(self) -> str:
        """The whole metric as JSON with sorted keys: equal metrics give equal texts."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Metric:
        """The metric that `to_json` wrote.

        Raises:
            InvalidValue: `text` is not JSON of a metric.
        """
        rule = 'it must be JSON such as {"name": "valid_accuracy", "goal": "maximize"}'
        try:
            content: Any = json.loads(text)
        except ValueError:
            raise InvalidValue("metric", text, rule) from None
        if not isinstance(content, dict) or "name" not in content:
            raise InvalidValue("metric", text, rule)
        check_keys("key of a metric", content, cls.__dataclass_fields__)
        return cls(**content)


ACCURACY = Metric("valid_accuracy", "maximize", "best", share=True)
