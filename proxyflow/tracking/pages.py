"""The runs that a search finds, page by page: a study's 20,000 neither fit into one answer nor into memory twice."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count

from mlflow.tracking import MlflowClient

from proxyflow.tracking import rest
from proxyflow.tracking.ahead import ask_ahead
from proxyflow.tracking.found import FoundRun, from_client, from_json
from proxyflow.tracking.outages import impatient, insist

# Most searches find a few runs. Later pages are asked for side by side, so they are small enough to share out a
# study of the published size, and large enough that sorting anew for each costs little.
FIRST, PAGE = 200, 500
ORDER = ["attributes.start_time DESC"]
SEARCH = "/api/2.0/mlflow/runs/search"

Page = tuple[list[FoundRun], str | None]


def pages(client: MlflowClient, experiments: Sequence[str], condition: str) -> Iterator[list[FoundRun]]:
    """Pages of the runs of these experiments for which MLflow's filter `condition` holds, newest first."""
    fetch = partial(_from_server if rest.is_server(client) else _from_store, list(experiments), condition)
    runs, token = insist(client, fetch, impatient(client), (FIRST, None))
    yield runs
    if token is not None and rest.is_server(client) and token == _token(FIRST):
        later = ((PAGE, _token(FIRST + number * PAGE)) for number in count())
        for runs, token in ask_ahead(client, fetch, later):
            yield runs
            if token is None:
                return
    while token is not None:
        runs, token = insist(client, fetch, impatient(client), (PAGE, token))
        yield runs


def _token(offset: int) -> str:
    """The token of the page that begins there, as today's servers write it.

    MLflow promises nothing about it. It is used only where the server's first token is just this; elsewhere one page
    is asked for after the other.
    """
    return base64.b64encode(json.dumps({"offset": offset}).encode()).decode()


def _from_store(experiments: list[str], condition: str, client: MlflowClient, page: tuple[int, str | None]) -> Page:
    size, token = page
    runs = client.search_runs(experiments, condition, max_results=size, order_by=ORDER, page_token=token)
    return [from_client(run) for run in runs], runs.token or None


def _from_server(experiments: list[str], condition: str, client: MlflowClient, page: tuple[int, str | None]) -> Page:
    size, token = page
    wanted = {"experiment_ids": experiments, "filter": condition, "max_results": size, "order_by": ORDER}
    answer = rest.ask(client, "POST", SEARCH, json={**wanted, **({"page_token": token} if token else {})})
    told = rest.content(answer, SEARCH)
    return [from_json(run) for run in told.get("runs", ())], told.get("next_page_token") or None
