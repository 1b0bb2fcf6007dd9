"""Resolves what trainings depend on (scores, subsets, synthetic images): one search, then makes what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from proxyflow.core.errors import UserError, one_line
from proxyflow.data.catalog import Dataset
from proxyflow.distillation.spec import DistillationSpec, spec_for
from proxyflow.proxies import data_of
from proxyflow.scores.table import ExampleScores
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.spaces.grids import Grid
from proxyflow.strategies import Strategy
from proxyflow.studies import distillations as distillation_runs
from proxyflow.studies import scores as score_runs
from proxyflow.studies import subsets as subset_runs
from proxyflow.studies.context import StudyContext
from proxyflow.studies.keys import key_of_distillation, key_of_training
from proxyflow.studies.plan import AUTO, LATEST, PlannedTraining, StudySpec, subset_key
from proxyflow.studies.support import Unsupported, UnsupportedPair
from proxyflow.studies.tasks import SubsetRef, Task
from proxyflow.tracking import names
from proxyflow.tracking.queries.reader import get_run, search
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.trainers.job import TrainingSpec
from proxyflow.trainers.model_access import ModelAccess, NoModelAccess, model_access
from proxyflow.trainers.protocol import Trainer

SubsetId = tuple[str, str, int]


def subset_id(training: PlannedTraining) -> SubsetId:
    """Identifies the subset of a training; the seed is part of it only if the strategy depends on the seed."""
    strategy = training.strategy.subset_strategy
    return training.dataset, strategy.canonical, training.spec.seed if strategy.depends_on_seed else 0


def subsets_of(planned: Iterable[PlannedTraining]) -> dict[SubsetId, PlannedTraining]:
    """Maps the subsets that trainings need to one training each."""
    needed: dict[SubsetId, PlannedTraining] = {}
    for training in planned:
        needed.setdefault(subset_id(training), training)
    return needed


def scoring_spec(trainer: Trainer, grid: Grid, epochs: int, strategies: Iterable[Strategy]) -> ScoringSpec:
    """The scoring of examples for trainings over a grid: once for all seeds, with seed 0.

    Raises:
        NoModelAccess: the trainer cannot score examples.
    """
    configuration = model_access(trainer, "scoring examples").scoring_configuration(grid)
    return score_runs.spec_for(TrainingSpec(configuration, epochs, 0, trainer), *strategies)


def distillation_of(training: PlannedTraining) -> DistillationSpec:
    """The distillation that makes a training's synthetic images."""
    return spec_for(training.strategy.data, training.spec.trainer)


class Dependencies:
    """The scores and subsets that trainings need.

    Args:
        scoring: returns how to score examples; called only if a strategy needs scores.
        scores: the scores to use: a score run's id, `latest` (the newest score run with what the strategies need, or
            else one that `scoring` makes), or `auto` for those of `scoring`; where the trainer gives no access to
            its models, `auto` is `latest`.

    Attributes:
        score_runs: data set name to id of its score run; without data sets that have none yet.
    """

    def __init__(
        self,
        context: StudyContext,
        datasets: Iterable[str],
        strategies: Sequence[Strategy],
        scoring: Callable[[], ScoringSpec],
        scores: str = AUTO,
    ) -> None:
        self.context, self.scores = context, scores
        self.needs = frozenset[str]().union(*(strategy.needs for strategy in strategies))
        self.scores_needed = any(strategy.needs_scores for strategy in strategies)
        self.score_runs: dict[str, str] = {}
        self._scoring = scoring
        self._subsets: dict[str, SubsetRef] = {}
        for name in datasets:
            dataset = context.dataset(name)
            if self.scores_needed and (found := self._find_scores(dataset)) is not None:
                self.score_runs[name] = found.id
            kinds: list[names.Kind] = ["subset"]
            kinds += ["distillation"] if any(strategy.synthetic for strategy in strategies) else []
            for kind in kinds:
                for run in search(context.client, KIND=kind, DATASET_FINGERPRINT=dataset.fingerprint):
                    if run.finished and names.RUN_KEY in run.tags:
                        self._subsets.setdefault(run.tags[names.RUN_KEY], subset_runs.subset_ref(run))

    @staticmethod
    def of(context: StudyContext, spec: StudySpec) -> Dependencies:
        """The dependencies of a study."""
        return Dependencies(
            context,
            spec.datasets,
            data_of(spec.strategies),
            lambda: scoring_spec(spec.trainer, spec.grid, spec.epochs, data_of(spec.strategies)),
            LATEST if spec.scores == AUTO and not isinstance(spec.trainer, ModelAccess) else spec.scores,
        )

    @cached_property
    def scoring(self) -> ScoringSpec:
        """How to score examples of data sets without scores."""
        return self._scoring()

    def _find_scores(self, dataset: Dataset) -> TrackedRun | None:
        if self.scores == AUTO:
            return score_runs.find_scores(self.context, dataset, self.scoring)
        return score_runs.named_scores(self.context, dataset, self.scores, self.needs)

    def _ensure_scores(self, dataset: Dataset, parent_id: str | None) -> ExampleScores:
        if dataset.name in self.score_runs:
            run = get_run(self.context.client, self.score_runs[dataset.name], "score", "scores")
            return score_runs.load_scores(self.context, run, self.needs)
        return score_runs.ensure_scores(self.context, dataset, self.scoring, self.needs, parent_id)

    def find(self, training: PlannedTraining) -> SubsetRef | None:
        """The training's subset; None if it is not on the server."""
        strategy, score_run = training.strategy.subset_strategy, ""
        dataset = self.context.dataset(training.dataset)
        if strategy.synthetic:
            return self._subsets.get(key_of_distillation(dataset, distillation_of(training)))
        if strategy.needs_scores:
            if training.dataset not in self.score_runs:
                return None
            score_run = self.score_runs[training.dataset]
        return self._subsets.get(subset_key(dataset.fingerprint, strategy, training.spec.seed, score_run))

    def check(self, needed: Iterable[PlannedTraining]) -> None:
        """Checks that all missing scores and synthetic images can be made, before any run starts.

        Raises:
            Unsupported: names all images that cannot, for lack of memory or because of their method.
            NoScores: there are no scores, and the trainer gives no access to a model that could make them.
        """
        found, needed = [], list(needed)
        for training in needed:
            if training.strategy.subset_strategy.needs_scores and training.dataset not in self.score_runs:
                self._check_scoring(training.dataset)
        for training in needed:
            if training.strategy.data.synthetic and self.find(training) is None:
                dataset = self.context.dataset(training.dataset)
                try:
                    distillation_runs.check_distillation(self.context, dataset, distillation_of(training))
                except UserError as error:
                    found.append(UnsupportedPair(training.dataset, training.strategy, one_line(error)))
        if found:
            raise Unsupported(found)

    def _check_scoring(self, dataset: str) -> None:
        try:
            _ = self.scoring
        except NoModelAccess as error:
            reason = f"trainer={error.trainer} gives no access to its models, which scoring examples needs"
            raise score_runs.NoScores(dataset, self.needs, reason) from None

    def ensure(self, training: PlannedTraining, parent_id: str | None = None) -> SubsetRef:
        """Finds the training's subset, or makes it, with its scores first."""
        found = self.find(training)
        if found is not None:
            return found
        dataset, strategy, scores = self.context.dataset(training.dataset), training.strategy.subset_strategy, None
        if strategy.synthetic:
            spec = distillation_of(training)
            subset, run_id = distillation_runs.ensure_distillation(self.context, dataset, spec, parent_id)
            return SubsetRef(run_id, subset.fingerprint, "", spec.seed)
        if strategy.needs_scores:
            scores = self._ensure_scores(dataset, parent_id)
            self.score_runs[training.dataset] = scores.run_id
            found = self.find(training)
            if found is not None:
                return found
        return subset_runs.ensure_subset(self.context, dataset, strategy, training.spec.seed, scores, parent_id)

    def task(self, training: PlannedTraining, reference: SubsetRef) -> Task:
        """The task of a training, with its subset and key."""
        dataset = self.context.dataset(training.dataset)
        return Task(training, reference, key_of_training(self.context, training, dataset, reference.fingerprint))
