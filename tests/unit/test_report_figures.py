"""Figures stand beside the page and are cited, so they are whole, the same for the same study, and never a stale one."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from made_up_report import quality_of
from made_up_studies import (
    combined_study,
    constant_study,
    empty_study,
    hostile_study,
    published_study,
    tiny_study,
    untargeted_study,
)

from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.figures import FIGURES, draw_figures, proxy_against_target
from proxyflow.reporting.figures.labels import label_points, side_by_side
from proxyflow.reporting.figures.layout import short, subplots, wrapped
from proxyflow.reporting.interactive import figures as interactive_figures
from proxyflow.reporting.policy_views import first_of_frontier
from proxyflow.reporting.series import comparison_rows, frontier, on_log_scale, regression, transfer_panels

ALL = {
    *("regret_by_cost", "quality_by_cost", "proxy_against_target"),
    *("transfer", "epochs", "hyperparameters", "comparisons"),
}
OF_MEANS = "quality_by_cost_of_means"
SOME = ("full", "random:0.1", "easiest:0.1", "easiest:0.5", "epochs:5", "distilled:10")


@pytest.fixture(scope="module")
def quality() -> StudyQuality:
    return quality_of(published_study(strategies=SOME))


@pytest.fixture(scope="module")
def drawn(quality: StudyQuality, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    draw_figures(quality, folder)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def texts(path: Path) -> str:
    return " ".join("".join(each.itertext()) for each in ET.parse(path).iter("{http://www.w3.org/2000/svg}text"))


def test_every_figure_is_there_as_png_and_svg_and_nothing_else(drawn: Path) -> None:
    assert set(FIGURES) == ALL | {OF_MEANS}
    assert names(drawn) == {f"{name}.{suffix}" for name in ALL for suffix in ("png", "svg")}
    for name in ALL:
        assert (drawn / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_study_gives_the_same_files(quality: StudyQuality, drawn: Path, tmp_path: Path) -> None:
    draw_figures(quality, tmp_path)
    for name in names(drawn):
        assert (tmp_path / name).read_bytes() == (drawn / name).read_bytes(), name


def test_figures_name_what_they_show(drawn: Path) -> None:
    by_cost = texts(drawn / "quality_by_cost.svg")
    assert all(strategy in by_cost for strategy in SOME)
    assert "noise ceiling" in by_cost
    assert "published curve" in by_cost
    against = texts(drawn / "proxy_against_target.svg")
    assert "imagenette" in against
    assert "imagewoof" in against
    assert texts(drawn / "transfer.svg").count("correlation") == 6
    assert "flip" in texts(drawn / "hyperparameters.svg")
    assert "after epoch" in texts(drawn / "epochs.svg")
    assert "easiest:0.1 – random:0.1" in texts(drawn / "comparisons.svg")


@pytest.mark.parametrize(
    ("study", "expected"),
    [(constant_study, set()), (untargeted_study, set()), (empty_study, set()), (tiny_study, {"proxy_against_target"})],
)
def test_what_cannot_be_drawn_is_not_and_an_earlier_one_is_gone(
    study: Callable[[], pd.DataFrame], expected: set[str], tmp_path: Path
) -> None:
    for name in FIGURES:
        (tmp_path / f"{name}.svg").write_text("an earlier report's")
        (tmp_path / f"{name}.png").write_text("an earlier report's")
    draw_figures(quality_of(study()), tmp_path)
    found = {path.stem for path in tmp_path.iterdir()}
    # One training of the target more or less decides whether its epochs can be compared.
    assert found - {"epochs"} == expected
    assert all(path.read_bytes() != b"an earlier report's" for path in tmp_path.iterdir())


def test_differences_of_spearman_are_turned_to_the_order_of_r2() -> None:
    columns = ["strategy", "other", "measure", "difference", "low", "high", "relative_cost"]
    rows = [
        ("a", "b", "r2", 0.3, 0.1, 0.5, 0.1),
        ("b", "a", "spearman", 0.2, -0.1, 0.4, 0.12),
        ("a", "c", "r2", 0.1, 0.0, 0.2, 0.1),
    ]
    runs = pd.DataFrame(rows, columns=columns)
    of_means, told = comparison_rows(cast(StudyQuality, SimpleNamespace(comparisons=runs)))
    assert not of_means
    assert [(each.strategy, each.other, each.cost) for each in told] == [("a", "b", 0.1), ("a", "c", 0.1)]
    assert told[0].differences == {"r2": (0.3, 0.1, 0.5), "spearman": (-0.2, -0.4, 0.1)}
    assert told[1].differences == {"r2": (0.1, 0.0, 0.2)}
    means = pd.concat([runs, runs.assign(measure=runs["measure"] + "_of_means", difference=0.9)])
    of_means, told = comparison_rows(cast(StudyQuality, SimpleNamespace(comparisons=means)))
    assert of_means
    assert told[0].differences["r2"] == (0.9, 0.1, 0.5)
    # A second seed that has only begun leaves no comparison out.
    begun = means.drop(index=2).reset_index(drop=True)
    begun = pd.concat([begun, runs.iloc[[2]]])
    of_means, told = comparison_rows(cast(StudyQuality, SimpleNamespace(comparisons=begun)))
    assert not of_means
    assert len(told) == 2


def test_means_over_seeds_have_a_figure_of_their_own(tmp_path: Path) -> None:
    draw_figures(quality_of(published_study(seeds=2, strategies=SOME)), tmp_path)
    drawn = texts(tmp_path / f"{OF_MEANS}.svg")
    assert all(strategy in drawn for strategy in SOME)
    assert "the target's means over other seeds" in drawn
    assert "single runs" in texts(tmp_path / "quality_by_cost.svg")


def test_what_is_of_like_cost_stands_side_by_side() -> None:
    places = side_by_side(np.array([0.5, 0.1, 0.505, 0.25, 0.1]), 0.02)
    assert places == pytest.approx([0.4925, 0.09, 0.5125, 0.25, 0.11])
    # What is moved aside by one group joins the next.
    assert side_by_side(np.array([0.1, 0.1, 0.1, 0.125]), 0.02) == pytest.approx(
        0.10625 + 0.02 * np.array([-1.5, -0.5, 0.5, 1.5])
    )
    assert side_by_side(np.array([]), 0.02).size == 0


def test_names_of_any_kind_are_drawn_as_they_are(tmp_path: Path) -> None:
    draw_figures(quality_of(hostile_study()), tmp_path)
    against = texts(tmp_path / "proxy_against_target.svg")
    assert "newer:</script><img" in against
    assert "données/花" in against


def test_dollars_in_a_name_begin_no_formula(tmp_path: Path) -> None:
    study = published_study(("a $x^2$ b", "plain"), strategies=("full", "random:0.5"))
    draw_figures(quality_of(study), tmp_path)
    assert "a $x^2$ b" in texts(tmp_path / "proxy_against_target.svg")
    assert "a $x^2$ b" in texts(tmp_path / "transfer.svg")


def test_a_long_name_is_cut_and_what_cannot_be_printed_has_a_sign() -> None:
    assert short("abcdef", 6) == "abcdef"
    assert short("abcdefg", 6) == "abcde…"
    assert short("a\nb\x00c", 6) == "a\ufffdb\ufffdc"


def test_labels_cover_neither_each_other_nor_the_points() -> None:
    rng = np.random.default_rng(0)
    xs, ys = rng.uniform(0, 1, 20).tolist(), rng.uniform(0, 1, 20).tolist()
    with subplots(1, 1, (5, 4), (0, 0), (0.5, 0.2, 0.5, 0.2)) as (figure, axes):
        axis = axes[0, 0]
        axis.set(xlim=(0, 1), ylim=(0, 1))
        label_points(axis, xs, ys, [f"strategy:{number}" for number in range(20)])
        figure.canvas.draw()
        boxes = [text.get_window_extent() for text in axis.texts]
        points = axis.transData.transform(np.column_stack([xs, ys]))
    assert len(boxes) >= 18
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert not any(box.contains(*point) for point in points)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("random:0.25", "random:0.25"),
        ("random:0.25+epochs:5", "random:0.25+epochs:5"),
        ("random:0.25+epochs:5+size:16+width:0.5", "random:0.25+epochs:5\n+size:16+width:0.5"),
        (
            "a:1+b:2+c:3+d:4+e:5+f:6+g:7+h:8+i:9+j:1+k:2+l:3+m:4",
            "a:1+b:2+c:3+d:4+e:5\n+f:6+g:7+h:8+i:9+j:1\n+k:2+l:3+m:4",
        ),
        ("classes:0+1+2+3+4+5+6+7", "classes:0+1+2+3+4+5…"),
        ("a-name-without-parts-that-is-long", "a-name-without-part…"),
        (
            "aaaaaaaaaaaaaaa:1+bbbbbbbbbbbbbbb:2+ccccccccccccccc:3+d:4",
            "aaaaaaaaaaaaaaa:1\n+bbbbbbbbbbbbbbb:2\n+ccccccccccccccc:3+…",
        ),
    ],
)
def test_a_combination_is_broken_before_a_part_and_cut_only_at_its_end(text: str, lines: str) -> None:
    assert wrapped(text, 20) == lines


def test_names_of_combinations_are_whole_in_every_figure_that_names_strategies(tmp_path: Path) -> None:
    quality = quality_of(combined_study())
    draw_figures(quality, tmp_path)
    longest = max(quality.strategies["strategy"], key=len)
    assert longest.count("+") == 3
    for name in ("quality_by_cost", "proxy_against_target", "hyperparameters", "comparisons"):
        # Lines are texts of their own.
        assert longest in texts(tmp_path / f"{name}.svg").replace(" +", "+"), name


def test_labels_in_lines_cover_neither_each_other_nor_points_on_either_scale() -> None:
    rng = np.random.default_rng(1)
    xs, ys = (10 ** rng.uniform(-2, 0, 16)).tolist(), rng.uniform(0, 1, 16).tolist()
    others = list(zip((10 ** rng.uniform(-2, 0, 16)).tolist(), rng.uniform(0, 1, 16).tolist(), strict=True))
    with subplots(1, 1, (7, 5), (0, 0), (0.5, 0.2, 0.5, 0.2)) as (figure, axes):
        axis = axes[0, 0]
        axis.set(xlim=(0.008, 1.4), ylim=(0, 1), xscale="log")
        axis.set_xlim(0.008, 1.4)
        label_points(axis, xs, ys, [f"random:0.{n}+epochs:5+size:16+width:0.5" for n in range(10, 26)], others)
        figure.canvas.draw()
        boxes = [text.get_window_extent() for text in axis.texts]
        points = axis.transData.transform(np.array([*zip(xs, ys, strict=True), *others]))
    assert len(boxes) >= 12
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert not any(box.contains(*point) for point in points)


def test_very_cheap_combinations_are_drawn_on_a_logarithmic_scale_with_their_whole_names() -> None:
    assert not on_log_scale([0.05, 1.0])
    assert on_log_scale([0.01, 1.0])
    assert not on_log_scale([0.0, 1.0])
    assert not on_log_scale([])
    assert on_log_scale([0.1] * 9 + [1.0]), "nine at one place"
    assert not on_log_scale([0.1] * 8 + [0.3, 1.0])
    figure = interactive_figures(quality_of(combined_study()))["cost-r2"]
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert all(x is None or x > 0 for trace in figure["data"] for x in trace["x"])
    told = [text for trace in figure["data"] for text in trace.get("text", [])]
    assert any("<br>+" in text for text in told)
    hovers = " ".join(text for trace in figure["data"] for text in trace["hovertext"])
    assert "<b>random:0.25+epochs:5+size:16+width:0.5</b>" in hovers
    assert "4 steps" in hovers


def test_each_proxy_is_named_at_its_cheapest_policy_that_nothing_cheaper_beats() -> None:
    quality = quality_of(combined_study())
    named = first_of_frontier(quality)
    assert named
    assert len({policy.strategy for policy in named}) == len(named)
    for policy in named:
        cheaper = [each for each in quality.policies.policies if each.cost.value < policy.cost.value]
        assert all(each.regret.value > policy.regret.value for each in cheaper)


def test_the_line_is_that_of_least_squares_over_the_span_of_the_points() -> None:
    x, y = np.array([0.1, 0.2, 0.4, 0.3]), np.array([0.5, 0.6, 0.9, 0.65])
    line = regression(x, y)
    assert line is not None
    slope, start = np.polyfit(x, y, 1)
    assert line[0] == [0.1, 0.4]
    assert line[1] == pytest.approx([start + slope * 0.1, start + slope * 0.4])


@pytest.mark.parametrize("x", [[], [0.5], [0.5, 0.5], [0.5, np.nan]])
def test_there_is_no_line_through_a_point(x: list[float]) -> None:
    assert regression(np.array(x, dtype=float), np.ones(len(x))) is None


def test_the_frontier_is_what_nothing_cheaper_is_as_good_as() -> None:
    assert frontier([0.1, 0.2, 0.2, 0.5, 1.0], [0.3, 0.6, 0.5, 0.6, 1.0]) == [True, True, False, False, True]


def test_transfer_leaves_the_target_out_and_shows_each_pair_of_parts(quality: StudyQuality) -> None:
    grid = transfer_panels(quality)
    assert [panels[0].measure for panels in grid] == ["r2", "spearman", "cost_adjusted_r2"]
    assert [(panel.left, panel.right) for panel in grid[0]] == [("imagenette", "imagewoof"), ("learning-rate", "other")]
    assert all("full" not in set(panel.points["strategy"]) for panels in grid for panel in panels)


def test_panels_that_are_left_out_are_told(
    quality: StudyQuality, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "(the first" not in texts(drawn / "proxy_against_target.svg")
    monkeypatch.setattr(proxy_against_target, "MAX_PANELS", 2)
    assert proxy_against_target.draw(quality, tmp_path)
    assert "(the first 2 of 5 strategies)" in texts(tmp_path / "proxy_against_target.svg")
