"""What a study consists of, as values: which trainings, in which order, and the key of each. No torch, no server."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxyflow.data.catalog import Dataset
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.errors import InvalidValue
from proxyflow.files import digest
from proxyflow.scoring.measures import AT_EPOCH
from proxyflow.scoring.table import CONFUSION, EMBEDDINGS, need_folds
from proxyflow.strategies import Epochs, Full, Pool, Strategy
from proxyflow.training.grids import Grid
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings

# Part of every key: raised where a change of code changes what equal settings give.
KEY_VERSION = 5

# Folds that a study scores with where a strategy needs a held-out score.
HOLDOUT_FOLDS = 5

# A proxy that costs at most this share of the target is made along with it.
CHEAP = 0.25

# A validation example costs a forward pass, a training example about three times that.
VALIDATION_WORK = 1 / 3


def folds_for(*strategies: Strategy) -> int:
    """Folds of the scoring that strategies need, 0 where none ranks by a score that they give."""
    return HOLDOUT_FOLDS if any(need_folds(strategy.needs) for strategy in strategies) else 0


def epochs_for(*strategies: Strategy) -> frozenset[int]:
    """Epochs at which the scoring model must be looked at for strategies that name them (`by=el2n_epoch_5`)."""
    matches = (AT_EPOCH.fullmatch(need) for strategy in strategies for need in strategy.needs)
    return frozenset(int(match["epoch"]) for match in matches if match)


def check_epochs(strategies: Iterable[Strategy], epochs: int) -> None:
    """Refuses strategies that rank by an early score of an epoch that the scoring model does not reach."""
    for strategy in strategies:
        for epoch in sorted(epochs_for(strategy)):
            if epoch > epochs:
                raise InvalidValue(
                    "strategy",
                    strategy.canonical,
                    f"it ranks by epoch {epoch}, and the scoring model is trained for {epochs}",
                )


@dataclass(frozen=True)
class StudySpec:
    """A study: every strategy on every data set under every configuration and seed.

    Attributes:
        settings: what all trainings share; `settings.epochs` is the target's epoch count.
        scoring: settings of the scoring model's training, whose configuration is `scoring_configuration`.
    """

    datasets: tuple[str, ...]
    strategies: tuple[Strategy, ...]
    grid: Grid
    settings: TrainingSettings
    seeds: tuple[int, ...]
    engine: str
    scoring_configuration: Hyperparameters
    scoring: TrainingSettings

    def __post_init__(self) -> None:
        check_epochs(self.strategies, self.scoring.epochs)
        for strategy in self.strategies:
            if isinstance(strategy, Epochs) and strategy.count >= self.settings.epochs:
                raise InvalidValue(
                    "strategy",
                    strategy.canonical,
                    f"a proxy trains for fewer than the study's epochs={self.settings.epochs}",
                )


def common_configuration(grid: Grid) -> Hyperparameters:
    """The configuration that a study's scoring model has: the default, with the network that most of the grid has.

    So the scores come from a model like those that are compared, and cost no more than a training of it does. Of
    networks that are as common as each other it is the one that comes first.
    """
    (arch, _), *_ = Counter(configuration.arch for configuration in grid).most_common(1)
    return Hyperparameters(arch=arch)


@dataclass(frozen=True)
class PlannedTraining:
    """One training of a study."""

    dataset: str
    strategy: Strategy
    hyperparameters: Hyperparameters
    settings: TrainingSettings
    seed: int
    engine: str

    @property
    def title(self) -> str:
        """The run's name in the MLflow UI."""
        return f"{self.dataset} · {self.strategy.canonical} · {self.hyperparameters.name}"


def plan_trainings(spec: StudySpec) -> Iterator[PlannedTraining]:
    """The study's trainings, target and proxies of one configuration together.

    So a study that is cut short has whole pairs for the configurations that it got to.
    """
    target_first = sorted(spec.strategies, key=lambda strategy: not isinstance(strategy, Full))
    for seed in spec.seeds:
        for configuration in spec.grid:
            for dataset in spec.datasets:
                for strategy in target_first:
                    settings = spec.settings.replace(epochs=strategy.epochs(spec.settings.epochs))
                    yield PlannedTraining(dataset, strategy, configuration, settings, seed, spec.engine)


def in_order(planned: Sequence[PlannedTraining], work: Callable[[PlannedTraining], float]) -> list[PlannedTraining]:
    """The order in which a study that is cut short has the most to report.

    Of each seed first the targets with their cheap proxies, configuration by configuration; then the dear proxies,
    one strategy after the other, cheapest first.

    Args:
        work: of a training, in any unit.
    """
    total: Counter[Strategy] = Counter()
    for training in planned:
        total[training.strategy] += work(training)  # type: ignore[assignment]
    target = sum(value for strategy, value in total.items() if isinstance(strategy, Full)) or max(total.values())
    seeds = {seed: number for number, seed in enumerate(dict.fromkeys(each.seed for each in planned))}

    def place(training: PlannedTraining) -> tuple[int, float, str]:
        share = total[training.strategy] / target
        early = isinstance(training.strategy, Full) or share <= CHEAP
        return (seeds[training.seed], 0.0, "") if early else (seeds[training.seed], share, training.strategy.canonical)

    return sorted(planned, key=place)


def training_key(
    planned: PlannedTraining,
    dataset_fingerprint: str,
    subset_fingerprint: str,
    image_size: int,
    crop: str,
    precision: str,
) -> str:
    """SHA-256 of all that determines a training's result.

    Args:
        dataset_fingerprint: content of the full data set, whose statistics normalise the images.
        subset_fingerprint: content of what is trained on and judged by.
        image_size, crop, precision: what holds in this training, where the data set or `auto` decides it.
    """
    decided = {"image_size": image_size, "crop": crop, "precision": precision}
    settings = dataclasses.asdict(planned.settings) | decided
    return digest(
        {
            "kind": "training",
            "version": KEY_VERSION,
            "dataset": dataset_fingerprint,
            "subset": subset_fingerprint,
            "strategy": planned.strategy.canonical,
            "hyperparameters": dataclasses.asdict(planned.hyperparameters),
            "settings": settings,
            "seed": planned.seed,
            "engine": planned.engine,
        }
    )


def subset_key(dataset_fingerprint: str, strategy: Strategy, seed: int, score_run: str) -> str:
    """SHA-256 of all that determines a subset; the seed counts only where it can change the choice."""
    return digest(
        {
            "kind": "subset",
            "version": KEY_VERSION,
            "dataset": dataset_fingerprint,
            "strategy": strategy.canonical,
            "seed": seed if strategy.depends_on_seed else None,
            "score_run": score_run,
        }
    )


def distillation_key(dataset_fingerprint: str, spec: DistillationSpec, image_size: int) -> str:
    """SHA-256 of all that determines synthetic images.

    Args:
        image_size: at which the data set is trained on, where the spec has none of its own.
    """
    described = spec.described(image_size)
    return digest({"kind": "distillation", "version": KEY_VERSION, "dataset": dataset_fingerprint, **described})


def score_key(dataset_fingerprint: str, scoring: Any, image_size: int, crop: str, precision: str) -> str:
    """SHA-256 of all that determines a score table (`scoring` is a `ScoringSpec`)."""
    described = dataclasses.asdict(scoring)
    described["training"]["settings"] |= {"image_size": image_size, "crop": crop, "precision": precision}
    return digest({"kind": "score", "version": KEY_VERSION, "dataset": dataset_fingerprint, "scoring": described})


def example_counts(dataset: Dataset, strategy: Strategy) -> tuple[int, int, int]:
    """Training examples, validation examples and classes of a subset, without needing its scores."""
    train = dataset.train
    # How many are chosen does not depend on what the scores are, but for classes of different sizes.
    needs = strategy.needs
    scores = {name: np.zeros(len(train)) for name in needs - {EMBEDDINGS, CONFUSION}}
    all_classes = np.arange(len(dataset.class_names))
    embeddings = np.zeros((len(train), 1), dtype=np.float32) if EMBEDDINGS in needs else None
    confusion = np.eye(len(all_classes)) if CONFUSION in needs else None
    pool = Pool(train.example_ids, train.labels, train.content_hashes, scores, all_classes, embeddings, confusion)
    classes = strategy.classes(pool)
    n_valid = int(np.isin(dataset.valid.labels, classes).sum())
    return strategy.size(pool), n_valid, len(classes)


def training_work(flops_per_example: float, n_train: int, n_valid: int, settings: TrainingSettings) -> float:
    """Floating-point operations of a training with its validation, the measure that time is estimated by."""
    batch = min(settings.batch_size, n_train)
    pushed = n_train // batch * batch
    return flops_per_example * settings.epochs * (pushed + VALIDATION_WORK * n_valid)
