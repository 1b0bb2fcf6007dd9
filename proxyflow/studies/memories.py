"""Finds what earlier studies and searches on the server know of a trainer's hyperparameters."""

from __future__ import annotations

import json

import pandas as pd

from proxyflow.core.errors import InvalidValue
from proxyflow.quality.runs import TARGET
from proxyflow.searching.memory import Memory
from proxyflow.studies.context import StudyContext
from proxyflow.studies.plan import AUTO
from proxyflow.studies.search_trials import SearchSpec
from proxyflow.tracking import names
from proxyflow.tracking.connection import study_experiment_id
from proxyflow.tracking.queries.reader import search, trainings_of_trainer
from proxyflow.tracking.queries.tracked_run import TrackedRun

NONE = "none"
# Fewer configurations say nothing of a space; more make each decision slower without saying much more.
FEWEST, MOST = 5, 64
MOST_MEMORIES = 3


def find_memories(context: StudyContext, spec: SearchSpec, wanted: str) -> tuple[Memory, ...]:
    """The memories of a search, those with the most configurations first.

    A memory is a study and a data set: its full trainings by the same trainer with the same metric, or where there are
    few of them those on its most used proxy. A data set that this study itself trains on is none: its trainings are
    evidence.

    Args:
        wanted: `auto`, `none`, or names of studies, separated by commas.

    Raises:
        NotFound: there is no such study.
        InvalidValue: a named study has nothing that could be a memory.
    """
    if wanted == NONE:
        return ()
    studies = None if wanted == AUTO else [name.strip() for name in wanted.split(",") if name.strip()]
    experiments = (
        None if studies is None else [study_experiment_id(context.client, name, option="memory") for name in studies]
    )
    of: dict[str, str] = {}

    def note(run: TrackedRun) -> None:
        of[run.id] = run.tags.get(names.STUDY, "")

    frame = trainings_of_trainer(context.client, spec.trainer.name, experiments, note)
    frame = frame.assign(study=frame["run_id"].map(of))
    own = (frame["study"] == context.writer.study) & (
        frame["dataset_fingerprint"] == context.dataset(spec.dataset).fingerprint
    )
    metric = spec.trainer.metric
    same = (frame["metric"] == metric.name) & (frame["goal"] == metric.goal) & (frame["share"] == metric.share)
    frame = frame[(frame["status"] == "finished") & same & ~own]
    found = [
        memory
        for (study, dataset), group in frame.groupby(["study", "dataset"], sort=True)
        if (memory := _memory(str(study), str(dataset), group, spec)) is not None
    ]
    if studies is not None:
        for name in studies:
            if not any(each.name.partition(" · ")[0] == name for each in found):
                rule = f"it has fewer than {FEWEST} configurations of trainer={spec.trainer.name} with {metric.name}"
                raise InvalidValue("memory", name, f"{rule} and with hyperparameters of this search; choose another")
    found.sort(key=lambda memory: -len(memory.values))
    if studies is not None:
        return tuple(found)
    kept = _of_earlier_runs(context, context.dataset(spec.dataset).fingerprint)
    return tuple(found[:MOST_MEMORIES] if kept is None else [each for each in found if each.name in kept])


def _of_earlier_runs(context: StudyContext, fingerprint: str) -> list[str] | None:
    """The memories that this search began with; None if it begins now."""
    experiment = [context.writer.experiment_id]
    runs = search(context.client, experiment, KIND="search", DATASET_FINGERPRINT=fingerprint)
    first = [run.tags[names.MEMORIES] for run in runs if names.MEMORIES in run.tags][-1:]
    found = json.loads(first[0]) if first else None
    return found if isinstance(found, list) else None


def _memory(study: str, dataset: str, group: pd.DataFrame, spec: SearchSpec) -> Memory | None:
    """What a study found on a data set; None where that is too little, or of other hyperparameters."""
    counts = group.groupby("strategy")["config_json"].nunique()
    if counts.empty:
        return None
    proxy = TARGET if counts.get(TARGET, 0) >= FEWEST else str(counts.idxmax())
    values = group[group["strategy"] == proxy].dropna(subset=["objective"]).groupby("config_json")["objective"].mean()
    # The best ones say the most of where the best of this search is.
    values = (spec.trainer.metric.sign * values).sort_values(ascending=False, kind="stable").head(MOST)
    configurations = [json.loads(text) for text in values.index if text]
    tuned = {parameter.name for parameter in spec.space.tunable}
    varied = {name for name in tuned if len({str(each.get(name)) for each in configurations}) > 1}
    if len(configurations) < FEWEST or not varied:
        return None
    name = f"{study} · {dataset}" + ("" if proxy == TARGET else f" · {proxy}")
    found = Memory(name, tuple(configurations), tuple(map(float, spec.trainer.metric.sign * values)))
    return found if len(found.within(spec.space).values) >= FEWEST else None
