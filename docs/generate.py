"""Writes the pages of docs/reference that are made from the package: `python docs/generate.py`.

Options, tags, metrics, proxies, scores and the like are declared once, in the code; a test holds the pages to it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from proxyflow.cli.app import COMMANDS, load_command
from proxyflow.cli.training import syntax_of_trainer
from proxyflow.core.settings import settings_of
from proxyflow.core.spelling import syntax_of
from proxyflow.data.catalog import syntax_of as dataset_spelling
from proxyflow.data.images.sources import datasets
from proxyflow.proxies import reductions
from proxyflow.quality.strategy_measures import MEASURES
from proxyflow.scores import known_scores
from proxyflow.searching.samplers import samplers
from proxyflow.strategies import strategies
from proxyflow.strategies.distillation_methods import methods
from proxyflow.studies.executors import executors
from proxyflow.tracking import names
from proxyflow.trainers import trainers

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Made by docs/generate.py from the package: edit that, or the declarations. -->"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; what would end a cell is escaped."""
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(text: object) -> str:
    """Text as code."""
    return f"`{text}`"


def commands() -> str:
    """Every option of every command."""
    parts = [
        "# Commands and options",
        "`proxyflow COMMAND --OPTION VALUE`, or in a clone `mlflow run . -e COMMAND -P OPTION=VALUE`; names of options "
        "take `-` and `_` alike. `proxyflow COMMAND --help` says the same, with the installed plug-ins.",
        table(["command", "does"], [(f"[`{name}`](#{name})", does) for name, does in COMMANDS.items()]),
    ]
    for name in COMMANDS:
        found = load_command(name)
        rows = [
            (code(param.name), code(param.default), str(getattr(param, "help", "") or "")) for param in found.params
        ]
        example = getattr(found, "example", "")
        parts += [
            f"## {name}",
            " ".join((found.help or "").split()),
            f"```sh\nproxyflow {name} {example}\n```" if example else "",
            table(["option", "default", "meaning"], rows),
        ]
    return "\n\n".join(filter(None, parts))


def proxies() -> str:
    """Strategies, reductions and methods of distillation."""
    return "\n\n".join(
        [
            "# Proxies",
            "A proxy is a strategy, which chooses examples, and any number of further reductions, joined with `+`: "
            "`random:0.25+epochs:5+size:16`. [Proxies](../how-to/proxies.md) explains how they join, and "
            "[scores](../how-to/scores.md) what strategies by difficulty need. `F` is a fraction of the examples that "
            "the strategy selects from.",
            "## Strategies",
            table(
                ["strategy", "selects", "cost, and when it helps"],
                [(code(syntax_of(cls)), cls.summary, cls.helps) for cls in strategies.values()],
            ),
            "## Reductions",
            table(
                ["reduction", "does", "cost, and when it helps"],
                [(code(syntax_of(cls)), cls.summary, cls.helps) for cls in reductions.values()],
            ),
            "## Methods of distillation",
            "The images of `distilled:N` are made by one of these methods; settings are given as `method=NAME` and "
            "`--settings`. See [distillation](../how-to/distillation.md).",
            table(
                ["method", "does", "settings"],
                [
                    (code(name), cls.summary, ", ".join(f"`{f.name}={f.default}`" for f in settings_of(cls)))
                    for name, cls in methods.items()
                ],
            ),
        ]
    )


def scores() -> str:
    """Every score with its source."""
    rows = [
        (
            code(name),
            "higher" if score.higher_is_harder else "lower",
            code(score.needs),
            score.description,
            score.source,
        )
        for name, score in known_scores.items()
    ]
    return "\n\n".join(
        [
            "# Scores",
            "How hard an example is. Strategies rank by one of them: `easiest:0.1,by=el2n`. "
            "[Scores](../how-to/scores.md) explains where they come from and what they need.",
            table(["`by=`", "harder is", "needs", "definition", "source"], rows),
        ]
    )


def measures() -> str:
    """Every measure with its definition."""
    return "\n\n".join(
        [
            "# Quality measures",
            "How good a proxy is. A *pair* is one configuration, of one data set and seed, on the proxy and on the "
            "target (`full` at the study's epochs). Pairs with one side missing are counted (`n_missing`) and never "
            "imputed. Ties, constant values and fewer than three pairs give an empty cell and a note. "
            "[The statistics](../explanation/statistics.md) explains intervals, and what is computed from these.",
            table(["measure", "definition"], [(code(name), each.meaning) for name, each in MEASURES.items()]),
            "From these:",
            table(
                ["measure", "definition"],
                [
                    (
                        "`r2_ranked`, `spearman_ranked`, `regret_ranked`",
                        "the same measures without the pairs that the proxy "
                        "[cannot rank](../explanation/statistics.md#what-a-proxy-cannot-rank)",
                    ),
                    (
                        "`cost_adjusted_r2`",
                        "r2 minus the cost curve r2 = b0 + b1 c + b2 c² + b3 c³ through (1, 1), fitted to the study "
                        "without its synthetic data, or `published` (`cost_curve`)",
                    ),
                    (
                        "`steps`",
                        "median of the optimizer steps of a strategy's trainings, over data sets, configurations and "
                        "seeds; in `policies.csv` of those that the policy ranks by. Empty unless the steps of every "
                        "training are known (trainings of version 0.1.0: `examples_seen` over the batch size where "
                        "that is a whole number)",
                    ),
                ],
            ),
        ]
    )


def registries() -> str:
    """Everything else that packages can add to."""

    def listed(items: Iterable[tuple[str, str]]) -> str:
        return table(["name", "is"], [(code(name), does) for name, does in items])

    def described(registry: Mapping[str, object]) -> str:
        return listed((name, str(getattr(item, "description", ""))) for name, item in registry.items())

    return "\n\n".join(
        [
            "# Data sets, trainers, samplers, executors",
            "Packages can add to each of these: see [plug-ins](../how-to/plugins.md).",
            "## Data sets",
            "`NAME@N` is a fixed part of a data set with N training examples. See [data sets](../how-to/data.md).",
            listed((dataset_spelling(name, source), source.description) for name, source in datasets.items()),
            "## Trainers",
            listed((syntax_of_trainer(name, cls), cls().description) for name, cls in trainers.items()),
            "## Samplers",
            "They propose configurations to a [search](../how-to/search.md).",
            described(samplers),
            "## Executors",
            described(executors),
        ]
    )


METRICS = {
    "Of every training, at its end; `NAME` is the trainer's metric": names.RESULT_METRICS,
    "Of a training by the image trainer, and of a score run's first model, after each epoch; other trainers log "
    "values per epoch under their own names": names.EPOCH_METRICS,
    "Of a training by the image trainer, at its end; other trainers log those that they measure. Score runs have the "
    "result of their first model, and the costs of all their models together": names.RUN_METRICS,
    "Of a subset and the trainings on it, where choosing its examples took scores": names.SELECTION_METRICS,
    "Of score runs": names.SCORE_METRICS,
    "Of distillations": names.DISTILLATION_METRICS,
    "Of subsets": names.SUBSET_METRICS,
    "Of a study, updated while it runs": names.STUDY_METRICS,
    "Of a search, at its end": names.SEARCH_METRICS,
    "Of reports": names.REPORT_METRICS,
    "Of studies, score runs and trainings with system metrics": names.SYSTEM_METRICS,
}


def tracking() -> str:
    """Every tag and metric."""
    metrics = [
        text
        for head, rows in METRICS.items()
        for text in (f"{head}:", table(["metric", "meaning"], [(code(name), does) for name, does in rows.items()]))
    ]
    return "\n\n".join(
        [
            "# Tags and metrics",
            "What a run on the tracking server has. Params of a run that `mlflow run` created keep the spelling in "
            "which they were typed (`easiest:.10`); tags have the canonical spelling, so search by tags.",
            "## Tags",
            "This is version 2 of the schema. Runs of version 1 lack `proxyflow.trainer`, `proxyflow.metric`, "
            "`proxyflow.goal`, `proxyflow.metric_json`, `proxyflow.config_json` and the metric `objective`; they are "
            "read as trainings of the image trainer whose objective is `best_valid_accuracy`.",
            table(["tag", "meaning"], [(code(tag), does) for tag, does in names.TAGS.items()]),
            "## Metrics",
            *metrics,
        ]
    )


def python() -> str:
    """What mkdocstrings makes of the docstrings; the file itself has the names."""
    public = importlib.import_module("proxyflow").__all__
    return "\n\n".join(
        [
            "# Python",
            "`import proxyflow as pf`. `help(pf.search)` shows the same as this page.",
            *(f"::: proxyflow.{name}" for name in public if not name.startswith("_")),
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "proxies.md": proxies,
    "scores.md": scores,
    "measures.md": measures,
    "registries.md": registries,
    "tracking.md": tracking,
    "python.md": python,
}


def page(name: str) -> str:
    """The whole text of a page."""
    return f"{NOTE}\n\n{PAGES[name]()}\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in PAGES:
        (FOLDER / name).write_text(page(name), encoding="utf-8")
