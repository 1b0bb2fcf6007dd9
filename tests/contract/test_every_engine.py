"""Every engine trains the same way: same seed same result, true precision, divergence a result."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from image_training import CPU, few_digits, losses, spec_of, train, untimed
from made_up import noise_dataset

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.data.images.store import ImageSet
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import Subset, choose_subset
from proxyflow.trainers import EpochRecord
from proxyflow.trainers.images import session as sessions
from proxyflow.trainers.images.engine import engines
from proxyflow.trainers.job import Checkpoint
from proxyflow.trainers.model_access import Hooks


@pytest.fixture(params=list(engines))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def digits() -> Subset:
    return few_digits()


def test_same_seed_same_result_whatever_came_before(engine: str, digits: Subset) -> None:
    first = train(digits, spec_of(engine=engine))
    torch.rand(1000)
    np.random.default_rng().random(10)
    second = train(digits, spec_of(engine=engine))
    assert untimed(first.result) == untimed(second.result)
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    other = train(digits, spec_of(engine=engine, seed=1))
    assert losses(first.result) != losses(other.result)


def test_training_leaves_the_global_generator_alone(engine: str, digits: Subset) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(digits, spec_of(1, engine=engine))
    assert torch.equal(torch.rand(3), expected)


def test_a_training_leaves_nothing_behind(engine: str, digits: Subset) -> None:
    gc.collect()
    gc.disable()
    try:
        trained = train(digits, spec_of(1, engine=engine))
        model = weakref.ref(trained.model)
        del trained
        assert model() is None, "a study would fill the memory with models that only the collector frees"
    finally:
        gc.enable()


def test_costs_are_counted(engine: str, digits: Subset) -> None:
    seen: list[EpochRecord] = []
    result = train(digits, spec_of(engine=engine), on_epoch=seen.append).result
    assert tuple(seen) == result.records
    # 130 examples in batches of 32: the rest of 2 is left out of each epoch.
    assert result.examples_seen == 2 * 128
    assert result.train_seconds == pytest.approx(sum(record.values["epoch_seconds"] for record in result.records))
    assert 0 < result.valid_seconds < result.train_seconds
    assert result.steps == 2 * 4
    assert result.examples_per_second == pytest.approx(result.examples_seen / result.train_seconds)
    assert result.train_flops > 0
    assert result.setup_seconds > 0


def test_whoever_listens_can_stop_a_training(engine: str, digits: Subset) -> None:
    whole = train(digits, spec_of(3, engine=engine)).result
    seen: list[int] = []

    def stop_after_2(record: EpochRecord) -> bool:
        seen.append(record.epoch)
        return record.epoch == 2

    checkpoints: list[Checkpoint] = []
    keep = checkpoints.append if engines[engine].resumes else None
    trained = train(digits, spec_of(3, engine=engine), on_epoch=stop_after_2, on_checkpoint=keep)
    assert seen == [1, 2]
    assert untimed(trained.result) == untimed(whole)[:2]
    assert not trained.result.diverged
    assert (trained.result.steps, trained.result.examples_seen) == (2 * 4, 2 * 128)
    # What was stopped can go on.
    if keep is not None:
        resumed = train(digits, spec_of(3, engine=engine), start=checkpoints[-1])
        assert untimed(resumed.result) == untimed(whole)


def test_seconds_of_validation_are_counted_apart(engine: str, digits: Subset, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0

    class Slow(torch.nn.Module):
        """Takes a second for a step and a hundred for a validation batch."""

        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal clock
            clock += 1 if self.training else 100
            return self.model(x)  # type: ignore[no-any-return]

    real = sessions.build_model
    monkeypatch.setattr(sessions, "build_model", lambda *given, **options: Slow(real(*given, **options)))
    monkeypatch.setattr(sessions, "time", SimpleNamespace(perf_counter=lambda: clock))
    result = train(digits, spec_of(engine=engine)).result
    # In each of two epochs 4 steps, and 500 examples in batches of 256.
    assert result.train_seconds == 2 * (4 + 200)
    assert result.valid_seconds == 2 * 200
    assert [record.values["epoch_seconds"] for record in result.records] == [204, 204]


def test_best_epoch_and_its_weights(engine: str, digits: Subset) -> None:
    spec = spec_of(4, engine=engine, learning_rate=0.02)
    trained = train(digits, spec, keep_best_weights=True)
    accuracies = [record.values["valid_accuracy"] for record in trained.result.records]
    assert trained.result.curve == accuracies
    assert trained.result.objective == trained.result.best == max(accuracies)
    assert trained.result.best_epoch == accuracies.index(max(accuracies)) + 1
    assert trained.result.final == accuracies[-1]
    trained.model.load_state_dict(trained.best_weights)
    predict = spec.trainer.predictor(digits, digits.valid, CPU)
    hits = predict(trained.model).logits.argmax(axis=1) == digits.valid.labels
    assert hits.mean() == pytest.approx(max(accuracies))


def test_the_final_model_is_tested_once_on_examples_that_change_nothing(engine: str, digits: Subset) -> None:
    assert "test_accuracy" not in train(digits, spec_of(1, engine=engine)).result.metrics
    places = np.arange(len(digits.valid))
    held_out, rest = digits.valid.take(places % 5 == 0), digits.valid.take(places % 5 > 0)
    with_test = dataclasses.replace(digits, valid=rest, test=held_out)
    spec = spec_of(4, engine=engine, learning_rate=0.02)
    trained = train(with_test, spec)
    logits = spec.trainer.predictor(digits, held_out, CPU)(trained.model).logits
    expected = (logits.argmax(axis=1) == held_out.labels).mean()
    assert trained.result.metrics["test_accuracy"] == pytest.approx(expected)
    seconds = sum(record.values["epoch_seconds"] for record in trained.result.records)
    assert trained.result.train_seconds == pytest.approx(seconds)
    without = train(dataclasses.replace(with_test, test=None), spec).result
    assert untimed(trained.result) == untimed(without)
    diverged = train(with_test, spec_of(engine=engine, optimizer="sgd", learning_rate=1e12)).result
    assert diverged.diverged
    assert diverged.metrics["test_accuracy"] == 0


def test_a_loss_that_is_not_finite_ends_the_run_as_a_result(engine: str, digits: Subset) -> None:
    result = train(digits, spec_of(5, engine=engine, optimizer="sgd", learning_rate=1e12)).result
    assert result.diverged
    assert len(result.records) < 5
    assert result.final == 0
    assert result.best == max(result.curve, default=0.0)
    assert all(np.isfinite(loss) for loss in losses(result))
    assert result.train_seconds > 0


def test_weights_that_blow_up_in_the_last_step_are_a_divergence(engine: str, digits: Subset) -> None:
    # One step: its loss is that of the fresh network, and only validation sees what the step did.
    spec = spec_of(1, engine=engine, batch_size=130, optimizer="sgd", learning_rate=1e38)
    result = train(digits, spec).result
    assert result.diverged
    assert np.isfinite(losses(result)[0])
    assert result.best == 0


def test_memory_is_measured_anew_for_each_training(engine: str, digits: Subset) -> None:
    ballast = np.ones(400 * 2**20 // 8)
    high = train(digits, spec_of(1, engine=engine, batch_size=130)).result
    del ballast
    low = train(digits, spec_of(1, engine=engine, batch_size=120)).result
    assert low.metrics["peak_memory_mb"] < high.metrics["peak_memory_mb"] - 300


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.003), ("sgd", 0.1), ("rmsprop", 0.003)])
def test_every_optimizer_learns(engine: str, optimizer: str, rate: float) -> None:
    changes = {"optimizer": optimizer, "learning_rate": rate, "flip_probability": 0, "arch": "xresnet18"}
    result = train(few_digits(0.5), spec_of(4, engine=engine, **changes)).result
    assert losses(result)[-1] < losses(result)[0] - 0.3
    assert result.best > 0.5


def test_label_smoothing_is_part_of_the_objective(engine: str, digits: Subset) -> None:
    plain, smooth = (
        losses(train(digits, spec_of(1, engine=engine, label_smoothing=smoothing)).result) for smoothing in (0.0, 0.1)
    )
    assert plain != smooth


def test_bf16_on_a_cpu_is_not_fp32_in_disguise(engine: str, digits: Subset) -> None:
    found, single = (
        train(digits, spec_of(1, image_size=24, precision=precision, engine=engine)).result
        for precision in ("bf16", "fp32")
    )
    assert (found.params["precision_used"], single.params["precision_used"]) == ("bf16", "fp32")
    assert losses(found) != losses(single)
    assert losses(found) == pytest.approx(losses(single), rel=0.1)


@pytest.mark.parametrize("precision", ["fp16", "tf32"])
def test_what_only_a_gpu_computes_in_is_refused_on_a_cpu(engine: str, precision: str, digits: Subset) -> None:
    with pytest.raises(InvalidValue) as raised:
        train(digits, spec_of(precision=precision, engine=engine))
    assert (raised.value.name, raised.value.value) == ("precision", precision)


def test_small_subsets_train_and_a_single_example_is_refused(engine: str, digits: Subset) -> None:
    def first(n: int) -> Subset:
        return dataclasses.replace(digits, train=digits.train.take(np.arange(n)))

    assert train(first(5), spec_of(engine=engine)).result.examples_seen == 10
    with pytest.raises(UserError):
        train(first(1), spec_of(engine=engine))
    # A batch larger than the subset is the subset.
    _, firsts = np.unique(digits.train.labels, return_index=True)
    one_of_each = dataclasses.replace(digits, train=digits.train.take(np.sort(firsts)))
    result = train(one_of_each, spec_of(engine=engine)).result
    assert (result.steps, result.examples_seen) == (2, 2 * 10)


def test_images_of_one_colour_end_as_a_result(engine: str) -> None:
    flat = np.full((40, 6, 6, 1), 200, dtype=np.uint8)
    images = [ImageSet.of(flat[:n], np.arange(n) % 4, np.arange(n)) for n in (40, 8)]
    dataset = dataclasses.replace(noise_dataset([0, 1, 2, 3], [0, 1, 2, 3], 4), train=images[0], valid=images[1])
    result = train(choose_subset(dataset, parse_strategy("full"), 0), spec_of(engine=engine)).result
    assert not result.diverged
    assert result.final == 0.25


def test_one_class_ends_as_a_result(engine: str, digits: Subset) -> None:
    threes = [images.take(images.labels == 3) for images in (digits.train, digits.valid)]
    of_all = train(dataclasses.replace(digits, train=threes[0]), spec_of(engine=engine)).result
    assert len(of_all.records) == 2
    one = dataclasses.replace(digits, classes=(3,), train=threes[0], valid=threes[1])
    assert train(one, spec_of(engine=engine)).result.best == 1


def test_what_really_ran_is_said(engine: str, digits: Subset) -> None:
    result = train(digits, spec_of(1, engine=engine)).result
    assert result.params["execution"] == "eager"
    assert result.params["precision_used"] == "fp32"
    assert result.params["threads"] == torch.get_num_threads()
    assert result.params["device"]
    # Only fp16 has any.
    assert "skipped_steps" not in result.metrics


def test_an_engine_that_cannot_resume_says_so(engine: str, digits: Subset) -> None:
    kept: list[Checkpoint] = []
    spec = spec_of(engine=engine)
    assert spec.trainer.resumes == engines[engine].resumes
    if spec.trainer.resumes:
        train(digits, spec, on_checkpoint=kept.append)
        assert [checkpoint.done for checkpoint in kept] == [1, 2]
    else:
        with pytest.raises(UserError):
            train(digits, spec, on_checkpoint=kept.append)


def test_whoever_looks_at_the_model_after_an_epoch_changes_nothing(engine: str, digits: Subset) -> None:
    seen: list[tuple[int, float]] = []

    def first_sum(model: torch.nn.Module) -> float:
        return float(next(model.parameters()).detach().double().sum())

    def look(model: torch.nn.Module, epoch: int) -> None:
        model.eval()
        with torch.inference_mode():
            seen.append((epoch, first_sum(model)))

    looked_at = train(digits, spec_of(engine=engine), Hooks(on_model=look))
    plain = train(digits, spec_of(engine=engine))
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert seen[0][1] != seen[1][1]
    assert seen[1][1] == first_sum(looked_at.model)
    ours, theirs = looked_at.model.state_dict(), plain.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_observer_sees_every_step(engine: str, digits: Subset) -> None:
    shown: list[tuple[int, list[int]]] = []

    def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
        assert torch.equal(labels, torch.from_numpy(digits.train.labels)[index])
        assert logits.shape == (len(index), 10)
        shown.append((epoch, index.tolist()))

    train(digits, spec_of(engine=engine), Hooks(on_batch=watch))
    assert [epoch for epoch, _ in shown] == [0] * 4 + [1] * 4
    first = [i for epoch, part in shown if epoch == 0 for i in part]
    second = [i for epoch, part in shown if epoch == 1 for i in part]
    assert len(set(first)) == 128
    assert first != second
