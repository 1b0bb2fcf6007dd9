"""People read the page in a browser, so a browser looks at it: at three widths, in both themes, and on paper."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from made_up_report import SERVER, make_report
from made_up_studies import HOSTILE, constant_study, empty_study, hostile_study, published_study, tiny_study
from playwright.sync_api import Browser, Page
from watched_page import Watched

STUDIES = ("full", "tiny", "hostile", "constant", "empty")
WIDTHS = (400, 1000, 1600)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {
        "full": make_report(folder / "full", published_study(), planned=2000),
        "tiny": make_report(folder / "tiny", tiny_study(), planned=4),
        "hostile": make_report(folder / "hostile", hostile_study(), study=HOSTILE),
        "constant": make_report(folder / "constant", constant_study()),
        "empty": make_report(folder / "empty", empty_study()),
    }


@pytest.fixture
def open_page(browser: Browser, pages: dict[str, Path]) -> Iterator[Any]:
    contexts = []

    def opened(study: str = "full", width: int = 1000, **options: Any) -> Watched:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        return Watched(context.new_page(), pages[study])

    yield opened
    for context in contexts:
        context.close()


def until(page: Page, expression: str) -> None:
    """Waits for a condition; Playwright's own waiting evaluates text, which the page's policy forbids."""
    deadline = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never true: {expression}"
        page.wait_for_timeout(25)


def column(page: Page, index: int) -> list[str]:
    return page.eval_on_selector_all(
        "#strategy-table tbody tr",
        f"rows => rows.map(row => row.cells[{index}].dataset.value ?? row.cells[{index}].innerText.trim())",
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("study", STUDIES)
def test_every_page_fits_its_window_says_no_error_and_asks_nobody(open_page: Any, study: str, width: int) -> None:
    watched = open_page(study, width)
    watched.scroll_through()
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    assert not watched.wrong
    assert watched.page.locator("h1").inner_text().strip()
    assert not watched.page.locator("img[src='x']").count()


@pytest.mark.parametrize("study", ["full", "hostile"])
def test_no_text_is_cut_off_at_the_edge_of_a_phone(open_page: Any, study: str) -> None:
    page = open_page(study, 400).page
    outside = page.evaluate(
        """() => [...document.querySelectorAll("h1, h2, h3, p, figcaption, li, dd, dt, summary, .legend")]
          .filter(each => !each.closest(".wide") && each.getBoundingClientRect().right > innerWidth + 1)
          .map(each => each.textContent.slice(0, 40))"""
    )
    assert outside == []


def test_a_click_on_a_head_sorts_and_says_so(open_page: Any) -> None:
    page = open_page().page
    head = page.locator("#strategy-table thead th").nth(1)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = [float(value) for value in column(page, 1)]
    assert values == sorted(values, reverse=True)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(value) for value in column(page, 1)] == sorted(values)


def test_the_keyboard_sorts_too_and_empty_cells_stay_last(open_page: Any) -> None:
    page = open_page().page
    regret = page.locator("#strategy-table thead th").nth(7)
    regret.get_by_role("button").focus()
    for way in ("ascending", "descending"):
        page.keyboard.press("Enter")
        assert regret.get_attribute("aria-sort") == way
        values = column(page, 7)
        known = [float(value) for value in values if value]
        assert values[len(known) :] == [""] * (len(values) - len(known))
        assert known == sorted(known, reverse=way == "descending")
    assert page.locator("#strategy-table [aria-sort]:not([aria-sort=none])").count() == 1


def test_pointing_at_a_mark_shows_its_configuration(open_page: Any) -> None:
    page = open_page(width=1600).page
    page.locator("#against-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#against-plot .points path")
    page.locator("#against-plot .points path").first.hover(force=True)
    page.wait_for_selector("#against-plot .hoverlayer .hovertext")
    shown = page.locator("#against-plot .hoverlayer .hovertext").text_content() or ""
    assert "seed 0" in shown
    assert "imagenette" in shown or "imagewoof" in shown
    configs = set(page.evaluate("page.runs.config.names"))
    assert any(shown.startswith(config) for config in configs)


def test_a_click_on_a_mark_opens_its_run(open_page: Any) -> None:
    page = open_page(width=1600).page
    page.evaluate("window.open = (...given) => { window.opened = given; }")
    page.locator("#against-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#against-plot .points path")
    page.locator("#against-plot .points path").first.hover(force=True)
    page.wait_for_selector("#against-plot .hoverlayer .hovertext")
    page.mouse.down()
    page.mouse.up()
    until(page, "window.opened !== undefined")
    url, where, features = page.evaluate("window.opened")
    assert url.startswith(SERVER)
    assert (where, features) == ("_blank", "noopener")


def test_a_choice_and_a_row_change_the_strategy(open_page: Any) -> None:
    page = open_page().page
    page.locator("#against-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#against-plot .points path")

    def xs() -> list[float]:
        return page.evaluate(
            "document.getElementById('against-plot').data.filter(t => t.mode === 'markers').map(t => t.x).flat()"
        )

    page.select_option("#strategy", "random:0.1")
    until(page, "page.pairs[select.selectedIndex].strategy === 'random:0.1'")
    random = xs()
    page.locator("#strategy-table tr", has_text="distilled:10").get_by_role("link").click()
    assert page.input_value("#strategy") == "distilled:10"
    assert len(xs()) == len(random) == 72
    assert xs() != random


def test_figures_follow_the_theme_while_the_page_is_open(open_page: Any) -> None:
    watched = open_page(color_scheme="light")
    page = watched.page
    page.locator("#cost .plot").first.scroll_into_view_if_needed()
    page.wait_for_selector("#cost .points path")
    grid = "getComputedStyle(document.querySelector('#cost .gridlayer path')).stroke"
    light = page.evaluate(grid)
    page.emulate_media(color_scheme="dark")
    until(page, f"{grid} !== '{light}'")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert not watched.wrong


def test_paper_shows_static_figures_whole_tables_and_nothing_to_press(open_page: Any) -> None:
    page = open_page(width=700).page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("img.still:visible").count() == 5
    for gone in (".plot", "select", "input", "nav", "#more-runs", ".files"):
        assert not page.locator(f"{gone}:visible").count(), gone
    assert page.evaluate(
        "[...document.querySelectorAll('.wide')].every(each => getComputedStyle(each).overflow === 'visible')"
    )
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(29, 33, 38)"
    assert page.get_by_text("trainings are in runs.csv").is_visible()


def test_without_scripts_the_static_figures_and_tables_are_there(open_page: Any) -> None:
    page = open_page(java_script_enabled=False).page
    assert page.locator("img.still:visible").count() == 5
    assert page.locator("#strategy-table tbody tr").count() == 24
    assert not page.locator("select:visible, input:visible").count()


def test_runs_are_filtered_and_shown_two_hundred_at_a_time(open_page: Any) -> None:
    page = open_page().page
    rows = page.locator("#runs-table tbody tr")
    assert rows.count() == 200
    page.locator("#more-runs").click()
    assert rows.count() == 400
    assert page.locator("#runs-shown").inner_text() == "1,728 of 1,728 runs, 400 shown"
    page.fill("#filter", "imagewoof EASIEST:0.1 smooth=0")
    assert rows.count() == 1
    assert "easiest:0.1" in rows.first.inner_text()
    assert (rows.first.get_by_role("link").get_attribute("href") or "").startswith(SERVER)
    assert not page.locator("#more-runs").is_visible()
    page.fill("#filter", "nothing has this")
    assert rows.count() == 0
    assert page.locator("#runs-shown").inner_text() == "0 of 1,728 runs, 0 shown"


def test_hostile_names_are_shown_as_they_are(open_page: Any) -> None:
    watched = open_page("hostile", 1600)
    page = watched.page
    watched.scroll_through()
    assert page.locator("h1").inner_text().replace("\u2028", "") == HOSTILE.replace("\u2028", "").strip()
    page.select_option("#strategy", index=0)
    page.locator("#against-plot .points path").last.hover(force=True)
    page.wait_for_selector("#against-plot .hoverlayer .hovertext")
    assert "<b>" in (page.locator("#against-plot .hoverlayer .hovertext").text_content() or "")
    assert not watched.wrong


def test_text_and_marks_stand_out_in_both_themes(open_page: Any) -> None:
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme).page
        ratios = page.evaluate(
            """() => {
              const style = getComputedStyle(document.documentElement);
              const of = (name) => style.getPropertyValue(name).trim();
              const light = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
                .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
                .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
              const ratio = (a, b) => { const [x, y] = [light(of(a)), light(of(b))].sort(); return (y + 0.05) / (x + 0.05); };
              const pairs = {};
              for (const back of ["--back", "--card"]) {
                for (const text of ["--text", "--soft", "--accent", "--good"]) pairs[text + back] = ratio(text, back) / 4.5;
                for (let mark = 0; mark < 12; mark += 1) pairs[`mark ${mark}${back}`] = ratio(`--mark-${mark}`, back) / 3;
              }
              pairs.warn = ratio("--warn", "--warn-back") / 4.5;
              return pairs;
            }"""
        )
        assert len(ratios) == 33
        assert {name: ratio for name, ratio in ratios.items() if not ratio >= 1} == {}


def test_headings_are_in_order_and_every_figure_and_field_has_a_name(open_page: Any) -> None:
    page = open_page().page
    levels = page.eval_on_selector_all("h1, h2, h3", "all => all.map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("img, [role=img], [role=region], select, input, section, nav, table")].filter(each =>
          !(each.alt || each.ariaLabel || each.getAttribute("aria-labelledby") || each.labels?.length || each.caption)).length"""
    )
    assert unnamed == 0


def test_the_page_works_where_mlflow_shows_artifacts(browser: Browser, pages: dict[str, Path]) -> None:
    # As its UI does: a blob in a frame that may run scripts and nothing else.
    frame = '<iframe sandbox="allow-scripts" style="width: 90vw; height: 90vh"></iframe>'
    page, wrong = browser.new_page(), []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
    page.route("http://mlflow.test/", lambda route: route.fulfill(content_type="text/html", body=frame))
    page.goto("http://mlflow.test/")
    page.evaluate(
        "html => document.querySelector('iframe').src = URL.createObjectURL(new Blob([html], {type: 'text/html'}))",
        pages["full"].read_text(encoding="utf-8"),
    )
    shown = page.frame_locator("iframe")
    head = shown.locator("#strategy-table thead th").nth(1)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    shown.locator("nav").get_by_role("link", name="Proxy and target").click()
    shown.locator("#against-plot svg.main-svg").first.wait_for(state="attached")
    shown.locator("#filter").fill("imagewoof easiest:0.1 smooth=0")
    assert shown.locator("#runs-table tbody tr").count() == 1
    assert not wrong
    page.close()
