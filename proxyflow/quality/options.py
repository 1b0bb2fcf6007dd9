"""How quality is measured: what a user of the report chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from proxyflow.quality.measures import Good
from proxyflow.quality.objective import Objective


@dataclass(frozen=True)
class QualityOptions:
    """How quality is measured; see the contract's section 5.

    Attributes:
        cost_basis: `train_seconds`, `examples_seen`, `train_flops`, or `auto`, see `cost_basis.choose_cost_basis`.
        cost_curve: `fitted` or `published`.
        good: which configurations Spearman looks at.
        bootstrap: samples for the intervals, 0 for none.
        tolerance: what a policy may lose which the verdict recommends: points for metrics that are shares, else per
            cent of the metric's spread, see `Objective.tolerated`.
        objective: what the trainings are compared by; `summary.measure_study` reads it from them.
    """

    cost_basis: str = "train_seconds"
    cost_curve: str = "fitted"
    good: Good = field(default_factory=Good)
    bootstrap: int = 1000
    tolerance: float = 0.5
    objective: Objective = field(default_factory=Objective)


@dataclass(frozen=True)
class Families:
    """What kinds of strategies there are, which the statistics do not know by themselves.

    Attributes:
        family_of: a strategy's family by its spelling.
        is_synthetic: whether a strategy trains on synthetic data, which the cost curve is not fitted to.
    """

    family_of: Callable[[str], str]
    is_synthetic: Callable[[str], bool]
