"""How the MLflow UI shows a study before anybody has set anything up: saved views of its trainings, and a description.

A saved view is a tag of the experiment with the view's state as JSON. The UI fills in what a state leaves out and
ignores what it does not know, so these say only what matters.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.tracking import names
from proxyflow.tracking.links import WORKFLOW

VIEW_TAG = "mlflow.sharedViewState."
TRAININGS = f"tags.`{names.KIND}` = 'training'"
# The columns in their order, with widths in pixels that show their titles and usual values; the name comes first and
# says what the next two say, so it may be cut off.
COLUMNS = {
    "attributes.`Run Name`": 200,
    "params.`strategy`": 125,
    "params.`config`": 190,
    "metrics.`best_valid_accuracy`": 155,
    "metrics.`final_valid_accuracy`": 155,
    "metrics.`wall_seconds`": 110,
    "metrics.`train_seconds`": 110,
    "metrics.`cost_usd`": 90,
    "params.`seed`": 60,
    "params.`n_train`": 80,
}


@dataclass(frozen=True)
class View:
    """A saved view of a study's trainings.

    Attributes:
        key: its name in links.
        title: its name in the UI's menu of views.
        group_by: the param that it groups by, with means of the metrics; empty for none.
    """

    key: str
    title: str
    group_by: str = ""

    @property
    def state(self) -> dict[str, Any]:
        """What the UI keeps of a view."""
        state: dict[str, Any] = {
            "searchFilter": TRAININGS,
            "orderByKey": "metrics.`best_valid_accuracy`",
            "orderByAsc": False,
            "selectedColumns": list(COLUMNS),
            "columnOrder": list(COLUMNS),
            "columnWidths": COLUMNS,
        }
        if self.group_by:
            keys = [{"mode": "param", "groupByData": self.group_by}]
            state["groupBy"] = {"aggregateFunction": "average", "groupByKeys": keys}
        return state

    def tag(self, now: int) -> str:
        """The tag's value; `now` is in ms since 1970."""
        return json.dumps({"name": self.title, "createdAt": now, "updatedAt": now, "state": json.dumps(self.state)})

    def link(self, label: str, experiment_id: str) -> str:
        """A link to it, relative to the UI's page."""
        return f"[{label}](#/experiments/{experiment_id}/runs?viewStateShareKey={self.key}&{WORKFLOW})"


BEST = View("proxyflow-best", "Trainings, best first")
BY_STRATEGY = View("proxyflow-strategies", "Trainings by strategy", group_by="strategy")
VIEWS = (BEST, BY_STRATEGY)


def links_to_views(experiment_id: str) -> str:
    """A sentence with links to the views of a study."""
    best = BEST.link("the best first", experiment_id)
    return f"Its trainings: {best}, or {BY_STRATEGY.link('by strategy', experiment_id)}."


def furnish(client: MlflowClient, experiment_id: str) -> None:
    """Gives a study's experiment its views and its description, where it has none of that name.

    Who may not change an experiment may still add runs to it, so a refusal is no error.
    """
    with suppress(MlflowException):
        present = client.get_experiment(experiment_id).tags
        now = int(time.time() * 1000)
        wanted = {f"{VIEW_TAG}{view.key}": view.tag(now) for view in VIEWS}
        wanted[names.NOTE] = f"A study of proxy data sets. {links_to_views(experiment_id)}"
        for key, value in wanted.items():
            if key not in present:
                client.set_experiment_tag(experiment_id, key, value)
