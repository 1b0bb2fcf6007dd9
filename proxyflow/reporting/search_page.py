"""The page of a search: one self-contained HTML file that works offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from proxyflow.core.files import write_text
from proxyflow.reporting.embedded import as_json
from proxyflow.reporting.page import asset, hash_of
from proxyflow.reporting.search_figures import agreements_of, figures_of, importance_of
from proxyflow.reporting.styles import STYLES
from proxyflow.studies.bill import Bill
from proxyflow.studies.search import Found
from proxyflow.studies.search_costs import SearchBill, bill_of
from proxyflow.studies.search_files import best_lines, cost_lines, random_search, write_search

PAGE = "index.html"
SCRIPTS = ("tables.js", "search.js", "plots.js")
SHOWN = 12  # candidates of the table


@dataclass(frozen=True)
class Row:
    """A candidate of the table.

    Attributes:
        name: of its configuration.
        value, low, high: on the full data, believed.
        chance: that it is the best candidate.
        trained: trainings by rung.
    """

    name: str
    value: float
    low: float
    high: float
    chance: float
    trained: tuple[int, ...]


@dataclass(frozen=True)
class RungRow:
    """A rung of the table.

    Attributes:
        name: of its proxy.
        trainings: on it.
        cost: of these, in full trainings.
        bill: of these.
        unranked: those that learned nothing.
        trust: how far it is believed to correlate with the full data.
    """

    name: str
    trainings: int
    cost: float
    bill: Bill
    unranked: int
    trust: float


def write_search_page(found: Found, study: str, folder: Path, command: str = "") -> None:
    """Writes `index.html`; a search without any training has none.

    Args:
        command: what trains the best configuration; empty where no command does.
    """
    if not found.knowledge.observations:
        return
    from plotly.offline import get_plotlyjs  # imports plotly

    plotly, script = get_plotlyjs(), "\n".join(asset(f"assets/{name}") for name in SCRIPTS)
    agreements, bill = agreements_of(found), bill_of(found)
    figures = {name: figure for name, figure in figures_of(found).items() if figure["data"]}
    metric = found.spec.trainer.metric
    html = _template().render(
        found=found,
        study=study,
        metric=metric,
        spec=found.spec,
        rungs=[proxy.canonical for proxy in found.spec.ladder],
        command=command,
        lines=best_lines(found),
        costs=cost_lines(found),
        random=random_search(found.knowledge, len(found.spec.candidates), found.spent).iloc[-1],
        rows=rows_of(found),
        bill=bill,
        has_price=bool(bill.total.money),
        rung_rows=_rung_rows(found, bill),
        agreements=agreements,
        importance=importance_of(found),
        weights=found.knowledge.weights,
        figures=set(figures),
        styles=STYLES,
        css=Markup(asset("assets/page.css")),
        plotly=Markup(plotly),
        script=Markup(script),
        policy=f"{hash_of(plotly)} {hash_of(script)}",
        data=as_json({"figures": figures}),
        best=found.best.told,
        now=datetime.now(UTC),
    )
    write_text(folder / PAGE, html.encode("utf-8", "replace").decode("utf-8"))


def write_outcome(study: str, command: Callable[[Found], str] | None = None) -> Callable[[Found, Path], None]:
    """What writes all files of a search's outcome to a folder.

    Args:
        command: gives what trains the best configuration; None where no command does.
    """

    def write(found: Found, folder: Path) -> None:
        write_search(found, folder)
        write_search_page(found, study, folder, "" if command is None else command(found))

    return write


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.globals.update(
        percent=lambda share: f"{share:.0%}", four=lambda value: f"{value:.4f}", breakable=_breakable
    )
    return environment.from_string(asset("search.html.j2"))


def _breakable(name: str) -> Markup:
    """A configuration's name, which may be broken after its commas."""
    *parts, last = name.split(",")
    return Markup("<wbr>").join([*(f"{part}," for part in parts), last])


def rows_of(found: Found) -> list[Row]:
    """The best candidates, the best first."""
    knowledge = found.knowledge
    first = np.bincount(knowledge.samples.argmax(axis=1), minlength=len(knowledge.mean)) / len(knowledge.samples)
    trained = Counter((knowledge.plan.places[o.trial.configuration], o.trial.rung) for o in knowledge.observations)
    rungs = range(len(found.spec.ladder))
    return [
        Row(
            found.knowledge.plan.candidates[place].name,
            *knowledge.value_of(place),
            float(first[place]),
            tuple(trained[place, rung] for rung in rungs),
        )
        for place in map(int, np.argsort(-knowledge.mean, kind="stable")[:SHOWN])
    ]


def _rung_rows(found: Found, bill: SearchBill) -> list[RungRow]:
    rows = []
    for rung, proxy in enumerate(found.spec.ladder):
        own = [each for each in found.knowledge.observations if each.trial.rung == rung]
        cost, unranked = sum(each.cost for each in own), sum(each.unranked for each in own)
        rows.append(RungRow(proxy.canonical, len(own), cost, bill.rungs[rung], unranked, found.knowledge.trust(rung)))
    return rows
