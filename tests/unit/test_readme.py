"""README and docs say what the package has: what is generated is up to date, and links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, get_args

import pytest

from proxyflow.cli.app import COMMANDS
from proxyflow.core.registry import Registry
from proxyflow.data.catalog import datasets
from proxyflow.proxies import reductions
from proxyflow.scores import known_scores
from proxyflow.searching.samplers import samplers
from proxyflow.strategies import strategies
from proxyflow.studies.executors import executors
from proxyflow.tracking import names
from proxyflow.trainers import trainers

ROOT = Path(__file__).parents[2]


def test_the_reference_is_made_from_the_package() -> None:
    spec = spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    for name in made.PAGES:
        committed = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert made.page(name) == committed, "run python docs/generate.py"
    metrics = [value for name, value in vars(names).items() if name.endswith("_METRICS")]
    assert list(made.METRICS.values()) == metrics
    assert {path.name for path in (ROOT / "docs" / "reference").glob("*.md")} == set(made.PAGES)


def test_every_tag_has_its_meaning() -> None:
    tags = {
        value
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and value.startswith(names.PREFIX) and value != names.PREFIX
    }
    assert set(names.TAGS) == tags
    assert re.findall("`(.+?)`", names.TAGS[names.KIND]) == list(get_args(names.Kind))


LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors_of(path: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    pages += [page for folder in ("docs", "reports", "examples", "deploy") for page in (ROOT / folder).rglob("*.md")]
    dead = []
    for page in pages:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for path, anchor in LINK.findall(re.sub(r"`[^`\n]+`", "", text)):
            target = page.parent / path if path else page
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors_of(target)):
                dead.append(f"{page.relative_to(ROOT)}: {path}#{anchor}")
    assert dead == []


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
