"""Checks whether tuning on proxies is safe, from a few configurations that are trained on them and on everything."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from proxyflow.core.errors import InvalidValue, TrainingFailed
from proxyflow.core.files import write_json
from proxyflow.proxies import TARGET, Proxy
from proxyflow.searching.knowledge import Knowledge
from proxyflow.searching.memory import Memory
from proxyflow.searching.safety import expected_loss, loss_seen
from proxyflow.searching.surrogate import Floats
from proxyflow.spaces.grids import Grid
from proxyflow.spaces.space import Space
from proxyflow.studies.checked import Checked, CheckedProxy
from proxyflow.studies.context import StudyContext, temporary_folder
from proxyflow.studies.dependencies import Dependencies
from proxyflow.studies.ladders import default_ladder
from proxyflow.studies.plan import StudySpec, check_epochs, check_reductions
from proxyflow.studies.presets import load_strategies
from proxyflow.studies.scheduler import ExecutionOptions
from proxyflow.studies.search_trials import Prices, SearchSpec, SearchTrials
from proxyflow.studies.study import run_study
from proxyflow.tracking import names
from proxyflow.tracking.ui.links import escape_markdown
from proxyflow.trainers import Trainer

REMEMBERED = 3  # of the configurations, those that memories take for the best
FILE = "check.json"


def asked_proxies(strategies: str, trainer: Trainer, epochs: int) -> tuple[Proxy, ...]:
    """The proxies that a check is asked about.

    Args:
        strategies: as text, see `load_strategies`; the target may be one of them.
        epochs: of the target.

    Raises:
        InvalidValue: there is none, or the trainer cannot train one of them.
    """
    proxies = tuple(proxy for proxy in load_strategies(strategies) if not proxy.is_target)
    if not proxies:
        raise InvalidValue("strategies", strategies, "name a proxy: full is what it is compared with")
    check_reductions(proxies, trainer)
    check_epochs(proxies, epochs, epochs)
    return proxies


def ladder_of(
    asked: tuple[Proxy, ...], trainer: Trainer, space: Space, epochs: int, alternatives: bool
) -> tuple[Proxy, ...]:
    """The rungs of a check: what it is asked about, with the rungs of a search as alternatives, and the target."""
    others = default_ladder(trainer, space, epochs)[:-1] if alternatives else ()
    return (*dict.fromkeys([*asked, *others]), TARGET)


def configurations_of(spec: SearchSpec, memories: tuple[Memory, ...], n: int) -> Grid:
    """What a check trains: the default, those that memories take for the best, and an even sample."""
    chosen = [spec.candidates[0]]
    if memories:
        believed = Knowledge(spec.plan(_steps_unknown(spec), memories), ()).mean
        chosen += [spec.candidates[place] for place in (-believed).argsort(kind="stable")[:REMEMBERED]]
    return tuple(dict.fromkeys([*chosen, *spec.candidates]))[:n]


def study_of(spec: SearchSpec, memories: tuple[Memory, ...], n: int) -> StudySpec:
    """The trainings of a check, see `configurations_of`."""
    return dataclasses.replace(spec.study, grid=configurations_of(spec, memories, n), seeds=(spec.seed,))


def _steps_unknown(spec: SearchSpec) -> list[float]:
    return [1.0] * len(spec.ladder)


def run_check(
    context: StudyContext,
    spec: SearchSpec,
    asked: tuple[Proxy, ...],
    n: int,
    execution: ExecutionOptions,
    memories: tuple[Memory, ...] = (),
) -> Checked:
    """Trains a few configurations on each proxy and on everything, and says what tuning on each would lose.

    Alternatives that cost more than every proxy that was asked about are trained only if nothing cheaper is safe.

    Args:
        spec: the ladder has the proxies, asked about or not; the candidates are what tuning would choose from.
        asked: the proxies that the user asks about.
        n: how many configurations to train.

    Raises:
        TrainingFailed: a training failed.
        Unsupported: the data set does not support a proxy.
    """
    for ladder in _stages(spec.ladder, asked, Prices(context, spec).table(spec.candidates).mean(axis=0)):
        checked = _checked(context, dataclasses.replace(spec, ladder=ladder), asked, n, execution, memories)
        if checked.cheapest_safe is not None:
            break
    _log(context, checked)
    return checked


def _stages(ladder: tuple[Proxy, ...], asked: tuple[Proxy, ...], costs: Floats) -> Iterable[tuple[Proxy, ...]]:
    """What is asked about with what costs no more, then everything."""
    most = max(cost for proxy, cost in zip(ladder, costs, strict=True) if proxy in asked)
    first = tuple(p for p, cost in zip(ladder, costs, strict=True) if cost <= most or p in asked or p.is_target)
    return dict.fromkeys([first, ladder])


def _checked(
    context: StudyContext,
    spec: SearchSpec,
    asked: tuple[Proxy, ...],
    n: int,
    execution: ExecutionOptions,
    memories: tuple[Memory, ...],
) -> Checked:
    """Trains what of the ladder is not trained yet, and estimates what each proxy of it loses."""
    study = study_of(spec, memories, n)
    outcome = run_study(context, study, execution)
    if outcome.stopped:
        done = f"{outcome.found + outcome.made} of {outcome.planned} trainings"
        raise TrainingFailed(f"the check was stopped after {done}: {outcome.stopped}; run the same command to go on")
    prices = Prices(context, spec)
    trials = SearchTrials(context, spec, Dependencies.of(context, study), prices)
    trials.refresh()
    knowledge = Knowledge(spec.plan(prices.steps.tolist(), memories), trials.observations)
    # The study may have more, of an earlier check or a search, from which the model learns as well.
    trained = set(study.grid)
    own = tuple(o for o in trials.observations if o.trial.seed == 0 and o.trial.configuration in trained)
    cost, seconds = prices.table(spec.candidates).mean(axis=0), _seconds_of(trials)
    found = [
        CheckedProxy(
            proxy,
            float(cost[rung]),
            seconds[rung] / seconds[-1] if seconds[-1] > 0 else math.nan,
            expected_loss(knowledge, rung),
            loss_seen(dataclasses.replace(knowledge, observations=own), rung),
            sum(each.unranked and each.trial.rung == rung for each in own),
        )
        for rung, proxy in enumerate(spec.ladder)
    ]
    ordered = sorted(found[:-1], key=lambda each: each.cost)
    assert spec.tolerance is not None
    tolerance = knowledge.tolerated(spec.tolerance)
    return Checked(spec, asked, len(study.grid), (*ordered, found[-1]), tolerance)


def _seconds_of(trials: SearchTrials) -> list[float]:
    """Mean seconds of a training by rung; nan where they were not measured."""
    found: list[list[float]] = [[] for _ in trials.spec.ladder]
    for each, run_id in zip(trials.observations, trials.run_ids, strict=True):
        found[each.trial.rung].append(trials.bills[run_id].seconds)
    return [fmean(each) if each else math.nan for each in found]


def _known(value: Any) -> Any:
    """A value as JSON has it, which knows no nan."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _log(context: StudyContext, checked: Checked) -> None:
    described = " ".join(escape_markdown(sentence) for sentence in checked.sentences)
    tags = {
        names.DATASET: checked.spec.dataset,
        names.DATASET_FINGERPRINT: context.dataset(checked.spec.dataset).fingerprint,
    }
    with context.writer.open("report", f"check {context.writer.study}", described, tags) as run:
        run.log_metrics(
            {
                names.quality_metric_name("expected_loss", each.proxy.canonical): each.loss.value
                for each in checked.proxies
            }
        )
        with temporary_folder() as folder:
            limits = {"unit": checked.objective.unit, "tolerance": checked.tolerance}
            rows = [{key: _known(value) for key, value in row.items()} for row in checked.table]
            written = {"proxies": rows, **limits, "verdict": checked.sentences}
            write_json(Path(folder) / FILE, written)
            run.log_folder(folder, names.REPORT)
