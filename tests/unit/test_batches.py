"""Batches: what a run's random streams decide, and that they decide nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_up import digits, random_images

from proxyflow.data.images import batches as batches_module
from proxyflow.data.images.batches import DeviceImages, TrainBatches, ValidBatches, place_for, prepared_images
from proxyflow.data.images.preprocessing import Preprocessing
from proxyflow.data.images.resize import Buffer
from proxyflow.data.images.store import ImageSet

CPU = torch.device("cpu")
TEN = tuple(range(10))


def digits_at(size: int, images: ImageSet) -> DeviceImages:
    return DeviceImages(images, TEN, digits().preprocessing.at(size), CPU)


def ragged(n: int = 60, channels: int = 3) -> ImageSet:
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 50, (n, 2))
    images = [rng.integers(0, 256, (*size, channels), dtype=np.uint8) for size in sizes]
    return ImageSet.of(images, rng.integers(0, 10, n), np.arange(n, dtype=np.int64))


def natives(images: ImageSet, size: int = 16) -> DeviceImages:
    return DeviceImages(
        images, TEN, Preprocessing(size, "resized", (0.5,) * images.channels, (0.25,) * images.channels), CPU
    )


@pytest.fixture(scope="module")
def few() -> ImageSet:
    return digits().train.take(np.arange(100))


@pytest.fixture(params=["padded", "resized"], scope="module")
def images(request: pytest.FixtureRequest, few: ImageSet) -> DeviceImages:
    return digits_at(16, few) if request.param == "padded" else natives(ragged(100))


def by_example(batches: TrainBatches) -> dict[int, torch.Tensor]:
    return {int(i): x for xs, _ in batches for i, x in zip(batches.index, xs, strict=True)}


def test_an_example_looks_the_same_whatever_the_batch_size(images: DeviceImages) -> None:
    small, large = (by_example(TrainBatches(images, size, 0.5, seed=3)) for size in (10, 50))
    assert set(small) == set(large) == set(range(100))
    assert all(torch.equal(small[i], large[i]) for i in small)


def test_an_example_looks_the_same_in_any_subset_and_from_any_store(images: DeviceImages) -> None:
    # Random streams know an example by its id, so that proxy and target see the same pictures of it.
    chosen = np.array([90, 3, 41, 7])
    part = images.images.take(chosen)
    copied = ImageSet.of([part.image(i) for i in range(4)], part.labels, part.ids)
    everything = by_example(TrainBatches(images, 100, 0.5, seed=3))
    for subset in (part, copied):
        alone = by_example(TrainBatches(DeviceImages(subset, TEN, images.preprocessing, CPU), 4, 0.5, seed=3))
        assert all(torch.equal(alone[i], everything[int(chosen[i])]) for i in range(4))


def test_epochs_and_seeds_differ_and_a_seed_repeats_them(images: DeviceImages) -> None:
    first, again, other = (TrainBatches(images, 10, 0.5, seed=seed) for seed in (0, 0, 1))
    epochs = [by_example(first) for _ in range(2)]
    assert list(epochs[0]) != list(epochs[1])
    assert any(not torch.equal(epochs[0][i], epochs[1][i]) for i in range(100))
    for epoch in epochs:
        repeated = by_example(again)
        assert list(repeated) == list(epoch)
        assert all(torch.equal(repeated[i], epoch[i]) for i in range(100))
    assert any(not torch.equal(x, epochs[0][i]) for i, x in by_example(other).items())


def test_augmentation_and_order_are_streams_of_their_own(images: DeviceImages) -> None:
    without, with_flips = (by_example(TrainBatches(images, 10, p, seed=0)) for p in (0.0, 1.0))
    assert list(without) == list(with_flips)
    # The same part of each image is shown, mirrored.
    assert all(torch.equal(without[i].flip(2), with_flips[i]) for i in range(100))


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.25, 0.2, 0.3), (1.0, 1, 1)])
def test_flips_come_with_their_probability(images: DeviceImages, probability: float, low: float, high: float) -> None:
    plain, flipped = TrainBatches(images, 100, 0.0, seed=0), TrainBatches(images, 100, probability, seed=0)
    count = 0
    for _ in range(20):
        unflipped = by_example(plain)
        for i, x in by_example(flipped).items():
            assert torch.equal(x, unflipped[i]) or torch.equal(x, unflipped[i].flip(2))
            count += not torch.equal(x, unflipped[i])
    assert low <= count / 2000 <= high


def test_a_padded_crop_is_the_image_moved_with_black_where_nothing_is_left(few: ImageSet) -> None:
    images = digits_at(16, few)
    plain = images.batch(torch.arange(100))
    black = -images.preprocessing.mean[0] / images.preprocessing.std[0]
    padded = torch.nn.functional.pad(plain, (2, 2, 2, 2), value=black)
    places = [(top, left) for top in range(5) for left in range(5)]
    seen = set()
    for _ in range(3):
        for i, x in by_example(TrainBatches(images, 50, 0.0, seed=0)).items():
            fits = {(t, s) for t, s in places if torch.allclose(padded[i, :, t : t + 16, s : s + 16], x, atol=1e-5)}
            assert fits
            seen |= fits
    assert seen == set(places)


def test_an_incomplete_batch_is_left_out_and_a_small_set_is_one_batch(images: DeviceImages) -> None:
    assert len(TrainBatches(images, 64, 0.5, seed=0)) == 1
    assert len(TrainBatches(images, 1000, 0.5, seed=0)) == 1
    assert [len(y) for _, y in TrainBatches(images, 1000, 0.5, seed=0)] == [100]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_batches_come_in_the_dtype_and_layout_of_the_computation(
    few: ImageSet, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    view = digits().preprocessing.at(16)
    for x, _ in (*TrainBatches(DeviceImages(few, TEN, view, CPU, dtype, layout), 10, 0.5, seed=0),):
        assert x.dtype == dtype
        assert x.shape == (10, 3, 16, 16)
        assert x.is_contiguous(memory_format=layout)


def test_grey_is_repeated_and_normalised(few: ImageSet) -> None:
    x = digits_at(16, few).batch(torch.arange(100))
    assert x.shape == (100, 3, 16, 16)
    assert torch.equal(x[:, 0], x[:, 2])
    assert abs(float(x.mean())) < 0.2


def test_pixels_are_normalised_by_channel() -> None:
    pixels = np.full((1, 4, 4, 3), (10, 100, 200), dtype=np.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    view = Preprocessing(4, "padded", mean, std)
    one = ImageSet.of(pixels, np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))
    x = DeviceImages(one, (0,), view, CPU).batch(torch.arange(1))
    wanted = (torch.tensor([10, 100, 200]) / 255 - torch.tensor(mean)) / torch.tensor(std)
    assert torch.allclose(x[0, :, 1, 2], wanted, atol=1e-6)


def test_validation_covers_everything_once_in_order() -> None:
    valid = digits_at(8, digits().valid)
    labels = torch.cat([y for _, y in ValidBatches(valid)])
    assert torch.equal(labels, torch.from_numpy(digits().valid.labels))


@pytest.mark.parametrize("crop", ["padded", "resized"])
def test_validation_images_are_resized_once_for_all_trainings(crop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images([0, 1, 2, 3])
    view = Preprocessing(8, crop, (0.5,), (0.5,))
    first = ValidBatches(DeviceImages(images.take(np.array([1, 3])), TEN, view, CPU))
    prepared = prepared_images(images.store, crop, 8, CPU)
    monkeypatch.setattr(prepared, "crop", lambda *args, **kwargs: pytest.fail("resized again"))
    again = ValidBatches(DeviceImages(images.take(np.array([1, 3])), TEN, view, CPU, torch.bfloat16))
    assert torch.equal(first.batches[0][0].bfloat16(), again.batches[0][0])
    with pytest.raises(pytest.fail.Exception):
        ValidBatches(DeviceImages(images.take(np.array([1, 2])), TEN, view, CPU))


def test_labels_are_counted_within_the_trained_classes() -> None:
    pixels = np.zeros((3, 4, 4, 1), dtype=np.uint8)
    some = ImageSet.of(pixels, np.array([7, 3, 9]), np.arange(3))
    loaded = DeviceImages(some, (3, 7, 9), Preprocessing(4, "padded", (0.5,), (0.5,)), CPU)
    assert loaded.labels.tolist() == [1, 0, 2]


@pytest.mark.parametrize("crop", ["padded", "resized"])
def test_subsets_of_a_store_share_one_copy_of_it_on_the_device(crop: str) -> None:
    images = random_images([0, 1, 2, 3])
    view = Preprocessing(8, crop, (0.5,), (0.5,))
    whole, part = (DeviceImages(some, TEN, view, CPU) for some in (images, images.take(np.array([2, 0]))))
    assert part.prepared is whole.prepared
    assert torch.equal(part.batch(torch.arange(2)), whole.batch(torch.tensor([2, 0])))
    assert prepared_images(images.store, crop, 16, CPU) is not whole.prepared


@pytest.mark.parametrize("on_device", [True, False])
@pytest.mark.parametrize("together", [10**6, 2 * 50 * 50])
def test_a_gpus_way_shows_the_same_images_wherever_the_store_is(
    on_device: bool, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of a GPU, run on a CPU: with the store there or on the host, all at once or in parts."""
    monkeypatch.setattr(batches_module, "CUT_TOGETHER", together)
    plain, other = natives(ragged()), natives(ragged())
    assert isinstance(other.prepared, batches_module.NativeImages)
    other.prepared.one_by_one = False
    other.prepared.buffer = Buffer.of(other.images.store, CPU) if on_device else None
    level = 1 / 255 / 0.25
    for (x, y), (other_x, other_y) in zip(
        TrainBatches(plain, 20, 0.5, 0), TrainBatches(other, 20, 0.5, 0), strict=True
    ):
        assert torch.equal(y, other_y)
        assert float((x - other_x).abs().max()) < 1.01 * level
    (x, _), (other_x, _) = ValidBatches(plain).batches[0], ValidBatches(other).batches[0]
    assert float((x - other_x).abs().max()) < 1.01 * level


def test_a_store_is_copied_to_a_device_once_for_all_sizes() -> None:
    images = random_images([0, 1])
    assert batches_module.buffer_of(images.store, CPU) is batches_module.buffer_of(images.store, CPU)


def test_prepared_images_go_away_with_its_store() -> None:
    before = len(batches_module._prepared)
    images = random_images([0, 1])
    prepared_images(images.store, "padded", 8, CPU)
    assert len(batches_module._prepared) == before + 1
    del images
    assert len(batches_module._prepared) == before


def test_a_store_stays_on_the_host_where_it_would_fill_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    gpu = torch.device("cuda")
    assert place_for(500, gpu) == gpu
    assert place_for(501, gpu) == CPU
    assert place_for(10**12, CPU) == CPU
