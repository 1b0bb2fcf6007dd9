"""What is committed of a study gives its report again, and what its README says stands in the report's tables."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from benchmarks.tables.__main__ import check, tables_at
from benchmarks.tables.page import proxy_table, whole
from proxyflow.reporting.tables import read_tables, with_interval

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports"
CLOTHES, REDUCTIONS = REPORTS / "clothes-and-digits", REPORTS / "reductions"
STUDIES = sorted(path.parent for path in REPORTS.glob("*/runs.csv"))
TABLES = tables_at(REPORTS)
# `.62 [.41, .78]`, as the report itself writes a value with its interval.
NUMBER = r"-?(?:[0-9]+)?\.?[0-9]+"
TOLD = re.compile(rf"(?<![\w.])({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
# Brackets that are no link's.
BRACKETS = re.compile(r"\[[^\]]*\](?!\()")
# A README's row of two strategies: the published difference, ours, what the plan's rule says of it, what it hangs on, and
# the difference of tau.
CELL = r" ([^|]*) \|"
COMPARED = re.compile(rf"^\|[^|]*\| `([^`]+)` \| `([^`]+)` \|{CELL * 8}$", re.MULTILINE)
ALIKE = 0.2
# A README's row of one proxy: cost, time, steps, four measures, two differences, pairs that are not ranked.
REDUCED = re.compile(rf"^\| `([^`]+)` \|{CELL * 10}$", re.MULTILINE)
BASELINES = (("random:0.1", "epochs:1"), ("random:0.25", "epochs:2"))
PUBLISHED = {
    **{f"easiest:{share}": f"hard-{1 - share:g}-1.0" for share in (0.1, 0.25, 0.5)},
    **{f"hardest:{share}": f"hard-0.0-{share}" for share in (0.1, 0.25, 0.5)},
    **{f"random:{share}": f"All Classes-{share}" for share in (0.1, 0.25, 0.5)},
    **{f"half-classes:{share}": f"Half Classes-{share}" for share in (0.5, 1.0)},
    **{f"epochs:{epochs}": f"All Classes-1.0-ep{epochs}" for epochs in (1, 5, 10)},
    "other-half-classes:1.0": "Other Half Classes-1.0",
    "hardest:0.5,drop=0.05": "hard-0.05-0.5",
    "distilled:10": "distillation",
}
# Columns that hold a value with the ends of its interval.
VALUES = {
    "measures": ["value"],
    "comparisons": ["difference"],
    "robustness": ["difference"],
    "ceiling": ["value"],
    "ceiling_gaps": ["difference"],
    "policies": ["regret", "excess"],
    "transfer": ["correlation"],
    "epochs": ["correlation", "chance"],
    "hyperparameters": ["r2", "sign_agreement"],
}


def command_of(folder: Path) -> list[str]:
    """The README's command that makes the report from the committed trainings."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("python -m entrypoints.report --runs")]
    assert len(lines) == 1
    words = shlex.split(lines[0])
    assert words[words.index("--runs") + 1] == f"reports/{folder.name}/runs.csv"
    return words[1:]


def told_by(tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    for name, columns in VALUES.items():
        for column in columns:
            ends = [f"{column}_low", f"{column}_high"] if f"{column}_low" in tables[name] else ["low", "high"]
            for value, low, high in tables[name][[column, *ends]].dropna().astype(float).itertuples(index=False):
                yield with_interval(value, low, high)
                # The table has the better one of two first, and a README the one that a claim is of.
                if name in ("comparisons", "robustness"):
                    yield with_interval(-value, -high, -low)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_a_committed_report_is_made_again_from_its_trainings(folder: Path, tmp_path: Path) -> None:
    command = command_of(folder)
    command[command.index("--out") + 1] = str(tmp_path)
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    made, committed = read_tables(tmp_path / folder.name), read_tables(folder)
    assert sorted(made) == sorted(committed)
    for name, table in committed.items():
        assert_frame_equal(made[name], table, check_dtype=False, rtol=1e-6, atol=1e-9, obj=name)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_every_number_with_an_interval_in_a_readme_is_in_its_tables(folder: Path) -> None:
    known = set(told_by(read_tables(folder)))
    text = (folder / "README.md").read_text(encoding="utf-8")
    told = [f"{value} [{low}, {high}]" for value, low, high in TOLD.findall(text)]
    assert [each for each in told if each not in known] == []
    assert len(told) == len(BRACKETS.findall(text)), "every interval is written as the report writes one"


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_what_the_index_and_the_docs_tell_of_a_study_is_in_its_tables(folder: Path) -> None:
    known = set(told_by(read_tables(folder)))
    for text, link in (
        ((REPORTS / "README.md").read_text(encoding="utf-8"), f"({folder.name}/README.md)"),
        (
            (ROOT / "docs/explanation/findings.md").read_text(encoding="utf-8"),
            f"(../../reports/{folder.name}/README.md)",
        ),
    ):
        [paragraph] = [part for part in re.split(r"\n\n|\n(?=\|)", text) if link in part]
        told = [f"{value} [{low}, {high}]" for value, low, high in TOLD.findall(paragraph)]
        assert told
        assert [each for each in told if each not in known] == []


@pytest.mark.parametrize("folder", TABLES, ids=lambda folder: folder.name)
def test_the_page_of_a_lookup_table_has_its_table_of_proxies(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert proxy_table(folder) in text
    assert whole(read_tables(folder)) in text


@pytest.mark.parametrize("folder", TABLES, ids=lambda folder: folder.name)
def test_a_lookup_table_is_whole_and_its_page_says_what_it_holds(folder: Path) -> None:
    """Nothing that was planned is missing, and the target spreads as the plan asks."""
    found = check(folder)
    assert found.passed, found
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{found.configurations} configurations" in text
    assert f"{found.proxies} fidelities: {found.trainings:,} trainings" in text
    assert f"The quartiles of the target are {found.quartiles[0]:.1f} and {found.quartiles[1]:.1f} %" in text
    agreement = (f"{each:.2f}".removeprefix("0") for each in (found.agreement, found.better_half))
    assert "two seeds of it agree by {} (Spearman; {} in the better half)".format(*agreement) in text


def test_every_comparison_in_a_readme_is_that_of_its_two_strategies() -> None:
    folder = CLOTHES
    tables = read_tables(folder)
    comparisons, robustness = tables["comparisons"], tables["robustness"]
    of_means = robustness[robustness["measure"] == "r2_of_means"]
    worst = of_means[of_means["split"] == "without"]
    parts = [group for _, group in of_means[of_means["split"] == "dataset"].groupby("part")]
    published = pd.read_csv(Path(__file__).parent / "table2.csv").set_index("strategy_size")["r2"]
    rows = COMPARED.findall((folder / "README.md").read_text(encoding="utf-8"))
    assert len(rows) >= 16
    for first, other, told_published, told, verdict, told_worst, *told_parts, runs, tau in rows:
        value, low, high = difference(comparisons[comparisons["measure"] == "r2_of_means"], first, other)
        better = "better" if low > 0 else "worse" if high < 0 else ""
        alike = "as good" if low >= -ALIKE and high <= ALIKE else ""
        assert (told, verdict) == (
            with_interval(value, low, high),
            ", ".join(filter(None, (better, alike))) or "undecided",
        ), (first, other)
        assert told_worst == with_interval(*difference(worst, first, other)), (first, other)
        assert runs == with_interval(*difference(comparisons[comparisons["measure"] == "r2"], first, other))
        assert tau == with_interval(
            *difference(comparisons[comparisons["measure"] == "kendall_of_means"], first, other)
        )
        assert told_parts == [with_interval(*difference(part, first, other)) for part in parts], (first, other)
        assert float(told_published) == pytest.approx(
            published[PUBLISHED[first]] - published[PUBLISHED[other]], abs=0.005
        )


def test_every_row_of_the_reductions_is_that_of_its_proxy() -> None:
    """Cost, time, steps, four measures, the differences to both baselines, and how many pairs are not ranked."""
    tables = read_tables(REDUCTIONS)
    strategies, runs = tables["strategies"].set_index("strategy"), tables["runs"]
    measures = tables["measures"].set_index(["strategy", "measure"])
    of_means = tables["comparisons"][tables["comparisons"]["measure"] == "r2_of_means"]
    seconds = runs.groupby("strategy")["train_seconds"].sum()
    rows = REDUCED.findall((REDUCTIONS / "README.md").read_text(encoding="utf-8"))
    assert {name for name, *_ in rows} == set(strategies.index) - {"full"}
    for name, cost, time, steps, *told, unranked in rows:
        of = strategies.loc[name]
        assert (cost, time) == (f"{of['relative_cost']:.2f}", f"{seconds[name] / seconds['full']:.2f}"), name
        assert (int(steps), int(unranked)) == (of["steps"], of["n_unranked"]), name
        for measure, cell in zip(("r2_of_means", "r2", "spearman_all", "expected_regret"), told, strict=False):
            assert cell == with_interval(*map(float, measures.loc[(name, measure), ["value", "low", "high"]])), name
        for base, cell in zip(BASELINES[float(cost) > 0.2], told[4:], strict=True):
            if name != base and cell:
                assert cell == with_interval(*difference(of_means, name, base)), (name, base)
                assert (difference(of_means, name, base)[1] > 0) is False, "the README says that none is shown"


def difference(table: pd.DataFrame, first: str, other: str) -> tuple[float, float, float]:
    """The first strategy's measure minus the other's, whichever the table has first, with its interval."""
    for strategy, against, sign in ((first, other, 1), (other, first, -1)):
        found = table[(table["strategy"] == strategy) & (table["other"] == against)]
        if len(found):
            row = found.iloc[0]
            low, high = sorted((sign * float(row["low"]), sign * float(row["high"])))
            return sign * float(row["difference"]), low, high
    raise LookupError(f"{first} and {other} are not compared")


def test_the_index_names_every_study() -> None:
    index = (REPORTS / "README.md").read_text(encoding="utf-8")
    assert STUDIES
    assert all(f"({folder.name}/README.md)" in index for folder in STUDIES)


EXCESS = ["excess", "excess_low", "excess_high"]
OF_THE_SIXTEEN = slice(0, 16)


def verdicts_of(rows: list[tuple[str, ...]], tables: dict[str, pd.DataFrame]) -> Iterator[tuple[float, float]]:
    of_means = tables["comparisons"][tables["comparisons"]["measure"] == "r2_of_means"]
    for first, other, *_ in rows[OF_THE_SIXTEEN]:
        _, low, high = difference(of_means, first, other)
        yield low, high


def test_what_the_prose_counts_and_costs_is_what_the_tables_say() -> None:
    """Numbers without an interval: each is made here from the tables, and the README has to hold the sentence."""
    text = " ".join((CLOTHES / "README.md").read_text(encoding="utf-8").split())
    tables = read_tables(CLOTHES)
    ends = list(verdicts_of(COMPARED.findall((CLOTHES / "README.md").read_text(encoding="utf-8")), tables))
    alike = {bound: sum(-bound <= low and high <= bound for low, high in ends) for bound in (0.2, 0.1)}
    better = [low > 0 or high < 0 for low, high in ends]
    undecided = sum(not (low > 0 or high < 0 or (low >= -0.2 and high <= 0.2)) for low, high in ends)
    assert sum(better) == 0
    assert f"{alike[0.2]} are as good within .2 ({alike[0.1]} of them within .1)" in text
    assert f"none is better or worse, and {undecided} are undecided" in text
    means = tables["comparisons"]
    for measure, sentence in (
        ("r2_of_means", "None of the 37 differences of r2 or of Spearman over means is decided"),
        ("spearman_of_means", "None of the 37 differences of r2 or of Spearman over means is decided"),
        ("kendall_of_means", "and 2 of the 37 of tau"),
    ):
        part = means[means["measure"] == measure]
        decided = int(((part["low"] > 0) | (part["high"] < 0)).sum())
        assert (len(part), decided) == (37, 2 if measure == "kendall_of_means" else 0)
        assert sentence in text

    policies = tables["policies"]
    chosen = policies[(policies["strategy"] == "epochs:1") & (policies["k"] == 5)].iloc[0]
    full = policies[policies["policy"] == "full search"].iloc[0]
    assert f"costs {chosen['cost']:.1f} full trainings instead of {full['cost']:.0f}" in text
    assert f"random search at that cost loses {chosen['random_regret']:.2f} points" in text
    # Full search is what the others are held against; those that cost as much are not counted.
    assert f"the cheapest of {int((policies['cost'] < full['cost']).sum())} searches" in text
    within = policies[(policies["excess_high"] <= 0.5) & (policies["policy"] != "full search")]
    cheapest = within.sort_values("cost").iloc[0]
    assert (cheapest["strategy"], cheapest["k"]) == ("epochs:1", 3)
    assert f"{cheapest['cost']:.1f} full trainings, {with_interval(*cheapest[EXCESS])}" in text

    runs = pd.read_csv(CLOTHES / "runs.csv")
    made = runs[runs["strategy"] == "distilled:10"].groupby("dataset")["selection_examples_seen"].max()
    target = runs[runs["strategy"] == "full"].groupby("dataset")["examples_seen"].mean()
    trainings = (made / target).round().astype(int)
    assert f"{trainings['digits']} full trainings on digits and {trainings['fashion-mnist@4000']} on fashion" in text

    unranked = tables["strategies"].set_index("strategy")["n_unranked"]
    assert f"`epochs:1` cannot rank {unranked['epochs:1']} of 216 pairs" in text
    assert (
        f"`hardest:0.1` cannot rank {unranked['hardest:0.1']}, `distilled:10` {unranked['distilled:10']}, `easiest:0.1` "
        f"and `hardest:0.25` {unranked['easiest:0.1']} each" in text
    )
    assert unranked.sum() == 14 + 5 + 2 + 1 + 1
    one_epoch = runs[(runs["strategy"] == "epochs:1") & (runs["unranked"] == True)]  # noqa: E712  # empty cells are no flag
    assert set(one_epoch["dataset"]) == {"digits"}
    assert one_epoch["config"].str.contains("lr=0.1").mean() > 0.5

    noise = tables["noise"].set_index("dataset")[["standard_error", "spread"]].round(1)
    (error, spread), (other_error, other_spread) = noise.loc[["digits", "fashion-mnist@4000"]].to_numpy()
    errors = f"standard error of {points(error)} points on digits and {points(other_error)} on fashion-mnist"
    assert errors in text
    assert f"spreads by {points(spread)} and {points(other_spread)} points" in text

    tenths = ("easiest:0.1", "random:0.1", "hardest:0.1", "distilled:10")
    measures = tables["measures"].set_index(["measure", "strategy"])["value"]
    r2 = sorted(measures["r2_of_means", name] for name in tenths)
    assert f"explain r2 {plain(r2[0])} to {plain(r2[-1])}" in text
    rho = sorted(measures["spearman_all_of_means", name] for name in tenths)
    assert f"a tenth has {plain(rho[0])} to {plain(rho[-1])}" in text

    influence = tables["influence"].set_index(["measure", "strategy", "direction"])
    for name in ("random:0.1", "easiest:0.1"):
        low, high = (plain(influence.loc[("r2_of_means", name, side), "without"]) for side in ("lower", "higher"))
        assert re.search(rf"`{re.escape(name)}` (it is )?{re.escape(low)}.*?and {re.escape(high)}", text), name


def plain(value: float) -> str:
    return with_interval(float(value), float("nan"), float("nan"))


def points(value: float) -> str:
    return f"{value:.1f}".removeprefix("0")
