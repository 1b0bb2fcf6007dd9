"""Every engine trains the same way: same seed same result, true precision, divergence a result."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch
from made_up import noise_dataset

from proxyflow.data.catalog import load_dataset
from proxyflow.data.images import ImageSet
from proxyflow.errors import InvalidValue, UserError
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import Subset, choose_subset
from proxyflow.training.engine import EpochRecord, Trained, TrainingSpec, TrainingState, engines, get_engine
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings

CPU = torch.device("cpu")
X18 = Hyperparameters(arch="xresnet18")
SMALL = TrainingSettings(epochs=2, batch_size=32, image_size=8)


@pytest.fixture(scope="module")
def digits() -> Subset:
    return choose_subset(load_dataset("digits"), parse_strategy("random:0.1"), seed=0)


@pytest.fixture(params=list(engines))
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def train(name: str, subset: Subset, settings: TrainingSettings = SMALL, seed: int = 0, **changes: object) -> Trained:
    hyperparameters = dataclasses.replace(X18, **changes)  # type: ignore[arg-type]
    return get_engine(name).train(subset, TrainingSpec(hyperparameters, settings, seed, name), CPU, keep_best=True)


def test_same_seed_same_result_whatever_came_before(engine_name: str, digits: Subset) -> None:
    first = train(engine_name, digits)
    torch.rand(1000)
    np.random.default_rng().random(10)
    second = train(engine_name, digits)
    other = train(engine_name, digits, seed=1)
    for a, b in zip(first.result.records, second.result.records, strict=True):
        assert dataclasses.replace(a, epoch_seconds=0) == dataclasses.replace(b, epoch_seconds=0)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    )
    assert [r.train_loss for r in first.result.records] != [r.train_loss for r in other.result.records]


def test_training_leaves_the_global_generator_alone(engine_name: str, digits: Subset) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(engine_name, digits, TrainingSettings(epochs=1, batch_size=64, image_size=8))
    assert torch.equal(torch.rand(3), expected)


def test_a_training_leaves_nothing_behind(engine_name: str, digits: Subset) -> None:
    gc.collect()
    gc.disable()
    try:
        trained = train(engine_name, digits, TrainingSettings(epochs=1, batch_size=64, image_size=8))
        model = weakref.ref(trained.model)
        del trained
        assert model() is None, "a study would fill the memory with models that only the collector frees"
    finally:
        gc.enable()


def test_costs_are_counted(engine_name: str, digits: Subset) -> None:
    seen: list[EpochRecord] = []
    spec = TrainingSpec(X18, SMALL, 0, engine_name)
    result = get_engine(engine_name).train(digits, spec, CPU, on_epoch=seen.append).result
    assert tuple(seen) == result.records
    # 130 examples in batches of 32: the rest of 2 is left out of each epoch.
    assert result.examples_seen == 2 * 128
    assert result.train_seconds == pytest.approx(sum(record.epoch_seconds for record in result.records))
    assert result.examples_per_second == pytest.approx(result.examples_seen / result.train_seconds)
    assert (result.n_train, result.n_valid, result.n_classes) == (130, 500, 10)
    assert result.train_flops > 0
    assert result.setup_seconds > 0


def test_best_epoch_and_its_weights(engine_name: str, digits: Subset) -> None:
    trained = train(engine_name, digits, TrainingSettings(epochs=4, batch_size=32, image_size=8), learning_rate=0.02)
    accuracies = [record.valid_accuracy for record in trained.result.records]
    assert trained.result.best_valid_accuracy == max(accuracies)
    assert trained.result.best_epoch == accuracies.index(max(accuracies)) + 1
    assert trained.result.final_valid_accuracy == accuracies[-1]
    assert trained.best_weights is not None
    trained.model.load_state_dict(trained.best_weights)
    from proxyflow.data.batches import DeviceImages, View
    from proxyflow.scoring.scorer import look_at

    images = DeviceImages(digits.valid, digits.classes, View(8, digits.crop, digits.mean, digits.std), CPU)
    hits = look_at(trained.model, images).logits.argmax(axis=1) == digits.valid.labels
    assert hits.mean() == pytest.approx(max(accuracies))


def test_a_loss_that_is_not_finite_ends_the_run_as_a_result(engine_name: str, digits: Subset) -> None:
    settings = TrainingSettings(epochs=5, batch_size=32, image_size=8)
    result = train(engine_name, digits, settings, optimizer="sgd", learning_rate=1e12).result
    assert result.diverged
    assert len(result.records) < 5
    assert result.final_valid_accuracy == 0
    assert result.best_valid_accuracy == max((r.valid_accuracy for r in result.records), default=0.0)
    assert result.train_seconds > 0


def test_weights_that_blow_up_in_the_last_step_are_a_divergence(engine_name: str, digits: Subset) -> None:
    # One step: its loss is that of the fresh network, and only validation sees what the step did.
    settings = TrainingSettings(epochs=1, batch_size=130, image_size=8)
    result = train(engine_name, digits, settings, optimizer="sgd", learning_rate=1e38).result
    assert result.diverged
    assert np.isfinite(result.records[0].train_loss)
    assert result.best_valid_accuracy == 0


def test_memory_is_measured_anew_for_each_training(engine_name: str, digits: Subset) -> None:
    ballast = np.ones(400 * 2**20 // 8)
    high = train(engine_name, digits, TrainingSettings(epochs=1, batch_size=130, image_size=8)).result
    del ballast
    low = train(engine_name, digits, TrainingSettings(epochs=1, batch_size=120, image_size=8)).result
    assert low.peak_memory_mb < high.peak_memory_mb - 300


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.003), ("sgd", 0.1), ("rmsprop", 0.003)])
def test_every_optimizer_learns(engine_name: str, optimizer: str, rate: float) -> None:
    subset = choose_subset(load_dataset("digits"), parse_strategy("random:0.5"), seed=0)
    settings = TrainingSettings(epochs=4, batch_size=32, image_size=8)
    trained = train(engine_name, subset, settings, optimizer=optimizer, learning_rate=rate, flip_probability=0)
    losses = [record.train_loss for record in trained.result.records]
    assert losses[-1] < losses[0] - 0.3
    assert trained.result.best_valid_accuracy > 0.5


def test_label_smoothing_is_part_of_the_objective(engine_name: str, digits: Subset) -> None:
    settings = TrainingSettings(epochs=1, batch_size=128, image_size=8)
    plain, smooth = (
        train(engine_name, digits, settings, label_smoothing=s).result.records[0].train_loss for s in (0.0, 0.1)
    )
    assert plain != smooth


def test_bf16_on_a_cpu_is_not_fp32_in_disguise(engine_name: str, digits: Subset) -> None:
    settings = TrainingSettings(epochs=1, batch_size=32, image_size=24, precision="bf16")
    result = train(engine_name, digits, settings).result
    single = train(engine_name, digits, settings.replace(precision="fp32")).result
    assert (result.precision, single.precision) == ("bf16", "fp32")
    assert result.records[0].train_loss != single.records[0].train_loss
    assert result.records[0].train_loss == pytest.approx(single.records[0].train_loss, rel=0.1)


def test_fp16_on_a_cpu_is_refused(engine_name: str, digits: Subset) -> None:
    with pytest.raises(InvalidValue, match="fp16 needs a CUDA device"):
        train(engine_name, digits, SMALL.replace(precision="fp16"))


def test_small_subsets_train_and_a_single_example_is_refused(engine_name: str, digits: Subset) -> None:
    few = dataclasses.replace(digits, train=digits.train.take(np.arange(5)))
    assert train(engine_name, few).result.examples_seen == 10
    one_class = dataclasses.replace(digits, train=digits.train.take(digits.train.labels == 3))
    assert train(engine_name, one_class).result.n_classes == 10
    with pytest.raises(UserError, match="1 training example"):
        train(engine_name, dataclasses.replace(digits, train=digits.train.take(np.arange(1))))


def test_a_large_rate_ends_as_a_result(engine_name: str, digits: Subset) -> None:
    result = train(engine_name, digits, optimizer="sgd", learning_rate=0.1).result
    assert result.diverged or len(result.records) == SMALL.epochs
    assert all(np.isfinite(record.train_loss) for record in result.records)


def test_images_of_one_colour_end_as_a_result(engine_name: str) -> None:
    flat = np.full((40, 6, 6, 1), 200, dtype=np.uint8)
    images = [ImageSet.of(flat[:n], np.arange(n) % 4, np.arange(n)) for n in (40, 8)]
    dataset = dataclasses.replace(noise_dataset([0, 1, 2, 3], [0, 1, 2, 3], 4), train=images[0], valid=images[1])
    result = train(engine_name, choose_subset(dataset, parse_strategy("full"), 0)).result
    assert result.diverged or result.records[-1].valid_accuracy == 0.25


def test_one_class_or_one_example_of_each_ends_as_a_result(engine_name: str, digits: Subset) -> None:
    labels = digits.train.labels
    one_class = dataclasses.replace(digits, train=digits.train.take(labels == 3), classes=(3,))
    one_class = dataclasses.replace(one_class, valid=digits.valid.take(digits.valid.labels == 3))
    result = train(engine_name, one_class).result
    assert (result.n_classes, result.best_valid_accuracy) == (1, 1.0)
    _, firsts = np.unique(labels, return_index=True)
    one_of_each = dataclasses.replace(digits, train=digits.train.take(np.sort(firsts)))
    result = train(engine_name, one_of_each, SMALL.replace(batch_size=64)).result
    # A batch larger than the subset is the subset.
    assert (result.n_train, result.examples_seen) == (10, 2 * 10)


def test_what_really_ran_is_said(engine_name: str, digits: Subset) -> None:
    result = train(engine_name, digits).result
    assert result.execution == "eager"
    assert result.threads == torch.get_num_threads()
    assert result.device_shared in (True, False, None)
    assert result.skipped_steps is None


def test_an_engine_that_cannot_resume_says_so(engine_name: str, digits: Subset) -> None:
    spec = TrainingSpec(X18, SMALL, 0, engine_name)
    states: list[TrainingState] = []
    if engines[engine_name].resumes:
        get_engine(engine_name).train(digits, spec, CPU, on_state=states.append)
        assert [len(state.records) for state in states] == [1, 2]
    else:
        with pytest.raises(UserError, match="engine=fast"):
            get_engine(engine_name).train(digits, spec, CPU, on_state=states.append)


def test_whoever_looks_at_the_model_after_an_epoch_changes_nothing(engine_name: str, digits: Subset) -> None:
    spec = TrainingSpec(X18, SMALL, 0, engine_name)
    seen: list[tuple[int, float]] = []

    def look(model: torch.nn.Module, epoch: int) -> None:
        model.eval()
        with torch.inference_mode():
            seen.append((epoch, float(next(model.parameters()).detach().double().sum())))

    looked_at = get_engine(engine_name).train(digits, spec, CPU, on_model=look)
    plain = get_engine(engine_name).train(digits, spec, CPU)
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert seen[0][1] != seen[1][1]
    assert seen[1][1] == float(next(looked_at.model.parameters()).detach().double().sum())
    ours, theirs = looked_at.model.state_dict(), plain.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_observer_sees_every_step(engine_name: str, digits: Subset) -> None:
    shown: list[tuple[int, list[int]]] = []

    def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
        assert torch.equal(labels, torch.from_numpy(digits.train.labels)[index])
        assert logits.shape == (len(index), 10)
        shown.append((epoch, index.tolist()))

    get_engine(engine_name).train(digits, TrainingSpec(X18, SMALL, 0, engine_name), CPU, on_batch=watch)
    assert [epoch for epoch, _ in shown] == [0] * 4 + [1] * 4
    first = [i for epoch, part in shown if epoch == 0 for i in part]
    second = [i for epoch, part in shown if epoch == 1 for i in part]
    assert len(set(first)) == 128
    assert first != second
