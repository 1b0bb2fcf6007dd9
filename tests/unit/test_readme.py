"""The lists in README and docs are those of the registries, so that neither runs ahead of the other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from proxyflow.cli.app import COMMANDS
from proxyflow.core.registry import Registry
from proxyflow.core.spelling import syntax_of
from proxyflow.data.catalog import datasets
from proxyflow.data.catalog import syntax_of as dataset_spelling
from proxyflow.proxies import reductions
from proxyflow.scores import known_scores
from proxyflow.searching.samplers import samplers
from proxyflow.strategies import strategies
from proxyflow.studies.executors import executors
from proxyflow.tracking import names
from proxyflow.trainers import trainers

ROOT = Path(__file__).parents[2]


def test_every_strategy_has_its_row() -> None:
    text = (ROOT / "README.md").read_text()
    rows = [f"| `{syntax_of(cls)}` | {cls.summary} |" for cls in strategies.values()]
    assert "\n".join(rows) in text


def test_every_reduction_has_its_rows() -> None:
    rows = [f"| `{syntax_of(cls)}` | {cls.summary} | {cls.helps} |" for cls in reductions.values()]
    for path in ("README.md", "docs/how-to/proxies.md"):
        assert "\n".join(rows) in (ROOT / path).read_text(), path


def test_every_score_has_its_row() -> None:
    text = (ROOT / "docs" / "how-to" / "scores.md").read_text()
    rows = [
        f"| `{name}` | {'higher' if measure.higher_is_harder else 'lower'} | {measure.needs} | {measure.description} | "
        f"{measure.source} |"
        for name, measure in known_scores.items()
    ]
    assert "\n".join(rows) in text


def test_every_data_set_has_its_row() -> None:
    text = (ROOT / "docs" / "how-to" / "data.md").read_text()
    rows = [f"| `{dataset_spelling(name, source)}` | {source.description} |" for name, source in datasets.items()]
    assert "\n".join(rows) in text
    readme = (ROOT / "README.md").read_text()
    assert all(
        f"`{name}:" in readme if source.takes_path else f"`{name}`" in readme for name, source in datasets.items()
    )


def test_every_entry_point_has_its_row() -> None:
    text = (ROOT / "README.md").read_text()
    assert all(f"| `{name}` | {does} |" in text for name, does in COMMANDS.items())
    assert {path.stem for path in (ROOT / "entrypoints").glob("[a-z]*.py")} == set(COMMANDS)


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/mlflow-ui.md"])
def test_pictures_are_there(page: str) -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / page).read_text())
    assert pictures
    for picture in pictures:
        path = (ROOT / page).parent / picture
        assert path.is_file()
        assert path.stat().st_size < 150_000


def test_every_metric_has_its_row() -> None:
    text = (ROOT / "docs" / "how-to" / "mlflow-ui.md").read_text()
    tables = {name: value for name, value in vars(names).items() if name.endswith("_METRICS")}
    assert len(tables) == 11
    for table in tables.values():
        assert "\n".join(f"| `{metric}` | {meaning} |" for metric, meaning in table.items()) in text


def test_every_tag_has_its_row() -> None:
    rows = re.findall(r"^\| (`proxyflow\..+?) \|", (ROOT / "docs" / "how-to" / "mlflow-ui.md").read_text(), re.MULTILINE)
    documented = {tag.partition(".DIGEST")[0] for row in rows for tag in re.findall("`(.+?)`", row)}
    assert documented == {
        value.strip(".")
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and value.startswith(names.PREFIX) and value != names.PREFIX
    }


def test_every_kind_of_run_is_named() -> None:
    row = re.search(r"^\| `proxyflow.kind` \| (.+) \|$", (ROOT / "docs" / "how-to" / "mlflow-ui.md").read_text(), re.MULTILINE)
    assert row
    assert re.findall("`(.+?)`", row[1]) == list(get_args(names.Kind))


def test_every_group_of_plug_ins_has_its_row() -> None:
    text = (ROOT / "docs" / "how-to" / "plugins.md").read_text()
    registries: tuple[Registry[Any], ...] = (
        datasets,
        known_scores,
        strategies,
        reductions,
        samplers,
        trainers,
        executors,
    )
    assert re.findall(r"^\| `(proxyflow\.\w+)` \|", text, re.MULTILINE) == [registry.group for registry in registries]
    example = tomllib.loads((ROOT / "tests/support/plugin_package/pyproject.toml").read_text())["project"]
    assert set(example["entry-points"]) == {registry.group for registry in registries}
    assert tomllib.loads(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0])["project"]["entry-points"].items() <= (
        example["entry-points"].items()
    )
