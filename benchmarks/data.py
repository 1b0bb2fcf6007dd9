"""Does the data path vanish from a training's profile?

Three questions, each answered side by side in one run:

1. Images per CPU-second from a folder of JPEGs (160 px short side, to 128 px; one thread): fastai's stock pipeline with
   0 and 2 workers, torchvision's v2 transforms, and proxyflow's batches from its decoded store.
2. How fast a training loop is that is fed by proxyflow's batches, relative to the same loop fed one constant batch.
3. How long a store of 100,000 images takes to open, and what a process that reads a tenth of it holds.

    python -m benchmarks.data [--quick] [--json PATH]
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from benchmarks.bench import alternate, cpu_seconds, paired_ratio, parse_options, write_json
from proxyflow.data.catalog import DataOptions, Dataset, load_dataset
from proxyflow.data.images.batches import DeviceImages, TrainBatches
from proxyflow.data.images.cache import open_or_build
from proxyflow.data.images.listing import Found, Listing
from proxyflow.data.images.preprocessing import Preprocessing
from proxyflow.data.images.reduce import stored_side
from proxyflow.data.images.store import ImageSet

SIZE, BATCH, SHORT_SIDE = 128, 64, 160
CPU = torch.device("cpu")
PIPELINES = ("fastai_stock_0_workers", "fastai_stock_2_workers", "torchvision_v2", "ours")


def generate_folder(root: Path, n: int) -> None:
    """JPEGs with the sizes of Imagenette's and as much detail as keeps them at about 10 kB."""
    rng = np.random.default_rng(0)
    for i in range(n + n // 10):
        part = "train" if i < n else "val"
        folder = root / part / f"class{i % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        long_side = int(SHORT_SIDE * rng.uniform(1, 1.6))
        width, height = (long_side, SHORT_SIDE) if rng.random() < 0.7 else (SHORT_SIDE, long_side)
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = (image + rng.integers(-8, 9, (height, width, 1))).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i}.jpg", quality=85)


def pipeline(name: str, root: Path, data_dir: Path) -> Callable[[], Iterator[torch.Tensor]]:
    """A function that gives one epoch of training batches."""
    if name.startswith("fastai"):
        return _fastai(root, workers=int(name.split("_")[2]))
    if name == "torchvision_v2":
        return _torchvision(root)
    dataset = quiet(f"folder:{root}", data_dir)
    batches = TrainBatches(on_cpu(dataset.train, view_of(dataset, SIZE, "resized")), BATCH, 0.5, seed=0)
    return lambda: (x for x, _ in batches)


def _fastai(root: Path, workers: int) -> Callable[[], Iterator[torch.Tensor]]:
    """As fastai's train_imagenette example loads its images."""
    from fastai.vision import all as fastai

    block = fastai.DataBlock(
        (fastai.ImageBlock, fastai.CategoryBlock),
        get_items=fastai.get_image_files,
        splitter=fastai.GrandparentSplitter("train", "val"),
        get_y=fastai.parent_label,
        item_tfms=[fastai.RandomResizedCrop(SIZE, min_scale=0.35), fastai.FlipItem(0.5)],
        batch_tfms=fastai.Normalize.from_stats(*fastai.imagenet_stats),
    )
    loaders = block.dataloaders(root, bs=BATCH, num_workers=workers, device=CPU)
    return lambda: (x for x, _ in loaders.train)


def _torchvision(root: Path) -> Callable[[], Iterator[torch.Tensor]]:
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.35, 1), ratio=(3 / 4, 4 / 3), antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    files = [str(path) for path in sorted((root / "train").rglob("*.jpg"))]

    def epoch() -> Iterator[torch.Tensor]:
        order = torch.randperm(len(files)).tolist()
        for begin in range(0, len(files) - BATCH + 1, BATCH):
            some = (decode_jpeg(read_file(files[i]), ImageReadMode.RGB) for i in order[begin : begin + BATCH])
            yield torch.stack([transform(image) for image in some])

    return epoch


def quiet(name: str, data_dir: Path) -> Dataset:
    return load_dataset(name, DataOptions(data_dir), lambda text: None)


def view_of(dataset: Dataset, size: int, crop: str) -> Preprocessing:
    return dataclasses.replace(dataset.preprocessing, image_size=size, crop=crop)


def on_cpu(images: ImageSet, view: Preprocessing) -> DeviceImages:
    return DeviceImages(images, sorted(set(images.labels.tolist())), view, CPU)


def images_per_cpu_second(epoch: Callable[[], Iterator[torch.Tensor]]) -> float:
    begun = cpu_seconds()
    images = sum(len(x) for x in epoch())
    while multiprocessing.active_children():  # the time of fastai's workers counts when they have ended
        time.sleep(0.01)
    return images / (cpu_seconds() - begun)


def compare_pipelines(root: Path, data_dir: Path, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    begun = cpu_seconds()
    n = len(quiet(f"folder:{root}", data_dir).train)
    figures = {"cache_build_cpu_seconds": cpu_seconds() - begun}
    figures["cache_build_images_per_cpu_second"] = n * 1.1 / figures["cache_build_cpu_seconds"]
    epochs = {name: pipeline(name, root, data_dir) for name in PIPELINES}
    for epoch in epochs.values():
        next(epoch())
    speeds = alternate(
        {name: lambda epoch=epoch: images_per_cpu_second(epoch) for name, epoch in epochs.items()},  # type: ignore[misc]
        rounds,
    )
    torch.set_num_threads(before)
    print(f"{n} JPEGs to {SIZE} px, one thread, {rounds} rounds in turn")
    print(f"{'pipeline':<24} {'images per CPU-s':>17} {'lowest..highest':>17} {'over stock':>11} {'peak MB':>8}")
    ratios = {}
    for name, values in speeds.items():
        ratio, _, _ = paired_ratio(values, speeds[PIPELINES[0]])
        ratios[f"images_{name}_over_fastai_stock"] = ratio
        figures[f"images_per_cpu_second_{name}"] = statistics.median(values)
        peak = figures[f"peak_memory_mb_{name}"] = peak_memory(name, root, data_dir)
        spread = f"{min(values):,.0f}..{max(values):,.0f}"
        print(f"{name:<24} {statistics.median(values):>17,.0f} {spread:>17} {ratio:>11.2f} {peak:>8,.0f}")
    print(f"(the store of {n * 1.1:,.0f} images was built in {figures['cache_build_cpu_seconds']:.2f} CPU-s)\n")
    return ratios, figures


def peak_memory(name: str, root: Path, data_dir: Path) -> float:
    """Highest resident memory in MB of a process that reads one epoch, its workers included."""
    child = [sys.executable, "-m", "benchmarks.data", "--only", name, "--root", str(root), "--data", str(data_dir)]
    ended = subprocess.run(child, capture_output=True, text=True, check=True)
    return float(ended.stdout.split()[-1])


def only(name: str, root: Path, data_dir: Path) -> None:
    """Reads one epoch and prints the highest memory of this process and its workers together, in MB."""
    import psutil

    torch.set_num_threads(1)
    this = psutil.Process()
    highest = 0.0
    for number, _ in enumerate(pipeline(name, root, data_dir)()):
        if number % 3 == 0:
            # Shared pages count once: of a memory map, and of libraries that workers inherit.
            highest = max(highest, sum(_proportional_set(p) for p in (this, *this.children(recursive=True))))
    print(highest / 2**20)


def _proportional_set(process: Any) -> float:
    try:
        return float(process.memory_full_info().pss)
    except Exception:  # it has just ended
        return 0.0


def step_loop(dataset: Dataset, size: int, crop: str, batch: int, rounds: int) -> float:
    """Median speed of steps on our batches over steps on one constant batch."""
    from proxyflow.trainers.images.models import build_model
    from proxyflow.trainers.images.space import image_configuration

    data = on_cpu(dataset.train, view_of(dataset, size, crop))
    batches = TrainBatches(data, batch, 0.5, seed=0)
    model = build_model(image_configuration(arch="xresnet18"), len(dataset.class_names), seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def endless() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield from batches

    fed = endless()
    constant = next(fed)

    def seconds(get: Callable[[], tuple[torch.Tensor, torch.Tensor]]) -> float:
        begun = time.perf_counter()
        x, y = get()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        return time.perf_counter() - begun

    ways = {"constant": lambda: seconds(lambda: constant), "fed": lambda: seconds(lambda: next(fed))}
    alternate(ways, 2)
    times = alternate(ways, rounds)
    middle, _, _ = paired_ratio(times["constant"], times["fed"])
    making = median_seconds(lambda: next(fed), 20)
    print(
        f"{size:>4} px, batch {batch}: a step takes {statistics.median(times['constant']) * 1e3:,.0f} ms on a constant "
        f"batch, {statistics.median(times['fed']) * 1e3:,.0f} ms on ours, of which {making * 1e3:.1f} ms make the batch"
        f"; ratio {middle:.3f} ({rounds} pairs)"
    )
    return middle


def median_seconds(work: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


OPEN = """
import sys, time
from pathlib import Path
import numpy as np
from proxyflow.data.images.cache import open_or_build
from proxyflow.data.images.listing import Found
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
begun = time.perf_counter()
found = open_or_build("made-up", Found("made up", lambda: None), Path(sys.argv[1]), False, 160, print)
opened = time.perf_counter() - begun
store = found.store
rows = np.random.default_rng(0).permutation(len(store))[: len(store) // 10]
images = [store.image(int(row)) for row in rows]
print(opened, (resident() - before) / len(store.pixels))
"""


def noise(n: int) -> Listing:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    labels = np.arange(n, dtype=np.int64) % 10
    return Listing.of_arrays([str(c) for c in range(10)], pixels, labels, np.arange(n) // 10 % 20 == 0)


def open_store(cache: Path, n: int) -> dict[str, float]:
    """Opens a large store in a process of its own, and reads a tenth of it here and there."""
    cache.mkdir()
    open_or_build("made-up", Found("made up", lambda: noise(n)), cache, False, stored_side(None), print)
    runs = [
        subprocess.run(
            [sys.executable, "-c", OPEN, str(cache)], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    seconds, share = (statistics.median(float(run[i]) for run in runs) for i in (0, 1))
    print(
        f"\na store of {n:,} images of 64 px opens in {seconds:.3f} s; reading a tenth of it holds {share:.1%} of it "
        "in memory"
    )
    return {"open_seconds": seconds, "open_images": float(n), "resident_share_after_reading_a_tenth": share}


def main() -> None:
    options = parse_options(__doc__, only="", root="", data="")
    if options.only:
        only(options.only, Path(options.root), Path(options.data))
        return
    with tempfile.TemporaryDirectory(prefix="proxyflow-bench-") as temporary_folder:
        folder, data_dir = Path(temporary_folder) / "jpegs", Path(temporary_folder) / "data"
        generate_folder(folder, 320 if options.quick else 2000)
        ratios, figures = compare_pipelines(folder, data_dir, 2 if options.quick else 7)
        ratios["images_ours_over_fastai_stock"] = ratios.pop("images_ours_over_fastai_stock")
        for size, crop, batch, rounds in ((32, "padded", 64, 100), (128, "resized", 16, 40)):
            dataset = quiet("digits" if crop == "padded" else f"folder:{folder}", data_dir)
            rounds = rounds // 8 if options.quick else rounds
            ratios[f"loop_over_constant_batch_{size}px"] = step_loop(dataset, size, crop, batch, rounds)
        figures |= open_store(Path(temporary_folder) / "large", 10_000 if options.quick else 100_000)
    write_json(options.json, ratios, figures)


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
