"""The run of a training as the user's own code sees it: how to log to it, and what was logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from proxyflow.tracking.connection import server_uri
from proxyflow.tracking.delivery.retrying import TRACKING_ERRORS, is_outage, without_retries
from proxyflow.tracking.mlflow_defaults import NOT_THE_USERS
from proxyflow.tracking.runs.run import Run

# Names that would send the program's runs elsewhere, or contradict the run's experiment.
_OF_OTHER_RUNS = ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_NAME", "MLFLOW_RUN_CONTEXT", "PROXYFLOW_MLFLOW_DEFAULTS")


class UserCodeRun:
    """Implements `trainers.job.TrainingRun` on a run that is being written.

    Args:
        run: the run.
        experiment_id: its experiment.
    """

    def __init__(self, run: Run, experiment_id: str) -> None:
        self._run = run
        self._experiment_id = experiment_id

    @property
    def id(self) -> str:
        return self._run.id

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        hidden = {*NOT_THE_USERS, *_OF_OTHER_RUNS}
        return {name: value for name, value in base.items() if name not in hidden} | {
            "MLFLOW_TRACKING_URI": server_uri(self._run.client),
            "MLFLOW_EXPERIMENT_ID": self._experiment_id,
            "MLFLOW_RUN_ID": self._run.id,
        }

    def history(self, metric: str, wait: bool = True) -> Sequence[tuple[int, float]] | None:
        client = self._run.client if wait else without_retries(self._run.client)
        try:
            found = client.get_metric_history(self._run.id, metric)
        except TRACKING_ERRORS as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":  # where the run has no such metric
                return ()
            if not wait and is_outage(error):
                return None
            raise
        return [(each.step, each.value) for each in sorted(found, key=lambda each: (each.timestamp, each.step))]

    def latest(self) -> Mapping[str, float]:
        return dict(self._run.client.get_run(self._run.id).data.metrics)

    def last_step(self, metrics: Iterable[str]) -> int:
        """The highest step at which the program has logged one of these metrics; -1 for none."""
        steps = [step for name in self.latest().keys() & set(metrics) for step, _ in self.history(name) or ()]
        return max(steps, default=-1)

    def log_files(self, folder: Path) -> None:
        self._run.log_folder(folder, "")
