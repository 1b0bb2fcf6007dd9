"""Descriptions of runs in the MLflow UI: Markdown with links to other runs, and names that need escaping."""

from __future__ import annotations

import re
from contextlib import suppress

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.tracking import names

# By default the UI shows an experiment as one of language models, without its runs.
WORKFLOW = "workflowType=machine_learning"
LONGEST_NAME = 200  # in a description
# The last two begin what Markdown turns into a link.
_MARKS = re.compile(r"[\\`*_{}\[\]#~|]|(?<=www)\.|:(?=//)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape_markdown(name: str) -> str:
    """A name for a description, shortened where it is long, without any meaning in Markdown or HTML."""
    one_line = names.shorten(" ".join(name.split()), LONGEST_NAME)
    # The UI's Markdown does not accept a backslash before < and >; entities always work.
    return re.sub("[&<>]", lambda found: _ENTITIES[found[0]], _MARKS.sub(r"\\\g<0>", one_line))


def run_path(experiment_id: str, run_id: str, artifact: str = "") -> str:
    """The UI's address of a run, or of one of its artifacts; relative, so that it works behind any prefix."""
    return f"#/experiments/{experiment_id}/runs/{run_id}{f'/artifacts/{artifact}' if artifact else ''}?{WORKFLOW}"


class Links:
    """Links to runs by their ids alone.

    Args:
        client: knows each run's experiment, as scores and subsets are shared between studies.
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
                return f"[{label}](#/runs/{run_id})"  # deleted, or not visible to this user; the UI reports that
        return f"[{label}]({run_path(self._experiments[run_id], run_id, artifact)})"


def paragraphs(*texts: str) -> str:
    """Paragraphs of a description, empty ones left out."""
    return "\n\n".join(filter(None, texts))


def set_description(client: MlflowClient, run_id: str, note: str) -> None:
    """Gives a run another description where this user may change it."""
    with suppress(MlflowException):
        client.set_tag(run_id, names.DESCRIPTION, note)
