"""How quality is measured: what a user of the report chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from proxyflow.quality.measures import Good


@dataclass(frozen=True)
class QualityOptions:
    """How quality is measured; see the contract's section 5.

    Attributes:
        cost_basis: `train_seconds`, `examples_seen` or `train_flops`.
        cost_curve: `fitted` or `published`.
        good: which configurations Spearman looks at.
        bootstrap: samples for the intervals, 0 for none.
        tolerance: how far below the target's own r2 a proxy's interval may reach that the verdict recommends.
    """

    cost_basis: str = "train_seconds"
    cost_curve: str = "fitted"
    good: Good = field(default_factory=Good)
    bootstrap: int = 1000
    tolerance: float = 0.1


@dataclass(frozen=True)
class Setting:
    """One hyperparameter of a configuration.

    Attributes:
        name: as users set it, `learning_rate`.
        value: as text.
        differs: from the default.
    """

    name: str
    value: str
    differs: bool


@dataclass(frozen=True)
class Vocabulary:
    """What the names in a study mean, which the statistics do not know by themselves.

    Attributes:
        family_of: a strategy's family by its spelling.
        is_synthetic: whether a strategy trains on synthetic data, which the cost curve is not fitted to.
        default_of: which of these configurations is the one that the others differ from, None where none is.
        settings_of: all hyperparameters of a configuration by its name, none where the name is not known.
    """

    family_of: Callable[[str], str]
    is_synthetic: Callable[[str], bool]
    default_of: Callable[[Iterable[str]], str | None]
    settings_of: Callable[[str], tuple[Setting, ...]]
