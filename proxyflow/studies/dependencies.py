"""What trainings depend on (scores, subsets, synthetic images): found on the server in one look, made where missing."""

from __future__ import annotations

from collections.abc import Iterable

from proxyflow.distillation.spec import DistillationSpec
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.studies import distillations as distillation_runs
from proxyflow.studies import scores as score_runs
from proxyflow.studies import subsets as subset_runs
from proxyflow.studies.keys import key_of_distillation, key_of_training
from proxyflow.studies.lab import Lab
from proxyflow.studies.plan import PlannedTraining, StudySpec, subset_key
from proxyflow.studies.tasks import SubsetRef, Task
from proxyflow.tracking import names
from proxyflow.tracking.found import FoundRun
from proxyflow.tracking.reader import search
from proxyflow.training.engine import TrainingSpec

SubsetId = tuple[str, str, int]


def subset_id(training: PlannedTraining) -> SubsetId:
    """Which subset a training needs; the seed counts only where it can change the choice."""
    strategy = training.strategy.data_strategy
    return training.dataset, strategy.canonical, training.seed if strategy.depends_on_seed else 0


def subsets_of(planned: Iterable[PlannedTraining]) -> dict[SubsetId, PlannedTraining]:
    """The subsets that trainings need, each with one training that needs it."""
    needed: dict[SubsetId, PlannedTraining] = {}
    for training in planned:
        needed.setdefault(subset_id(training), training)
    return needed


def scoring_spec(spec: StudySpec) -> ScoringSpec:
    """How a study scores its examples: once, with the seed 0, whatever the seeds of its trainings."""
    training = TrainingSpec(spec.scoring_configuration, spec.scoring, 0, spec.engine)
    return score_runs.spec_for(training, *spec.strategies)


def distillation_of(training: PlannedTraining) -> DistillationSpec:
    """What makes the synthetic images of a training: once for all seeds, at the size that it trains at."""
    return distillation_runs.spec_for(training.strategy, training.settings.image_size)


def _reference(run: FoundRun) -> SubsetRef:
    tags = run.tags
    fingerprint, score_run = tags.get(names.SUBSET_FINGERPRINT, ""), tags.get(names.SCORE_RUN, "")
    return SubsetRef(run.id, fingerprint, score_run, int(tags.get(names.SEED, 0)))


class Dependencies:
    """The scores and subsets of one study.

    Attributes:
        score_runs: by data set, the score run that holds what the study scores; absent where there is none yet.
    """

    def __init__(self, lab: Lab, spec: StudySpec) -> None:
        self.lab = lab
        self.scoring = scoring_spec(spec)
        self.needs = frozenset[str]().union(*(strategy.needs for strategy in spec.strategies))
        self.scores_needed = any(strategy.needs_scores for strategy in spec.strategies)
        self.score_runs: dict[str, str] = {}
        self._subsets: dict[str, SubsetRef] = {}
        for name in spec.datasets:
            dataset = lab.dataset(name)
            if self.scores_needed and (found := score_runs.find_scores(lab, dataset, self.scoring)) is not None:
                self.score_runs[name] = found.id
            kinds: list[names.Kind] = ["subset"]
            kinds += ["distillation"] if any(strategy.synthetic for strategy in spec.strategies) else []
            for kind in kinds:
                for run in search(lab.client, KIND=kind, DATASET_FINGERPRINT=dataset.fingerprint):
                    if run.finished and names.RUN_KEY in run.tags:
                        self._subsets.setdefault(run.tags[names.RUN_KEY], _reference(run))

    def find(self, training: PlannedTraining) -> SubsetRef | None:
        """The training's subset, None where it is not on the server."""
        strategy, score_run = training.strategy.data_strategy, ""
        dataset = self.lab.dataset(training.dataset)
        if strategy.synthetic:
            return self._subsets.get(key_of_distillation(dataset, distillation_of(training)))
        if strategy.needs_scores:
            if training.dataset not in self.score_runs:
                return None
            score_run = self.score_runs[training.dataset]
        return self._subsets.get(subset_key(dataset.fingerprint, strategy, training.seed, score_run))

    def check(self, needed: Iterable[PlannedTraining]) -> None:
        """Refuses what could not be made, before anything is.

        Raises:
            UserError: memory does not suffice for synthetic images that are missing.
        """
        for training in needed:
            if training.strategy.synthetic and self.find(training) is None:
                dataset = self.lab.dataset(training.dataset)
                distillation_runs.check_distillation(self.lab, dataset, distillation_of(training))

    def ensure(self, training: PlannedTraining, parent_id: str) -> SubsetRef:
        """The training's subset, made where it is missing, and the scores before it."""
        found = self.find(training)
        if found is not None:
            return found
        dataset, strategy, scores = self.lab.dataset(training.dataset), training.strategy.data_strategy, None
        if strategy.synthetic:
            spec = distillation_of(training)
            subset, run_id = distillation_runs.ensure_distillation(self.lab, dataset, spec, parent_id)
            return SubsetRef(run_id, subset.fingerprint, "", spec.seed)
        if strategy.needs_scores:
            scores = score_runs.ensure_scores(self.lab, dataset, self.scoring, self.needs, parent_id)
            self.score_runs[training.dataset] = scores.run_id
            found = self.find(training)
            if found is not None:
                return found
        subset, run_id = subset_runs.ensure_subset(self.lab, dataset, strategy, training.seed, scores, parent_id)
        return SubsetRef(run_id, subset.fingerprint, subset.score_run, training.seed)

    def task(self, training: PlannedTraining, reference: SubsetRef) -> Task:
        """The training with its subset and key."""
        dataset = self.lab.dataset(training.dataset)
        key = key_of_training(
            self.lab, training, dataset.fingerprint, reference.fingerprint, dataset.image_size, dataset.crop
        )
        return Task(training, reference, key)
