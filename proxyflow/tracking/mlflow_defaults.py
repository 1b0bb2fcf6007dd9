"""Variables that MLflow reads at its import, set before it; the user's own settings win."""

from __future__ import annotations

import os

# Nothing of a study goes anywhere but to the tracking server.
OWN_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # Two lines for each run that ends would bury the messages of a study.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # `artifacts.transfer` has its own progress bar.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A logged model declares its few requirements; they are not the project's whole lock file.
    "MLFLOW_UV_AUTO_DETECT": "false",
    # MLflow would retry a call for four minutes in silence; `RetryingClient` retries for longer, and says so.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
# Names of those that the user has not set, also for processes that this one starts.
_MARK = "PROXYFLOW_MLFLOW_DEFAULTS"
_inherited = os.environ.get(_MARK, "").split(",")
NOT_THE_USERS = frozenset(name for name in OWN_DEFAULTS if name in _inherited or name not in os.environ)
for _name in NOT_THE_USERS:
    os.environ[_name] = OWN_DEFAULTS[_name]
os.environ[_MARK] = ",".join(sorted(NOT_THE_USERS))
