"""The notebook runs in a kernel of its own, and what is shown of it on the web is what it gives."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from entry_points import ROOT

NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
MOST_BYTES = 200_000


def committed() -> dict[str, Any]:
    return dict(json.loads(NOTEBOOK.read_text()))


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def results(cell: dict[str, Any]) -> list[list[str]]:
    """The kinds of content that a cell shows, without what is printed on the way."""
    return [sorted(each["data"]) for each in cell["outputs"] if each["output_type"] != "stream"]


def text_of(cell: dict[str, Any]) -> str:
    texts = [each.get("text", each.get("data", {}).get("text/plain", "")) for each in cell["outputs"]]
    return "\n".join(text if isinstance(text, str) else "".join(text) for text in texts)


def test_the_committed_notebook_was_run_from_top_to_bottom_and_is_small() -> None:
    cells = code_cells(committed())
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert NOTEBOOK.stat().st_size < MOST_BYTES
    assert "best configuration: " in "".join(map(text_of, cells))
    shown = [kind for cell in cells for kinds in results(cell) for kind in kinds]
    assert shown.count("image/png") == 3


def test_the_committed_notebook_has_no_failure_and_nothing_of_the_machine_that_ran_it() -> None:
    outputs = [each for cell in code_cells(committed()) for each in cell["outputs"]]
    assert not [each for each in outputs if each["output_type"] == "error"]
    assert not re.search(r"/(home|work|tmp|root|Users)/|[Ww]arning", json.dumps(outputs))


def test_links_of_the_notebook_lead_somewhere() -> None:
    text = "".join("".join(cell["source"]) for cell in committed()["cells"] if cell["cell_type"] == "markdown")
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    assert targets
    assert not [each for each in targets if not (NOTEBOOK.parent / each).exists()]


@pytest.mark.slow
def test_the_notebook_runs_in_a_kernel_and_shows_what_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("nbclient", "ipykernel"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: uv sync --group examples")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # In a process of its own: a client of a kernel leaves sockets open, which would be warnings here.
    run = (
        "import nbformat, sys; from nbclient import NotebookClient; book = nbformat.read(sys.argv[1], 4); "
        "NotebookClient(book, timeout=600, kernel_name='python3').execute(); nbformat.write(book, 'out.ipynb')"
    )
    done = subprocess.run(
        [sys.executable, "-c", run, NOTEBOOK], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    cells = code_cells(json.loads((tmp_path / "out.ipynb").read_text()))
    assert [results(cell) for cell in cells] == [results(cell) for cell in code_cells(committed())]
    assert (tmp_path / "mlflow.db").is_file()
    [checked] = [text_of(cell) for cell in cells if "pf.check(" in "".join(cell["source"])]
    assert re.search(r"^random:0\.1 +0\.2\d +\d\.\d\d  (no|yes) +\d", checked, re.MULTILINE)
    [best] = [text_of(cell) for cell in cells if "pf.search(" in "".join(cell["source"])]
    accuracy = float(re.findall(r"accuracy (\S+) expected over seeds", best)[0])
    assert accuracy > 0.94
