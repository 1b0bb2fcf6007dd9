"""The page of a search in a browser, on a screen and on a phone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up_search import command_of, found_search
from made_up_studies import HOSTILE
from playwright.sync_api import Browser
from watched_page import Watched

from proxyflow.reporting.search_page import write_search_page

WIDTHS = (420, 1100)
PAGES = ("full", "hostile", "begun", "constant")
STRANGE = {"a" * 60: ["<img src=x onerror=alert(1)>", "数据" * 40, "</script>"], "b" * 90: {"low": 0.0, "high": 1.0}}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("searches")
    made = {
        "full": found_search(),
        "hostile": found_search((12, 6, 2), STRANGE),
        "begun": found_search((2, 0, 0), ended="", usd_per_hour=math.nan),
        "constant": found_search((4, 2, 2), {"learning_rate": [0.1, 0.2, 0.3, 0.4]}, seconds=math.nan),
    }
    for name, found in made.items():
        (folder / name).mkdir()
        command = command_of(found.best) if name in ("full", "hostile") else ""
        write_search_page(found, HOSTILE if name == "hostile" else name, folder / name, command)
    return {name: folder / name / "index.html" for name in made}


@pytest.fixture
def open_page(browser: Browser, pages: dict[str, Path]) -> Iterator[Any]:
    contexts = []

    def opened(name: str, width: int, **options: Any) -> Watched:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        return Watched(context.new_page(), pages[name])

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_the_page_fits_its_window_shows_every_figure_and_asks_nobody(open_page: Any, name: str, width: int) -> None:
    watched = open_page(name, width)
    watched.scroll_through()
    page = watched.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """() => [...document.querySelectorAll("h1, h2, h3, p, pre, figcaption, li, dd, dt, .plot")]
          .filter(each => !each.closest(".wide") && each.getBoundingClientRect().right > innerWidth + 1)
          .map(each => each.textContent.slice(0, 40))"""
    )
    assert outside == []
    shown = page.eval_on_selector_all(
        ".plot", "all => all.map(each => each.querySelector('svg.main-svg').getBoundingClientRect())"
    )
    assert all(each["width"] >= 200 and each["height"] >= 200 for each in shown)
    assert not page.locator("img[src='x']").count()
    assert not watched.wrong


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["full", "hostile"])
def test_no_text_of_a_figure_lies_over_another(open_page: Any, name: str, width: int) -> None:
    watched = open_page(name, width)
    watched.scroll_through()
    # What is drawn along an axis, and its title.
    over = watched.page.evaluate(
        """() => [...document.querySelectorAll(".plot")].flatMap(plot => {
          const texts = [...plot.querySelectorAll(".xtick text, .ytick text, .xtitle, .ytitle, .annotation-text")]
            .filter(each => each.textContent.trim() && getComputedStyle(each).visibility !== "hidden");
          // A turned text's box is larger than the text: ask whether the middle of one lies in another.
          return texts.flatMap((one, at) => texts.slice(at + 1).map(other => {
            const [a, b] = [one, other].map(each => each.getBoundingClientRect());
            const turned = Math.min(a.width, b.width) > 2 * 20 && Math.min(a.height, b.height) > 2 * 20;
            const overlap = !turned && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1
              && b.top < a.bottom - 1;
            return overlap ? `${plot.dataset.figure}: ${one.textContent} / ${other.textContent}` : "";
          }).filter(Boolean));
        })"""
    )
    assert over == []
    # Every place of an axis has its name.
    for figure, axis in (("trials", "x"), ("parallel", "x"), ("importance", "y")):
        plot = watched.page.locator(f"[data-figure={figure}]")
        names = plot.evaluate(f"each => each.layout.{axis}axis.ticktext.length")
        assert plot.locator(f".{axis}tick text").count() == names


def test_the_page_has_all_that_a_search_tells(open_page: Any, pages: dict[str, Path]) -> None:
    watched = open_page("full", 1100)
    watched.scroll_through()
    page = watched.page
    assert {each.get_attribute("data-figure") for each in page.query_selector_all(".plot")} == {
        *("progress", "trials", "agreement-0", "agreement-1", "importance", "parallel")
    }
    assert "-e train" in page.locator("#best pre").inner_text()
    traces = "document.querySelector('[data-figure=trials]').data"
    # Where there are two seeds, the bar goes from one to the other; they differ by .004.
    bars = page.evaluate(f"{traces}.flatMap(t => t.error_y.array.map((a, i) => a + t.error_y.arrayminus[i]))")
    assert sorted({round(each, 4) for each in bars}) == [0, 0.004]
    lines = page.evaluate(f"{traces}.map(t => t.x)")
    assert [0, 1, 2] in lines
    # 24, 8 and 3 configurations on the rungs, at a twentieth, a quarter and the whole of ten minutes.
    rows = page.eval_on_selector_all("#rungs tbody tr", "rows => rows.map(r => [...r.cells].map(c => c.innerText))")
    assert [row[1:5] for row in rows] == [
        ["24", "1.20", "12 min", "$0.50"],
        ["8", "2.00", "20 min", "$0.83"],
        ["6", "6.00", "1.0 h", "$2.50"],
        ["38", "9.20", "1.5 h", "$3.83"],
        ["32", "32", "5.3 h", "$13.33"],
    ]
    assert [each["x"] for each in page.evaluate("document.querySelector('[data-figure=agreement-1]').data")]
    assert "Spearman" in page.locator("#agreement").inner_text()
    assert "surrogate" in page.locator("#progress figcaption").inner_text()
    assert not page.locator(".badge").count()


def test_a_search_that_runs_says_so_and_shows_no_money_without_a_price(open_page: Any) -> None:
    watched = open_page("begun", 420)
    watched.scroll_through()
    page = watched.page
    assert page.locator("header .badge").inner_text().startswith("running")
    assert page.locator("#rungs th", has_text="Money").count() == 0
    assert not page.locator("#best pre").count()
    assert not watched.wrong
