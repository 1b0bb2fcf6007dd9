"""MLflow's UI as a person uses it, for the test that looks at it and for the pictures of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from playwright.sync_api import BrowserContext, Locator, Page

# The panel of MLflow's assistant would open by itself the first time, over a third of the page.
NO_ASSISTANT = """
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
"""


def prepare(context: BrowserContext) -> None:
    """Leaves out what covers the page."""
    context.add_init_script(NO_ASSISTANT)


def follow(page: Page, link: str) -> Page:
    """Clicks a link of a description, which opens a page of its own."""
    with page.expect_popup() as opened:
        page.get_by_role("link", name=link, exact=True).first.click()
    opened.value.set_viewport_size(page.viewport_size or {"width": 1400, "height": 900})
    return opened.value


def row(page: Page, run_name: str) -> Locator:
    """A run's row in the table of runs."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=run_name, exact=True))


def compare(page: Page, run_names: Sequence[str]) -> None:
    """Selects runs in the table and opens their comparison."""
    for name in run_names:
        row(page, name).get_by_role("checkbox").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_role("heading", name=f"Comparing {len(run_names)} Runs").wait_for()


def compared_param(page: Page, name: str) -> list[str]:
    """A param's values in the comparison, in the runs' order."""
    line = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True))
    return [cell.strip() for cell in line.get_by_role("cell").all_inner_texts()]


# Names and values are two grids side by side, of which the first lags one turn of the wheel behind, so a row is known
# by its place in each grid; rows out of sight are not there.
OF_METRIC = """(name) => {
  const [names, values] = [...document.querySelectorAll("[role=grid]")]
    .map((grid) => [...grid.querySelectorAll("[role=rowgroup] > *")]);
  const cell = names.find((each) => each.textContent.trim() === name);
  const beside = cell ? values.filter((each) => each.offsetTop === cell.offsetTop) : [];
  return beside.map((each) => each.textContent.trim());
}"""


def compared_metric(page: Page, name: str) -> list[str]:
    """A metric's values in the comparison, in the runs' order; scrolls to it."""
    values_grid = page.get_by_role("grid").last
    for _ in range(3):  # a machine that is busy may draw a row only when it has gone by
        values_grid.hover()
        page.mouse.wheel(0, -10_000)
        values_grid.hover()  # what the grid leaves over of a turn moves the page
        for _ in range(100):
            values: list[str] = page.evaluate(OF_METRIC, name)
            if values:
                return values
            page.mouse.wheel(0, 50)
            page.wait_for_timeout(50)  # until rows are drawn
    raise LookupError(f"the comparison has no metric {name}")
