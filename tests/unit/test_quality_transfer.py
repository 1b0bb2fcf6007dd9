"""What holds on one part must hold on another before anybody relies on it; a part is measured as a study of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, trainings_frame
from scipy.stats import pearsonr

from proxyflow.quality.bootstrap import Draws, draw, number_configurations
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import Pairs, make_pairs
from proxyflow.quality.summary import measure_study
from proxyflow.quality.transfer import PART_COLUMNS, TRANSFER_COLUMNS, correlations, measure_parts
from proxyflow.reporting.families import FAMILIES

PROXIES = {
    "random:0.1": (0.1, 0.06),
    "random:0.5": (0.5, 0.02),
    "easiest:0.25": (0.25, 0.03),
    "hardest:0.5": (0.55, 0.04),
    "distilled:10": (0.03, 0.5),
}
NONE = QualityOptions(bootstrap=0)


def study(proxies: dict[str, tuple[float, float]] = PROXIES) -> pd.DataFrame:
    """Two data sets, and in each the first half of the configurations change no learning rate."""
    frame = trainings_frame(noisy_study(proxies))
    other = frame["config"].isin(["default", *(f"lr={number}" for number in range(1, 8))])
    return frame.assign(config_group=np.where(other, "other", "learning-rate"))


def pairs_of(frame: pd.DataFrame, samples: int = 0) -> tuple[dict[str, Pairs], Draws | None]:
    runs = number_configurations(frame)
    pairs = {name: make_pairs(runs, name) for name in sorted(runs["strategy"].unique())}
    return pairs, draw(runs, samples) if samples else None


def parts_of(
    frame: pd.DataFrame, options: QualityOptions = NONE, samples: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    pairs, draws = pairs_of(frame, samples)
    return measure_parts(pairs, draws, options, FAMILIES)


PARTS = [("dataset", "dataset", "digits"), ("dataset", "dataset", "letters")] + [
    ("group", "config_group", name) for name in ("other", "learning-rate")
]


@pytest.mark.parametrize("curve", ["fitted", "published"])
@pytest.mark.parametrize(("split", "column", "name"), PARTS)
def test_a_part_is_measured_as_a_study_of_that_part_alone(split: str, column: str, name: str, curve: str) -> None:
    frame = study()
    options = QualityOptions(bootstrap=0, cost_curve=curve)
    parts, _ = parts_of(frame, options)
    assert list(parts.columns) == PART_COLUMNS
    part = parts[(parts["split"] == split) & (parts["part"] == name)].set_index("strategy")
    alone = measure_study(frame[frame[column] == name], options, FAMILIES).strategies.set_index("strategy")
    assert set(part.index) == set(PROXIES), "the target, perfect everywhere, is left out"
    for strategy in PROXIES:
        for measure in ("r2", "spearman", "cost_adjusted_r2", "n_pairs"):
            assert part.loc[strategy, measure] == pytest.approx(alone.loc[strategy, measure], abs=1e-9), measure
        assert part.loc[strategy, "family"] == alone.loc[strategy, "family"]


def test_the_agreement_of_two_parts_is_scipys_correlation_over_the_strategies() -> None:
    parts, transfer = parts_of(study())
    assert list(transfer.columns) == TRANSFER_COLUMNS
    assert len(transfer) == 2 * 3
    for row in transfer.to_dict("records"):
        sides = [
            parts[(parts["split"] == row["split"]) & (parts["part"] == row[side])].set_index("strategy")[row["measure"]]
            for side in ("left", "right")
        ]
        assert row["correlation"] == pytest.approx(pearsonr(sides[0], sides[1]).statistic, abs=1e-9)
        assert row["n_strategies"] == len(PROXIES)
        assert np.isnan(row["low"])


def test_three_data_sets_give_three_pairs_of_them() -> None:
    frame = study()
    third = frame[frame["dataset"] == "digits"].assign(dataset="woof", run_id=lambda f: "w" + f["run_id"])
    third["objective"] = third["objective"] ** 2
    parts, transfer = parts_of(pd.concat([frame, third], ignore_index=True))
    by_dataset = transfer[transfer["split"] == "dataset"]
    assert list(by_dataset[["left", "right"]].drop_duplicates().itertuples(index=False, name=None)) == [
        ("digits", "letters"),
        ("digits", "woof"),
        ("letters", "woof"),
    ]
    assert len(by_dataset) == 9
    assert set(parts["part"]) == {"digits", "letters", "woof", "other", "learning-rate"}


def test_nothing_to_split_gives_nothing() -> None:
    frame = study()
    one = frame[(frame["dataset"] == "digits") & (frame["config_group"] == "other")]
    for tables in (parts_of(one), parts_of(one, samples=20), measure_parts({}, None, NONE, FAMILIES)):
        assert [table.empty for table in tables] == [True, True]
        assert [list(table.columns) for table in tables] == [PART_COLUMNS, TRANSFER_COLUMNS]


def test_a_target_alone_has_no_parts_worth_telling() -> None:
    parts, transfer = parts_of(study({}), samples=20)
    assert parts.empty
    assert transfer["correlation"].isna().all()


def test_two_strategies_are_too_few_for_a_correlation() -> None:
    _, transfer = parts_of(study({name: PROXIES[name] for name in ("random:0.1", "random:0.5")}), samples=30)
    of_r2 = transfer[transfer["measure"] == "r2"]
    assert (of_r2["n_strategies"] == 2).all()
    assert of_r2[["correlation", "low", "high"]].isna().all(axis=None)


def test_a_strategy_that_a_part_lacks_is_left_out_of_the_correlation_only() -> None:
    frame = study()
    lacking = frame[~((frame["strategy"] == "random:0.5") & (frame["dataset"] == "letters"))]
    parts, transfer = parts_of(lacking, samples=50)
    row = transfer[(transfer["split"] == "dataset") & (transfer["measure"] == "r2")].iloc[0]
    assert row["n_strategies"] == len(PROXIES) - 1
    cell = parts[(parts["part"] == "letters") & (parts["strategy"] == "random:0.5")].iloc[0]
    assert cell["n_pairs"] == 0
    assert np.isnan(cell["r2"])
    table = parts[parts["split"] == "dataset"].pivot_table(index="strategy", columns="part", values="r2").dropna()
    assert row["correlation"] == pytest.approx(pearsonr(table["digits"], table["letters"]).statistic)


def test_a_part_of_which_nothing_can_be_told_is_no_error() -> None:
    frame = study()
    letters = frame["dataset"] == "letters"
    for values in (0.5, np.nan):
        constant = frame.assign(value=frame["value"].mask(letters, values))
        parts, transfer = parts_of(constant, samples=20)
        assert transfer.loc[transfer["split"] == "dataset", "correlation"].isna().all()
        assert parts.loc[parts["part"] == "digits", "r2"].notna().all()


def test_intervals_have_their_ends_in_order() -> None:
    _, transfer = parts_of(study(), samples=300)
    known = transfer[["low", "correlation", "high"]].dropna()
    assert len(known) == len(transfer)
    assert (known["low"] <= known["high"]).all()
    assert known.to_numpy().min() >= -1
    assert known.to_numpy().max() <= 1


def test_correlations_are_numpys_row_by_row_and_leave_out_what_is_unknown() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20, 8))
    x[3, 2] = y[5, [0, 1]] = np.nan
    x[7, :6] = np.nan
    found = correlations(x, y)
    for number, (a, b) in enumerate(zip(x, y, strict=True)):
        known = np.isfinite(a) & np.isfinite(b)
        expected: Any = np.corrcoef(a[known], b[known])[0, 1] if known.sum() >= 3 else np.nan
        assert found[number] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(found[7])
    assert np.isnan(correlations(np.ones((1, 5)), y[:1, :5])).all()
