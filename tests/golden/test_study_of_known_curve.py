"""A whole study whose cost curve is known: trainings in, the published cubic out.

Every strategy's accuracies are made so that their r2 with the target is exactly what the cubic says at its cost: the
target's z-scores times the correlation, and the rest in a direction orthogonal to them. No noise is left, so what the
report finds may differ by rounding alone. Two things round: an accuracy near 0.8 keeps 16 digits of which a spread of
0.02 loses two, so r2 is known to about 1e-13; and the fit passes that on times the condition of its three powers over
these costs, some 1e3. A tolerance of 1e-9 leaves three digits for other processors, and is a millionth of what any
mistake in cost, normalisation or constraint would do.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame

from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES

# Shleifer & Prokop 2019 as recovered from their table 2, the last digits such that c = 1 gives exactly 1.
CUBIC = (0.21326, 2.83951, -3.89379, 1.84102)
COSTS = {
    "easiest:0.1": 0.1284,
    "easiest:0.25": 0.2998,
    "easiest:0.5": 0.5568,
    "easiest:0.75": 0.7859,
    "epochs:1": 0.0514,
    "epochs:5": 0.257,
    "epochs:10": 0.5139,
    "half-classes:0.1": 0.045,
    "half-classes:0.5": 0.2698,
    "random:0.1": 0.1007,
    "random:0.7": 0.728,
}
N = 72
TOLERANCE = 1e-9


def cubic(cost: float) -> float:
    return sum(b * cost**power for power, b in enumerate(CUBIC))


def orthonormal(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two directions of mean 0 and standard deviation 1 whose correlation is 0."""
    columns = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    basis, _ = np.linalg.qr(columns)
    return basis[:, 1] * np.sqrt(n), basis[:, 2] * np.sqrt(n)


def study() -> pd.DataFrame:
    """Correlations differ between the data sets, and their mean is the root of what the cubic says."""
    rows = []
    costs = {"full": 1.0, **COSTS, "distilled:10": 0.0257}
    for number, (dataset, level) in enumerate((("imagenette", 0.85), ("imagewoof", 0.7))):
        for index, (strategy, cost) in enumerate(costs.items()):
            rng = np.random.default_rng([number, index])
            z, _ = orthonormal(np.random.default_rng(number), N)
            own = rng.normal(size=N)
            own -= own.mean() + z * (own @ z) / N
            own /= own.std()
            r2 = 0.05 if strategy.startswith("distilled") else cubic(cost)
            # As far up on one data set as down on the other.
            r = np.sqrt(r2) + (-1) ** number * (0.0 if strategy == "full" else min(0.1, 1 - np.sqrt(r2)))
            accuracies = level + 0.02 * (r * z + np.sqrt(1 - r**2) * own)
            assert accuracies.min() > 0
            assert accuracies.max() < 1
            rows += [
                training(
                    strategy,
                    f"lr={config}" if config else "default",
                    float(accuracy),
                    dataset=dataset,
                    # Configurations cost differently, but a strategy's share of the target's cost is the same.
                    train_seconds=cost * (100.0 + config),
                    train_flops=cost**2 * 1e12,
                )
                for config, accuracy in enumerate(accuracies)
            ]
    return trainings_frame(rows)


@pytest.fixture(scope="module")
def quality() -> StudyQuality:
    return measure_study(study().sample(frac=1, random_state=0), QualityOptions(bootstrap=0), FAMILIES)


def test_r2_and_cost_of_every_strategy_are_those_that_the_study_was_made_with(quality: StudyQuality) -> None:
    table = quality.strategies.set_index("strategy")
    for strategy, cost in {"full": 1.0, **COSTS}.items():
        assert table.loc[strategy, "relative_cost"] == pytest.approx(cost, abs=1e-12)
        assert table.loc[strategy, "r2"] == pytest.approx(cubic(cost), abs=1e-12)
    assert (table["n_pairs"] == 2 * N).all()


def test_the_published_curve_is_recovered(quality: StudyQuality) -> None:
    assert quality.curve is not None
    np.testing.assert_allclose(quality.curve.coefficients, CUBIC, rtol=0, atol=TOLERANCE)
    assert sum(quality.curve.coefficients) == pytest.approx(1, abs=1e-12)


def test_every_strategy_lies_on_the_curve_but_synthetic_data_below_it(quality: StudyQuality) -> None:
    adjusted = quality.strategies.set_index("strategy")["cost_adjusted_r2"]
    np.testing.assert_allclose(adjusted[["full", *COSTS]], 0, atol=TOLERANCE)
    assert adjusted["distilled:10"] == pytest.approx(0.05 - cubic(0.0257), abs=TOLERANCE)


def test_intervals_of_the_adjustment_hold_the_curve() -> None:
    found = measure_study(study(), QualityOptions(bootstrap=100), FAMILIES).measures
    adjusted = found[found["measure"] == "cost_adjusted_r2"].set_index("strategy").loc[list(COSTS)]
    assert (adjusted["low"] < 0).all()
    assert (adjusted["high"] > 0).all()


def test_another_basis_of_cost_gives_another_curve_through_the_same_r2(quality: StudyQuality) -> None:
    by_flops = measure_study(study(), QualityOptions(bootstrap=0, cost_basis="train_flops"), FAMILIES)
    table, before = (each.strategies.set_index("strategy") for each in (by_flops, quality))
    for strategy, cost in COSTS.items():
        assert table.loc[strategy, "relative_cost"] == pytest.approx(cost**2, abs=1e-12)
        assert table.loc[strategy, "r2"] == before.loc[strategy, "r2"]
    assert by_flops.curve is not None
    assert abs(np.subtract(by_flops.curve.coefficients, CUBIC)).max() > 0.1
