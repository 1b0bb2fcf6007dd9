"""Optuna's TPE with MLflow's own storage: what its trials ask of the tracking server, see `benchmarks.search_tracking`.

python -m benchmarks.peers.mlflow_storage URI TRIALS
"""

from __future__ import annotations

import json
import sys
import time

import mlflow
import optuna
from mlflow.optuna.storage import MlflowStorage

from benchmarks.server import RequestsSent


def main(uri: str, trials: int) -> None:
    """Prints, as JSON, requests and seconds from the start to the beginning of each trial and to the end."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    mlflow.set_tracking_uri(uri)
    storage = MlflowStorage(experiment_id=mlflow.create_experiment("optuna"))
    begun: list[tuple[int, float]] = []

    def objective(trial: optuna.Trial) -> float:
        begun.append((len(sent.paths), time.perf_counter() - start))
        return 0.9 - (trial.suggest_float("width", 0.05, 0.95) - 0.3) ** 2

    start = time.perf_counter()
    with RequestsSent() as sent:
        study = optuna.create_study(
            study_name="optuna", storage=storage, direction="maximize", sampler=optuna.samplers.TPESampler(seed=0)
        )
        study.optimize(objective, n_trials=trials)
        begun.append((len(sent.paths), time.perf_counter() - start))
    print(json.dumps(begun))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
