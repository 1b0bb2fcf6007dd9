"""Plans a study as values: its trainings, their order and their keys. Needs neither torch nor a server."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from proxyflow.core.errors import InvalidValue
from proxyflow.core.files import digest
from proxyflow.data.catalog import Dataset
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.proxies import Proxy, known_fidelities
from proxyflow.scores import AT_EPOCH
from proxyflow.scores.table import CONFUSION, need_folds
from proxyflow.scoring.spec import ScoringSpec, fold_problem
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.grids import Grid
from proxyflow.strategies import ExamplePool, Strategy
from proxyflow.trainers.job import TrainingSpec
from proxyflow.trainers.protocol import Trainer

# Part of every key: increase it if a change of code changes the results of equal settings.
KEY_VERSION = 7

# Folds of a study's scoring, if a strategy needs a held-out score.
HOLDOUT_FOLDS = 5

# Which scores strategies use, unless they are named: those of the study's own model, or the newest.
AUTO, LATEST = "auto", "latest"

# Proxies that cost at most this share of the target run together with it.
CHEAP = 0.25

# A validation example costs a forward pass, a training example about three times that.
VALIDATION_WORK = 1 / 3


def folds_for(*strategies: Strategy) -> int:
    """Folds of the scoring that strategies need; 0 if none needs a held-out score."""
    return HOLDOUT_FOLDS if any(need_folds(strategy.needs) for strategy in strategies) else 0


def epochs_for(*strategies: Strategy) -> frozenset[int]:
    """Epochs after which the scoring model is evaluated because strategies name them (`by=el2n_epoch_5`)."""
    matches = (AT_EPOCH.fullmatch(need) for strategy in strategies for need in strategy.needs)
    return frozenset(int(match["epoch"]) for match in matches if match)


def check_epochs(strategies: Iterable[Proxy], scoring_epochs: int, full_epochs: int | None = None) -> None:
    """Checks proxies against the numbers of epochs.

    Args:
        scoring_epochs: epochs of the scoring model; a strategy cannot rank by the scores of a later epoch.
        full_epochs: epochs of the target; None outside of a study.

    Raises:
        InvalidValue: names all strategies that do not fit.
    """
    found: dict[str, str] = {}
    for strategy in strategies:
        late = sorted(epoch for epoch in epochs_for(strategy.data) if epoch > scoring_epochs)
        if late:
            rule = f"it ranks by epoch {late[0]}, but the scoring model trains for {scoring_epochs} epochs"
            found[strategy.canonical] = rule
        elif full_epochs is not None and (reason := strategy.too_long(full_epochs)):
            found[strategy.canonical] = reason
    if len(found) == 1:
        ((strategy_text, reason),) = found.items()
        raise InvalidValue("strategy", strategy_text, reason)
    if found:
        raise InvalidValue("strategies", " ".join(found), "; ".join(f"{name}: {why}" for name, why in found.items()))


def check_reductions(strategies: Iterable[Proxy], trainer: Trainer) -> None:
    """Checks that a trainer supports what proxies reduce.

    Raises:
        InvalidValue: it does not; the message lists what it supports.
    """
    for strategy in strategies:
        lacking = sorted(strategy.reduces - trainer.fidelities)
        if lacking:
            supported = ", ".join(each for each in known_fidelities() if each in trainer.fidelities)
            rule = f"trainer={trainer.name} cannot reduce {', '.join(lacking)}; it can reduce {supported}"
            hint = f" ({trainer.fidelities_from})" if trainer.fidelities_from else ""
            raise InvalidValue("strategy", strategy.canonical, rule + hint)


@dataclass(frozen=True)
class StudySpec:
    """A study: every strategy on every data set under every configuration and seed.

    Attributes:
        trainer: the trainer, with settings that all trainings share.
        epochs: epochs of the target, and of the model that scores examples.
        scores: the score run that strategies use: its id, `latest`, or `auto`, see `Dependencies`.
    """

    datasets: tuple[str, ...]
    strategies: tuple[Proxy, ...]
    grid: Grid
    trainer: Trainer
    epochs: int
    seeds: tuple[int, ...]
    scores: str = AUTO

    def __post_init__(self) -> None:
        check_reductions(self.strategies, self.trainer)
        check_epochs(self.strategies, self.epochs, self.epochs)


@dataclass(frozen=True)
class PlannedTraining:
    """One training of a study.

    Attributes:
        dataset: the data set.
        spec: what is trained.
        reason: why a search trains it; no part of what it is.
    """

    dataset: str
    spec: TrainingSpec
    reason: str = field(default="", compare=False)

    @property
    def strategy(self) -> Proxy:
        """How the training is made cheaper, as users name it."""
        return self.spec.proxy

    @property
    def title(self) -> str:
        """The run's name in the MLflow UI."""
        return f"{self.dataset} · {self.strategy.canonical} · {self.spec.configuration.name}"


def training_spec(
    configuration: Configuration, full_epochs: int, seed: int, trainer: Trainer, proxy: Proxy
) -> TrainingSpec:
    """The training of a configuration on a proxy of a target that trains `full_epochs` with `trainer`."""
    return TrainingSpec(configuration, proxy.epochs(full_epochs), seed, trainer.at(proxy), proxy)


def plan_trainings(spec: StudySpec) -> Iterator[PlannedTraining]:
    """The study's trainings, target and proxies of a configuration together, so a stopped study has whole pairs."""
    target_first = sorted(spec.strategies, key=lambda strategy: not strategy.is_target)
    for seed in spec.seeds:
        for configuration in spec.grid:
            for dataset in spec.datasets:
                for strategy in target_first:
                    yield PlannedTraining(
                        dataset, training_spec(configuration, spec.epochs, seed, spec.trainer, strategy)
                    )


def order_trainings(
    planned: Sequence[PlannedTraining], work: Callable[[PlannedTraining], float]
) -> list[PlannedTraining]:
    """Orders trainings so that a stopped study has the most to report.

    For each seed, the targets with their cheap proxies come first, configuration by configuration; then the expensive
    proxies, one strategy after the other, cheapest first.

    Args:
        work: returns the work of a training, in any unit.
    """
    total: Counter[Proxy] = Counter()
    for training in planned:
        total[training.strategy] += work(training)  # type: ignore[assignment]
    target = sum(value for strategy, value in total.items() if strategy.is_target) or max(total.values())
    seeds = {seed: number for number, seed in enumerate(dict.fromkeys(each.spec.seed for each in planned))}

    def place(training: PlannedTraining) -> tuple[int, float, str]:
        share = total[training.strategy] / target
        early = training.strategy.is_target or share <= CHEAP
        return (
            (seeds[training.spec.seed], 0.0, "")
            if early
            else (seeds[training.spec.seed], share, training.strategy.canonical)
        )

    return sorted(planned, key=place)


def training_key(
    planned: PlannedTraining, dataset_fingerprint: str, subset_fingerprint: str, identity: Mapping[str, Any]
) -> str:
    """SHA-256 of everything that determines a training's result.

    Args:
        dataset_fingerprint: content of the full data set, whose statistics normalise the inputs.
        subset_fingerprint: content of the training and validation examples.
        identity: see `Trainer.identity`.
    """
    return digest(
        {
            "kind": "training",
            "version": KEY_VERSION,
            "dataset": dataset_fingerprint,
            "subset": subset_fingerprint,
            "strategy": planned.strategy.canonical,
            **_trained(planned.spec, identity),
        }
    )


def _trained(spec: TrainingSpec, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a key that describes a training."""
    return {
        "trainer": spec.trainer.name,
        "identity": dict(identity),
        "configuration": {name: _as_number(value) for name, value in spec.trainer.keyed(spec.configuration).items()},
        "epochs": spec.epochs,
        "seed": spec.seed,
    }


def _as_number(value: Any) -> Any:
    """A value in a key, in which 1 and 1.0 are the same hyperparameter: files and programs write either."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def subset_key(dataset_fingerprint: str, strategy: Strategy, seed: int, score_run: str) -> str:
    """SHA-256 of everything that determines a subset; includes the seed only if the strategy depends on it.

    Raises:
        InvalidValue: a file that the strategy names, whose content is part of the key, is missing.
    """
    return digest(
        {
            "kind": "subset",
            "version": KEY_VERSION,
            "dataset": dataset_fingerprint,
            "strategy": strategy.canonical,
            "seed": seed if strategy.depends_on_seed else None,
            "score_run": score_run,
            **({"inputs": inputs} if (inputs := strategy.inputs()) else {}),
        }
    )


def distillation_key(dataset_fingerprint: str, spec: DistillationSpec, image_size: int, side: int | None = None) -> str:
    """SHA-256 of everything that determines synthetic images.

    Args:
        image_size: size of the data set's images in training, used if the spec has none.
        side: stored size of large images that were reduced; None if they were not.
    """
    described = spec.to_dict(image_size) | ({} if side is None else {"stored_side": side})
    return digest({"kind": "distillation", "version": KEY_VERSION, "dataset": dataset_fingerprint, **described})


def score_key(dataset_fingerprint: str, scoring: ScoringSpec, identity: Mapping[str, Any]) -> str:
    """SHA-256 of everything that determines a score table; for `identity` see `training_key`."""
    execution = {"repeats": scoring.repeats, "holdout_folds": scoring.holdout_folds, "early": scoring.early}
    described = {**_trained(scoring.training, identity), **execution}
    return digest({"kind": "score", "version": KEY_VERSION, "dataset": dataset_fingerprint, **described})


def pool_without_scores(dataset: Dataset) -> ExamplePool:
    """The inputs of a strategy that are available without a trained model."""
    train = dataset.train
    classes = np.arange(len(dataset.class_names))
    return ExamplePool(train.ids, train.labels, train.content_hashes, classes=classes)


def unsupported_reason(dataset: Dataset, strategy: Strategy, trains_scores: bool = True) -> str:
    """Why a data set does not support a choice of examples; empty if it does. Needs no scores.

    Args:
        trains_scores: whether missing scores would be made by models that are trained for it.
    """
    if reason := strategy.untrainable(pool_without_scores(dataset)):
        return reason
    folds = folds_for(strategy) if trains_scores else 0
    return fold_problem(folds, dataset.train) if folds else ""


def example_counts(dataset: Dataset, strategy: Strategy) -> tuple[int, int, int]:
    """Training examples, validation examples and classes of a subset, without needing its scores."""
    pool = pool_without_scores(dataset)
    # The number of selected examples does not depend on scores, except for classes of different sizes.
    if CONFUSION in strategy.needs:
        pool = dataclasses.replace(pool, confusion=np.eye(len(dataset.class_names)))
    classes = strategy.classes(pool)
    n_valid = int(np.isin(dataset.valid.labels, classes).sum())
    return strategy.size(pool), n_valid, len(classes)


def training_work(per_example: float, n_train: int, n_valid: int, epochs: int, batch_size: int = 1) -> float:
    """The work of a training with its validation, from which its time is estimated.

    Args:
        per_example: work of one training example, in any unit.
        batch_size: the last, incomplete batch of an epoch is left out.
    """
    batch = max(1, min(batch_size, n_train))
    return per_example * epochs * (n_train // batch * batch + VALIDATION_WORK * n_valid)
