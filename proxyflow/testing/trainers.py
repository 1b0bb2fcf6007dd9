"""What every trainer promises: it reports its metric after each epoch, repeats itself, and stops when asked to."""

from __future__ import annotations

import json
import math
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from proxyflow.data.catalog import DataOptions, load_dataset
from proxyflow.proxies import known_fidelities
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.space import Space
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import Subset, choose_subset
from proxyflow.testing.checks import Check, Contract, assert_same
from proxyflow.trainers.job import Checkpoint, Job, TrainingSpec
from proxyflow.trainers.model_access import NO_HOOKS, ModelAccess
from proxyflow.trainers.protocol import Resumable, Trainer
from proxyflow.trainers.results import EpochRecord, TrainingResult

if TYPE_CHECKING:
    import torch

EPOCHS = 3


@dataclass(frozen=True, eq=False)
class _Case:
    """A trainer with hyperparameters and data to try it on."""

    trainer: Trainer
    values: Mapping[str, Any]
    data: str

    @cached_property
    def configuration(self) -> Configuration:
        space = self.trainer.space if self.trainer.space is not None else Space.around([], self.values)
        return space.configuration(self.values)

    @cached_property
    def subset(self) -> Subset:
        dataset = load_dataset(self.data, DataOptions(), lambda text: None)
        return replace(choose_subset(dataset, parse_strategy("full"), 0), test=None)

    @cached_property
    def device(self) -> torch.device:
        from proxyflow.trainers.devices import pick_device  # imports torch

        return pick_device()

    def job(self, **changes: Any) -> Job:
        """Three epochs, or what `changes` say."""
        epochs, seed = changes.pop("epochs", EPOCHS), changes.pop("seed", 0)
        return Job(TrainingSpec(self.configuration, epochs, seed, self.trainer), self.subset, self.device, **changes)

    def train(self, **changes: Any) -> TrainingResult:
        return self.trainer.train(self.job(**changes)).result

    @cached_property
    def result(self) -> TrainingResult:
        return self.train()


contract = Contract[_Case]()


def trainer_checks(trainer: Trainer, configuration: Mapping[str, Any], data: str = "digits@100") -> tuple[Check, ...]:
    """Checks of a trainer; they train a few times for three epochs.

    Args:
        configuration: hyperparameters that it learns something with.
        data: the name of a small data set that it can train on.

    Example:
        >>> from proxyflow.trainers import ImageTrainer
        >>> checks = trainer_checks(ImageTrainer(image_size=8), {"arch": "xresnet10-w16", "batch_size": 16})
        >>> checks[0]()
    """
    return contract.checks(_Case(trainer, configuration, data))


@contract.promise
def it_says_what_it_is(case: _Case) -> None:
    trainer = case.trainer
    assert trainer.name.strip(), f"{type(trainer).__name__} has no name"
    assert "\n" not in trainer.description, "its description has several lines"
    known = known_fidelities()
    unknown = set(trainer.fidelities) - set(known)
    assert not unknown, f"its fidelities {sorted(unknown)} are none of {', '.join(known)}"


@contract.promise
def what_decides_its_results_is_json_and_stays_the_same(case: _Case) -> None:
    found, again = (case.trainer.identity(case.subset, None) for _ in range(2))
    assert found == again, f"its identity is {found}, and {again} when it is asked again"
    json.dumps({**found, **case.trainer.settings}, allow_nan=False)


@contract.promise
def it_may_go_to_another_process(case: _Case) -> None:
    again = pickle.loads(pickle.dumps(case.trainer))
    assert again == case.trainer, f"{case.trainer} is {again} after it was pickled; make it a frozen dataclass"


@contract.promise
def every_epoch_is_reported_with_the_metric(case: _Case) -> None:
    reported: list[EpochRecord] = []
    result = case.train(on_epoch=reported.append)
    epochs, name = [record.epoch for record in reported], case.trainer.metric.name
    assert epochs == list(range(1, EPOCHS + 1)), f"it reported the epochs {epochs} of {EPOCHS}"
    assert all(name in record.values for record in reported), f"an epoch was reported without {name}"
    assert tuple(reported) == tuple(result.records), "the records of its result are not what it reported"
    assert math.isfinite(result.objective), f"the result of the training is {result.objective}"
    assert result.train_seconds > 0, "its train_seconds are not counted"


@contract.promise
def the_same_seed_gives_the_same_result(case: _Case) -> None:
    assert case.train().objective == case.result.objective, "the same training gave another result"


@contract.promise
def fewer_epochs_are_a_training_of_their_own(case: _Case) -> None:
    shorter = case.train(epochs=1)
    assert len(shorter.records) == 1, f"a training of one epoch has {len(shorter.records)}"


@contract.promise
def it_stops_early_where_it_is_asked_to(case: _Case) -> None:
    stopped = case.train(on_epoch=lambda record: record.epoch == 2)
    assert len(stopped.records) == 2, f"it was asked to stop after epoch 2 and trained for {len(stopped.records)}"


@contract.promise
def it_leaves_its_data_as_they_were(case: _Case) -> None:
    before = case.subset.train.labels.copy(), case.subset.fingerprint
    case.train(epochs=1)
    assert_same(case.subset.train.labels, before[0], "labels after a training")
    assert case.subset.fingerprint == before[1], "it changed the subset"


@contract.promise
def a_resumed_training_is_an_uninterrupted_one(case: _Case) -> None:
    if not (isinstance(case.trainer, Resumable) and case.trainer.resumes):
        return
    kept: list[Checkpoint] = []
    with tempfile.TemporaryDirectory(prefix="proxyflow-") as folder:

        def keep(checkpoint: Checkpoint) -> None:
            if not kept:
                checkpoint.save(Path(folder))
                kept.append(checkpoint)

        case.train(on_checkpoint=keep)
        resumed = case.train(start=case.trainer.load_checkpoint(Path(folder)))
    assert [record.epoch for record in resumed.records] == list(range(1, EPOCHS + 1)), "epochs are missing"
    assert resumed.objective == case.result.objective, "a resumed training gave another result"


@contract.promise
def scores_can_be_taken_from_its_models(case: _Case) -> None:
    if not isinstance(case.trainer, ModelAccess):
        return
    subset, n_classes = case.subset, len(case.subset.classes)
    trained = case.trainer.train_with_hooks(case.job(epochs=1), NO_HOOKS)
    assert trained.model is not None, "it gives no model"
    found = case.trainer.predictor(subset, subset.train, case.device)(trained.model, keep_embeddings=True)
    assert found.logits.shape == (len(subset.train), n_classes), f"logits have the shape {found.logits.shape}"
    assert found.embeddings is not None, "it gives no embeddings"
    assert len(found.embeddings) == len(subset.train), f"there are embeddings of {len(found.embeddings)} examples"
    assert np.isfinite(found.logits).all(), "some logits are not finite"
    flops = case.trainer.flops_per_example(case.configuration, n_classes, subset.preprocessing)
    assert flops > 0, f"an example takes {flops} FLOPs"
