"""Saved views of a study's trainings in the MLflow UI, because MLflow's client has no call that creates one.

A saved view is a tag of the experiment with the view's state as JSON. The UI completes a state with its defaults and
ignores unknown keys.
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
from proxyflow.tracking.ui.links import WORKFLOW

VIEW_TAG = "mlflow.sharedViewState."
TRAININGS = f"tags.`{names.KIND}` = 'training'"
# The columns in their order, with widths in pixels that fit their titles and usual values. The name repeats the next
# two, so it may be cut off.
COLUMNS = {
    "attributes.`Run Name`": 200,
    "params.`strategy`": 125,
    "params.`config`": 190,
    "metrics.`objective`": 110,
    f"tags.`{names.METRIC}`": 130,
    "metrics.`wall_seconds`": 110,
    "metrics.`train_seconds`": 110,
    "metrics.`cost_usd`": 90,
    "params.`seed`": 60,
    "params.`n_train`": 80,
}
# Of a search, fewer: they fit a screen.
SEARCH_COLUMNS = (
    "attributes.`Run Name`",
    "params.`strategy`",
    "params.`config`",
    "metrics.`objective`",
    "metrics.`train_seconds`",
    "params.`seed`",
)
LONGEST_DATASET = 60  # in the title of a search's view


@dataclass(frozen=True)
class View:
    """A saved view of a study's trainings.

    Attributes:
        key: its name in links.
        title: its name in the UI's menu of views.
        ascending: whether the lowest objective comes first.
        group_by: the param that it groups by, with means of the metrics; empty for none.
        only: a filter of the trainings in MLflow's language; empty for all.
        columns: of `COLUMNS`, in their order.
    """

    key: str
    title: str
    ascending: bool = False
    group_by: str = ""
    only: str = ""
    columns: tuple[str, ...] = tuple(COLUMNS)

    @property
    def state(self) -> dict[str, Any]:
        """The state that the UI restores."""
        state: dict[str, Any] = {
            "searchFilter": " and ".join(filter(None, (TRAININGS, self.only))),
            "orderByKey": "metrics.`objective`",
            "orderByAsc": self.ascending,
            "selectedColumns": list(self.columns),
            "columnOrder": list(self.columns),
            "columnWidths": {column: COLUMNS[column] for column in self.columns},
        }
        if self.group_by:
            keys = [{"mode": "param", "groupByData": self.group_by}]
            state["groupBy"] = {"aggregateFunction": "average", "groupByKeys": keys}
        return state

    @property
    def tag(self) -> dict[str, str]:
        """The experiment's tag that it is."""
        now = int(time.time() * 1000)
        value = {"name": self.title, "createdAt": now, "updatedAt": now, "state": json.dumps(self.state)}
        return {f"{VIEW_TAG}{self.key}": json.dumps(value)}

    def link(self, label: str, experiment_id: str) -> str:
        """A link to it, relative to the UI's page."""
        return f"[{label}](#/experiments/{experiment_id}/runs?viewStateShareKey={self.key}&{WORKFLOW})"


# The trainer decides whether the highest or the lowest objective is best, after the views are created.
HIGHEST = View("proxyflow-highest", "Trainings, highest objective first")
LOWEST = View("proxyflow-lowest", "Trainings, lowest objective first", ascending=True)
BY_STRATEGY = View("proxyflow-strategies", "Trainings by strategy", group_by="strategy")
VIEWS = (HIGHEST, LOWEST, BY_STRATEGY)


def links_to_views(experiment_id: str) -> str:
    """A sentence with links to the views of a study."""
    labels = {HIGHEST: "highest objective first", LOWEST: "lowest objective first", BY_STRATEGY: "by strategy"}
    return f"Its trainings: {', '.join(view.link(label, experiment_id) for view, label in labels.items())}."


def search_view(dataset: str, fingerprint: str, ascending: bool) -> View:
    """The trainings that searches on a data set have started, those of each rung together and the best first."""
    return View(
        f"proxyflow-search-{fingerprint[:12]}",
        f"Search on {names.shorten(dataset, LONGEST_DATASET)}, by rung",
        ascending=ascending,
        group_by="strategy",
        only=f"tags.`{names.REASON}` LIKE '%' and tags.`{names.DATASET_FINGERPRINT}` = '{fingerprint}'",
        columns=SEARCH_COLUMNS,
    )


def create_saved_views(client: MlflowClient, experiment_id: str) -> None:
    """Gives a study's experiment its views and its description, where they are missing."""
    description = f"A study of proxy data sets. {links_to_views(experiment_id)}"
    _add_tags(client, experiment_id, {names.DESCRIPTION: description}, *(view.tag for view in VIEWS))


def save_view(client: MlflowClient, experiment_id: str, view: View) -> None:
    """Gives an experiment one more view, where it is missing."""
    _add_tags(client, experiment_id, view.tag)


def _add_tags(client: MlflowClient, experiment_id: str, *tags: dict[str, str]) -> None:
    """Adds the tags that are missing.

    A user who may not change an experiment may still add runs to it, so a refusal is no error.
    """
    with suppress(MlflowException):
        present = client.get_experiment(experiment_id).tags
        for key, value in (item for each in tags for item in each.items()):
            if key not in present:
                client.set_experiment_tag(experiment_id, key, value)
