"""The page is what people read of a study: it says all that is known, why the rest is not, and runs nothing foreign."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up import training
from made_up_report import SERVER, make_report, origin_of, quality_of
from made_up_studies import (
    HOSTILE,
    combined_study,
    constant_study,
    empty_study,
    frame,
    hostile_study,
    published_study,
    tiny_study,
    untargeted_study,
)

from proxyflow.reporting.embedded import all_pairs, all_runs, as_json
from proxyflow.reporting.tables import number
from proxyflow.reporting.views import percent, signed

SOME = ("full", "random:0.1", "easiest:0.1", "easiest:0.5", "epochs:5")
STUDY = published_study(strategies=SOME)


# How a missing number or text looks where somebody forgot it; a verdict may begin with "None of the proxies".
BLANK = re.compile(r"\b(nan|NaN)\b|<NA>|\bNone\b(?! of)")


class Read(HTMLParser):
    """The text, the tags and the ids of a page, its scripts left out."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inside = ""
        self.feed(html)
        self.text = re.sub(r"\s+", " ", "".join(self.words))
        self.ids = {attributes["id"] for _, attributes in self.tags if "id" in attributes}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.words.append(data)


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    other = quality_of(STUDY[STUDY["dataset"] == "imagewoof"]).strategies
    path = make_report(tmp_path_factory.mktemp("page"), STUDY, planned=400, compared={"woof alone": other})
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def read(html: str) -> Read:
    return Read(html)


def embedded(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


@pytest.fixture(scope="module")
def combined(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_report(tmp_path_factory.mktemp("combined"), combined_study()).read_text(encoding="utf-8")


def section(html: str, name: str) -> str:
    return html[html.index(f'<section id="{name}"') :].partition("</section>")[0]


def test_what_a_proxy_cannot_rank_stands_below_its_name_with_the_values_of_the_rest(combined: str, html: str) -> None:
    quality = quality_of(combined_study())
    rows = section(combined, "strategies").split("<tr")
    for strategy, ranked in quality.ranked.items():
        (row,) = [each for each in rows if f'data-strategy="{strategy}"' in each] or [""]
        if not ranked.some:
            assert "cannot rank" not in row
            continue
        assert f"cannot rank {ranked.n_unranked} of 36<" in row
        assert all(escape(each) in row for each in ranked.configurations)
        for measure in ("r2", "spearman", "regret"):
            value = re.escape(number(ranked.estimates[measure].value))
            # What is undefined has no second value.
            assert not value or re.search(rf">{value} <span>\[.*?\]</span> ranked<", row), (strategy, measure)
        assert row.count(" ranked<") == sum(each.known for each in ranked.estimates.values()) >= 2
    assert sum(ranked.some for ranked in quality.ranked.values()) == 3
    assert "9</strong> learned nothing (unranked)" in combined
    # No sentence where all are ranked.
    assert "cannot rank" not in section(html, "strategies").lower()
    assert "learned nothing" not in html
    states = embedded(combined)["runs"]["status"]
    assert sum(states["names"][code] == "finished, unranked" for code in states["codes"]) == 9


def test_steps_stand_in_every_table_with_a_cost(combined: str) -> None:
    names = {"strategies": 1, "policies": 1, "selection": 1, "comparisons": 1, "runs": 1}
    for name in names:
        assert "Steps" in section(combined, name), name
    cheapest = "random:0.25+epochs:5+size:16+width:0.5"
    row = next(each for each in section(combined, "strategies").split("<tr") if f'data-strategy="{cheapest}"' in each)
    assert '<td data-value="4.0">4</td>' in row
    runs = embedded(combined)["runs"]
    assert {
        runs["steps"][at]
        for at, code in enumerate(runs["strategy"]["codes"])
        if runs["strategy"]["names"][code] == cheapest
    } == {4.0}


def test_a_combination_breaks_before_a_plus_and_is_the_same_text(combined: str) -> None:
    assert '<bdi class="parts">random:0.25+epochs:5</bdi>' not in combined
    assert '<bdi class="parts">random:0.25<wbr>+epochs:5<wbr>+size:16<wbr>+width:0.5</bdi>' in combined
    assert "<bdi>random:0.25</bdi>" in combined
    assert "random:0.25+epochs:5+size:16+width:0.5" in Read(combined).text


def test_every_link_of_the_contents_leads_to_a_part(read: Read) -> None:
    links = [attributes["href"] for tag, attributes in read.tags if tag == "a" and (attributes["href"] or "")[0] == "#"]
    assert len(links) > 12
    assert {(link or "")[1:] for link in links} <= read.ids


def test_the_noise_of_the_validation_images_stands_beside_what_the_good_differ_by(html: str, read: Read) -> None:
    assert "noise" in read.ids
    section = html[html.index('<section id="noise"') :].partition("</section>")[0]
    table = quality_of(STUDY).noise
    assert len(table) == 2
    for row in table.itertuples():
        assert f"<bdi>{row.dataset}</bdi></th><td>500</td>" in section
        assert f"<td>{number(row.standard_error)}</td><td>{number(row.spread)}</td>" in section


def test_what_relative_cost_counts_is_told(read: Read) -> None:
    assert "Relative cost counts train_seconds" in read.text


def test_the_verdict_comes_first_and_what_is_missing_next(read: Read) -> None:
    main = read.text[read.text.index("All runs Origin") :]
    assert main.index("Verdict") < main.index("What is missing") < main.index("What the columns mean")
    assert "partial" in main
    assert "360 of 400 planned trainings count" in main


def test_the_page_takes_nothing_from_elsewhere(read: Read) -> None:
    for tag, attributes in read.tags:
        assert tag not in ("link", "iframe", "object", "base")
        assert (attributes.get("src") or "data:").startswith("data:")
    policy = next(attributes["content"] for tag, attributes in read.tags if "http-equiv" in attributes)
    assert "default-src 'none'" in (policy or "")
    assert "unsafe-inline" not in (policy or "").split("style-src")[0]


def test_the_foot_says_where_the_numbers_come_from(read: Read) -> None:
    foot = read.text[read.text.rindex("Origin") :]
    for part in ("mlflow run . -e report -P study=paper-2019", "0a" * 32, "Tesla P100", "proxyflow 0.1.0", "360"):
        assert part in foot


def test_other_studies_stand_beside_this_one(read: Read) -> None:
    part = read.text[read.text.rindex("Other studies") :]
    assert "woof alone" in part


def test_the_same_study_gives_the_same_page(html: str, tmp_path: Path) -> None:
    other = quality_of(STUDY[STUDY["dataset"] == "imagewoof"]).strategies
    again = make_report(tmp_path, STUDY, planned=400, compared={"woof alone": other})
    assert again.read_text(encoding="utf-8") == html


@pytest.mark.parametrize("study", [tiny_study, constant_study, untargeted_study, empty_study])
def test_a_study_of_which_little_is_known_has_a_page_that_says_what_it_needs(
    study: Callable[[], pd.DataFrame], tmp_path: Path
) -> None:
    page = Read(make_report(tmp_path, study()).read_text(encoding="utf-8"))
    assert re.search(r"Needs (a|two|both|finished|pairs)", page.text)
    assert not BLANK.search(page.text)


def test_without_bootstrap_there_are_numbers_and_no_intervals(tmp_path: Path) -> None:
    page = Read(make_report(tmp_path, STUDY, bootstrap=0).read_text(encoding="utf-8"))
    table = page.text[page.text.index("Every measure of every strategy") : page.text.index("What the columns mean")]
    assert "[" not in table
    assert "easiest:0.1" in table
    assert "bootstrap samples of" not in page.text
    assert "bootstrap=0" in page.text


def test_the_caption_names_the_curve_that_is_drawn(read: Read, tmp_path: Path) -> None:
    assert "The dashed curve is the cost curve (fitted: " in read.text
    published = Read(make_report(tmp_path, STUDY, cost_curve="published").read_text(encoding="utf-8")).text
    assert "dashed curve" not in published
    assert "The dotted curve is the cost curve (published: r2 = 0.21326 " in published


def test_pairs_of_data_sets_that_have_no_panel_are_told(read: Read, tmp_path: Path) -> None:
    assert "further pairs" not in read.text
    twice = STUDY.assign(dataset=STUDY["dataset"] + "2", run_id=STUDY["run_id"] + "2", run_key=STUDY["run_key"] + "2")
    four = pd.concat([STUDY, twice], ignore_index=True)
    page = Read(make_report(tmp_path, four, bootstrap=0).read_text(encoding="utf-8"))
    assert "3 further pairs of data sets are in transfer.csv." in page.text


def test_a_study_that_grew_beyond_its_newest_sweep_is_not_measured_by_its_plan(tmp_path: Path) -> None:
    page = Read(make_report(tmp_path, STUDY, planned=72).read_text(encoding="utf-8"))
    assert "planned" not in page.text
    assert "360 trainings count" in page.text


def test_a_name_cannot_leave_the_place_it_stands_in(tmp_path: Path) -> None:
    html = make_report(tmp_path, hostile_study(), study=HOSTILE).read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert html.count("</script>") == html.count("<script") == 3
    page = Read(html)
    assert HOSTILE.partition("\u2028")[0] in page.text
    runs = embedded(html)["runs"]
    assert any(name.endswith(HOSTILE) for name in runs["config"]["names"])
    assert not BLANK.search(page.text)


def test_json_for_a_script_says_the_same_and_closes_nothing() -> None:
    value = {"a": "</script><!-- & \u2028", "b": [1, None]}
    text = as_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028") & set(text)


def test_runs_are_columns_with_one_address_for_all() -> None:
    columns, ordered = all_runs(quality_of(STUDY), STUDY, origin_of(STUDY).links)
    assert columns["links"] == {"before": SERVER, "after": ""}
    assert columns["dataset"]["names"] == ["imagenette", "imagewoof"]
    row = ordered.iloc[17]
    assert columns["config"]["names"][columns["config"]["codes"][17]] == row["config"]
    assert columns["objective"][17] == row["objective"]
    assert columns["id"][17] == row["run_id"]


@pytest.mark.parametrize(
    ("links", "expected"),
    [({}, None), ({"a": "javascript:alert(1)"}, None), ({"a": "http://h/a"}, ["http://h/a", ""])],
)
def test_only_addresses_of_the_web_become_links(links: dict[str, str], expected: object) -> None:
    rows = frame([training("full", "default", 0.9, run_id="a"), training("full", "lr=1", 0.8, run_id="b")])
    assert all_runs(quality_of(rows), rows, links)[0]["links"] == expected


def test_every_status_is_told_and_a_run_that_does_not_count_says_so() -> None:
    rows = frame(
        [
            training("full", "default", 0.9, run_id="counts"),
            training("full", "default", 0.8, run_id="earlier", end_time=1),
            training("full", "lr=1", 0.1, run_id="diverged", diverged=True),
            training("full", "lr=2", float("nan"), run_id="failed", status="failed"),
        ]
    )
    columns, _ = all_runs(quality_of(rows), rows, {})
    states = {
        run: columns["status"]["names"][code]
        for run, code in zip(columns["id"], columns["status"]["codes"], strict=True)
    }
    assert states == {
        "counts": "finished",
        "earlier": "finished, not counted",
        "diverged": "finished, diverged",
        "failed": "failed",
    }


def test_pairs_point_at_the_runs_of_both_sides() -> None:
    quality = quality_of(STUDY)
    _, ordered = all_runs(quality, STUDY, {})
    pairs = {each["strategy"]: each for each in all_pairs(quality, ordered)}
    assert set(pairs) == set(SOME) - {"full"}
    proxy, target = (ordered.iloc[pairs["random:0.1"][side]] for side in ("proxy", "target"))
    assert set(proxy["strategy"]) == {"random:0.1"}
    assert set(target["strategy"]) == {"full"}
    pd.testing.assert_frame_equal(
        proxy[["dataset", "config", "seed"]].reset_index(drop=True),
        target[["dataset", "config", "seed"]].reset_index(drop=True),
    )


@pytest.mark.parametrize(("value", "text"), [(0.05, "+.05"), (-0.05, "−.05"), (0.0, ".00"), (float("nan"), "")])
def test_a_difference_has_its_sign(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "50 %"), (0.999, "> 99 %"), (0.001, "< 1 %"), (1.0, "100 %"), (0.0, "0 %"), (float("nan"), "")],
)
def test_a_share_is_not_rounded_to_certainty(value: float, text: str) -> None:
    assert percent(value) == text
