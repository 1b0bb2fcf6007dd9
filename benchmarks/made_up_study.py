"""A study as real ones leave it on a tracking server, made up in seconds: benchmarks of reading need 20,000 trainings.

Names, tags, params, metrics and inputs are those that a training logs; only the numbers are invented, with a seed.
Each configuration has a quality on each data set; a proxy sees it with noise that shrinks with its cost, and a seed
adds the noise of 500 validation images. What is written goes straight into the tables of MLflow's store, because
20,000 runs by its API would take an hour.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import sqlalchemy
from mlflow.store.tracking.dbmodels import models
from numpy.typing import NDArray

from proxyflow.core.files import digest
from proxyflow.spaces.metric import ACCURACY
from proxyflow.strategies import Distilled
from proxyflow.studies.plan import PlannedTraining, StudySpec, plan_trainings
from proxyflow.studies.presets import load_strategies
from proxyflow.tracking import names
from proxyflow.tracking.queries.curve_tag import tag_of
from proxyflow.trainers import ImageTrainer
from proxyflow.trainers.images.grids import paper_grid

DATASETS = {"imagenette": 9025, "imagewoof": 9025}
STRATEGIES = "paper"
EPOCHS = 20
N_VALID, N_TEST, BATCH = 500, 1000, 64
DIVERGED_SHARE = 0.3  # of the trainings at the highest learning rate
BEGUN_MS = 1_700_000_000_000
CHUNK = 500  # runs that are written at once


@dataclass(frozen=True, eq=False)
class MadeRun:
    """One training as the store shall have it.

    Attributes:
        curves: each epoch metric's values, one per finished epoch.
        begun, ended: ms since 1970.
    """

    id: str
    title: str
    dataset: str
    n_train: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: Mapping[str, NDArray[np.float64]]
    begun: int
    ended: int


def made_runs(count: int, study: str) -> Iterator[MadeRun]:
    """The first `count` trainings of a study with as many seeds as that takes (1,728 trainings each)."""
    rng = np.random.default_rng(11)
    grid = paper_grid()
    strategies = load_strategies(STRATEGIES)
    per_seed = len(DATASETS) * len(strategies) * len(grid)
    spec = StudySpec(
        datasets=tuple(DATASETS),
        strategies=strategies,
        grid=grid,
        trainer=ImageTrainer(image_size=128),
        epochs=EPOCHS,
        seeds=tuple(range(-(-count // per_seed))),
    )
    quality = {(name, each): rng.normal(0.8, 0.05) for name in DATASETS for each in grid}
    seen: dict[tuple[str, ...], float] = {}
    for number, training in enumerate(islice(plan_trainings(spec), count)):
        cell = (training.dataset, training.strategy.canonical, training.spec.configuration.name)
        cost = share_of(training.strategy.canonical)
        if cell not in seen:
            true = quality[training.dataset, training.spec.configuration]
            seen[cell] = true * (0.55 + 0.45 * cost**0.3) + rng.normal(0, 0.06 * (1 - cost))
        yield _made(training, number, cost, seen[cell], study, rng)


def share_of(strategy: str) -> float:
    """A strategy's cost as a share of the target's."""
    name, _, rest = strategy.partition(":")
    if name == "full":
        return 1.0
    value = float(rest.partition(",")[0])
    if name == "distilled":
        return Distilled(int(value)).share
    return value / EPOCHS if name == "epochs" else value / 2 if "half-classes" in name else value


def _made(
    training: PlannedTraining, number: int, cost: float, quality: float, study: str, rng: np.random.Generator
) -> MadeRun:
    spec, configuration = training.spec, training.spec.configuration
    epochs, strategy = spec.epochs, training.strategy.canonical
    diverged = configuration["learning_rate"] == 0.1 and rng.random() < DIVERGED_SHARE
    finished = int(rng.integers(1, epochs + 1)) if diverged else epochs
    n_train = max(1, round(DATASETS[training.dataset] * (1.0 if strategy.startswith("epochs") else cost)))
    steps = np.arange(1, finished + 1)
    ideal = np.clip(quality * (1 - np.exp(-steps / (epochs / 5))), 0.1, 0.99)
    accuracy = np.round(rng.normal(ideal, np.sqrt(ideal * (1 - ideal) / N_VALID)) * N_VALID) / N_VALID
    seconds = rng.normal(38.0, 1.0, finished) * n_train / DATASETS[training.dataset]
    begun = BEGUN_MS + number * 1000
    train_seconds = float(seconds.sum())
    seen = n_train * finished
    metrics = {
        names.OBJECTIVE: float(accuracy.max()),
        names.CHANCE: 0.2 if "half-classes" in strategy else 0.1,
        "best_valid_accuracy": float(accuracy.max()),
        "final_valid_accuracy": 0.0 if diverged else float(accuracy[-1]),
        "test_accuracy": 0.0 if diverged else float(np.round(rng.normal(ideal[-1], 0.01) * N_TEST) / N_TEST),
        "best_epoch": float(accuracy.argmax() + 1),
        "train_seconds": train_seconds,
        "valid_seconds": 0.02 * train_seconds,
        "setup_seconds": float(rng.normal(0.6, 0.05)),
        "wall_seconds": train_seconds + 0.8,
        "steps": float(seen // configuration["batch_size"]) - 2.0,
        "examples_seen": float(seen),
        "train_flops": 2.4e10 * seen,
        "examples_per_second": seen / train_seconds,
        "peak_memory_mb": 4210.0,
        "skipped_steps": 2.0,
        "cost_usd": (train_seconds + 0.8) * 2.5 / 3600,
    }
    assert set(metrics) >= set(names.RUN_METRICS)
    curves = {
        "train_loss": 2.2 - 1.6 * accuracy + rng.normal(0, 0.02, finished),
        "valid_loss": 2.3 - 1.8 * accuracy + rng.normal(0, 0.02, finished),
        "valid_accuracy": accuracy,
        "epoch_seconds": seconds,
    }
    assert set(curves) == set(names.EPOCH_METRICS)
    identity = [study, training.title, spec.seed]
    subset = digest([training.dataset, strategy, spec.seed])
    tags = {
        names.KIND: "training",
        names.VERSION: names.SCHEMA_VERSION,
        names.STATUS: "finished",
        names.STUDY: study,
        names.DATASET: training.dataset,
        names.DATASET_FINGERPRINT: digest(training.dataset),
        names.STRATEGY: strategy,
        names.CONFIG: configuration.name,
        names.CONFIG_GROUP: configuration.group,
        names.CONFIG_JSON: configuration.to_json(),
        names.TRAINER: "images",
        names.METRIC: ACCURACY.name,
        names.GOAL: ACCURACY.goal,
        names.METRIC_JSON: ACCURACY.to_json(),
        names.SEED: str(spec.seed),
        names.EPOCHS: str(epochs),
        names.SUBSET_FINGERPRINT: subset,
        names.SUBSET_RUN: subset[:32],
        names.SCORE_RUN: digest([training.dataset, "scores"])[:32],
        names.RUN_KEY: digest(identity),
        names.DIVERGED: str(diverged).lower(),
        names.OWNER: "trainer/4026531836 4242 1700000000.25",
        names.HEARTBEAT: str(begun // 1000),
        names.DESCRIPTION: f"{configuration['arch']} trained for {epochs} epochs on {n_train:,} examples of "
        f"{training.dataset} ({strategy}) with configuration {configuration.name}.",
        names.RUN_NAME: training.title,
        names.PARENT: digest(study)[:32],
        **_curves_tag(curves),
        "mlflow.user": "benchmark",
        "mlflow.source.name": "/home/benchmark/proxyflow/entrypoints/sweep.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": "0" * 40,
    }
    params = {
        **configuration,
        **spec.trainer.settings,
        "epochs": epochs,
        "crop": "random-resized",
        "dataset": training.dataset,
        "strategy": strategy,
        "config": configuration.name,
        "seed": spec.seed,
        "n_train": n_train,
        "n_valid": N_VALID,
        "n_test": N_TEST,
        "n_classes": 5 if "half-classes" in strategy else 10,
        "precision_used": "fp16",
        "execution": "CUDA graph",
        "device": "NVIDIA H100 80GB HBM3",
        "device_shared": False,
        "threads": 8,
    }
    return MadeRun(
        id=digest([*identity, "run"])[:32],
        title=training.title,
        dataset=training.dataset,
        n_train=n_train,
        tags=tags,
        params={name: str(value) for name, value in params.items()},
        metrics=metrics,
        curves=curves,
        begun=begun,
        ended=begun + round(1000 * (train_seconds + 0.8)),
    )


def _curves_tag(curves: Mapping[str, NDArray[np.float64]]) -> dict[str, str]:
    """The tag that a training has its epochs in."""
    text = tag_of({name: values.tolist() for name, values in curves.items()}, ACCURACY.name)
    return {} if text is None else {names.CURVES: text}


def write_runs(store: str, experiment_id: str, study: str, count: int) -> None:
    """Writes the study's runs into the tables of a store whose experiment MLflow itself has made.

    Args:
        store: SQLAlchemy address of the store.
    """
    engine = sqlalchemy.create_engine(store)
    artifacts = f"mlflow-artifacts:/{experiment_id}"
    parent = digest(study)[:32]
    tags = {names.KIND: "study", names.STATUS: "finished", names.STUDY: study, names.RUN_NAME: study}
    whole = MadeRun(parent, study, "", 0, tags, {}, {}, {}, BEGUN_MS, BEGUN_MS + 1)
    runs = made_runs(count, study)
    # One transaction for all: a store that is half filled would be measured without a word.
    with engine.begin() as connection:
        _insert(connection, [whole], int(experiment_id), artifacts)
        while chunk := list(islice(runs, CHUNK)):
            _insert(connection, chunk, int(experiment_id), artifacts)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("ANALYZE"))
    engine.dispose()


def _insert(connection: sqlalchemy.Connection, runs: list[MadeRun], experiment: int, artifacts: str) -> None:
    rows: dict[type, list[dict[str, object]]] = {
        models.SqlRun: [
            {
                "run_uuid": run.id,
                "name": run.title,
                "source_type": "LOCAL",
                "source_name": "sweep",
                "entry_point_name": "",
                "user_id": "benchmark",
                "status": "FINISHED",
                "start_time": run.begun,
                "end_time": run.ended,
                "source_version": "",
                "lifecycle_stage": "active",
                "artifact_uri": f"{artifacts}/{run.id}/artifacts",
                "experiment_id": experiment,
            }
            for run in runs
        ],
        models.SqlTag: [
            {"run_uuid": run.id, "key": key, "value": value} for run in runs for key, value in run.tags.items()
        ],
        models.SqlParam: [
            {"run_uuid": run.id, "key": key, "value": value} for run in runs for key, value in run.params.items()
        ],
    }
    metrics = [
        {"run_uuid": run.id, "key": key, "value": float(value), "timestamp": run.begun + step, "step": step}
        for run in runs
        for key, values in [*run.curves.items(), *((key, [value]) for key, value in run.metrics.items())]
        for step, value in enumerate(values, start=1 if key in run.curves else 0)
    ]
    last = {(each["run_uuid"], each["key"]): each for each in metrics}
    rows[models.SqlMetric] = [{**each, "is_nan": False} for each in metrics]
    rows[models.SqlLatestMetric] = [{**each, "is_nan": False} for each in last.values()]
    trained = [run for run in runs if run.dataset]
    inputs = {run.id: digest([run.id, "input"])[:32] for run in trained}
    rows[models.SqlDataset] = list(_datasets(connection, trained, experiment).values())
    rows[models.SqlInput] = [
        {
            "input_uuid": inputs[run.id],
            "source_type": "DATASET",
            "source_id": _dataset_id(run),
            "destination_type": "RUN",
            "destination_id": run.id,
        }
        for run in trained
    ]
    rows[models.SqlInputTag] = [
        {"input_uuid": each, "name": "mlflow.data.context", "value": "training"} for each in inputs.values()
    ]
    for table, content in rows.items():
        if content:
            connection.execute(sqlalchemy.insert(table), content)


def _dataset_id(run: MadeRun) -> str:
    return run.tags[names.SUBSET_FINGERPRINT][:32]


def _datasets(connection: sqlalchemy.Connection, runs: list[MadeRun], experiment: int) -> dict[str, dict[str, object]]:
    """Rows of the data sets that no run before these had as its input."""
    made = {
        _dataset_id(run): {
            "dataset_uuid": _dataset_id(run),
            "experiment_id": experiment,
            "name": f"{run.dataset} {run.tags[names.STRATEGY]}",
            "digest": run.tags[names.SUBSET_FINGERPRINT][:32],
            "dataset_source_type": "code",
            "dataset_source": json.dumps({"tags": {"proxyflow": run.tags[names.SUBSET_RUN]}}),
            "dataset_profile": json.dumps({"num_rows": run.n_train}),
        }
        for run in runs
    }
    known = connection.execute(sqlalchemy.select(models.SqlDataset.dataset_uuid)).scalars()
    for each in known:
        made.pop(each, None)
    return made
