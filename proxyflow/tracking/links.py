"""Descriptions of runs as the MLflow UI shows them: Markdown with links to other runs, names shown as they are."""

from __future__ import annotations

import re
from contextlib import suppress

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.tracking import names

# A browser that has never been told otherwise shows an experiment as one of language models, runs out of sight.
WORKFLOW = "workflowType=machine_learning"
# The last two begin what becomes a link by itself.
_MARKS = re.compile(r"[\\`*_{}\[\]#~|]|(?<=www)\.|:(?=//)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def plain(name: str) -> str:
    """A name as a description shows it: no letter of it means anything to Markdown or HTML."""
    one_line = " ".join(name.split())
    # The UI's Markdown knows no backslash before < and >, and every Markdown knows entities.
    return re.sub("[&<>]", lambda found: _ENTITIES[found[0]], _MARKS.sub(r"\\\g<0>", one_line))


def run_path(experiment_id: str, run_id: str, artifact: str = "") -> str:
    """Where the UI shows a run, or one of its artifacts; relative, so that it holds behind any prefix."""
    return f"#/experiments/{experiment_id}/runs/{run_id}{f'/artifacts/{artifact}' if artifact else ''}?{WORKFLOW}"


class Links:
    """Links to runs by their ids alone.

    Args:
        client: asked once for each run's experiment, since scores and subsets are shared between studies.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._experiments: dict[str, str] = {}

    def run(self, label: str, run_id: str, artifact: str = "") -> str:
        """A link to a run, or to one of its artifacts.

        Args:
            label: plain words.
        """
        if run_id not in self._experiments:
            try:
                self._experiments[run_id] = str(self._client.get_run(run_id).info.experiment_id)
            except MlflowException:
                return f"[{label}](#/runs/{run_id})"  # it may be gone, or not for us; the UI says so itself
        return f"[{label}]({run_path(self._experiments[run_id], run_id, artifact)})"


def paragraphs(*texts: str) -> str:
    """Paragraphs of a description, empty ones left out."""
    return "\n\n".join(filter(None, texts))


def renote(client: MlflowClient, run_id: str, note: str) -> None:
    """Gives somebody's run another description; who may not change it leaves it as it is."""
    with suppress(MlflowException):
        client.set_tag(run_id, names.NOTE, note)
