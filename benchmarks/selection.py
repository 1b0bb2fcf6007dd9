"""What does it cost to select by embeddings of a frozen model, next to the training that it saves a part of?

Each strategy on embeddings selects 10 % of 60,000 and of 1,000,000 examples by 512 float32 numbers each, and half of
20,000 (the most that are selected from at once, so the slowest case for its size), from a `.npy` file
(`embeddings=file:PATH`), in a process of its own. Counted are the digest of the file for the subset's key, the
check that its numbers are finite, and the selection; not what computes the embeddings. Peak memory is that of the whole
process, the pages of the file that it mapped included. The embeddings are 100 overlapping Gaussian clusters.

`ratios.KIND_over_training_N` compares with 20 epochs of XResNet18 at 28 px on N images. That is an extrapolation: a few
steps with batches of 64 are measured (with the validation that goes with them), and multiplied by the number of
images. The goal is at most 0.01.

What chunks cost in quality: 10 % of 20,000 examples selected at once, in chunks of 5,000, and at random; for `k-center`
the mean and the largest distance of all examples to the nearest selected one, for `herding` the distance of the means.

Both count CPU seconds of one thread, as the machines that we have are shared.

    python -m benchmarks.selection [--quick] [--json PATH]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.bench import cpu_seconds, image_spec, parse_options, train_images, write_json

ROOT = Path(__file__).parent.parent
STRATEGIES = ("k-center", "herding", "kmeans-coreset", "prototypes")
FRACTION, DIMENSIONS, CLUSTERS = 0.1, 512, 100
CASES, QUICK_CASES = ((20_000, 0.5), (60_000, FRACTION), (1_000_000, FRACTION)), ((2_000, 0.5), (30_000, FRACTION))
COMPARED, QUICK_COMPARED = 20_000, 10_000  # examples, for the quality of chunks
SIZE, EPOCHS, BATCH = 28, 20, 64
MEASURED_EPOCHS = 4  # of the embedded digits, 22 steps each
WRITTEN = 20_000  # rows that are made at a time


def write_embeddings(path: Path, n: int) -> None:
    """Writes `(n, DIMENSIONS) float32` part by part."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, DIMENSIONS)).astype(np.float32)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, DIMENSIONS))
    for begin in range(0, n, WRITTEN):
        rows = min(WRITTEN, n - begin)
        noise = rng.standard_normal((rows, DIMENSIONS), dtype=np.float32)
        file[begin : begin + rows] = centres[np.arange(begin, begin + rows) % CLUSTERS] + noise
    file.flush()


def select(name: str, fraction: float, path: Path) -> dict[str, float]:
    """Selects once in this process."""
    import sklearn.cluster  # noqa: F401  (measured is what selecting takes, not what importing does)

    from proxyflow.core.errors import InvalidValue
    from proxyflow.strategies import ExamplePool, parse_strategy
    from proxyflow.strategies.embeddings import EmbeddingRows

    strategy = parse_strategy(f"{name}:{fraction},embeddings=file:{path}")
    n = len(np.load(path, mmap_mode="r"))
    # As long as the hashes of contents are.
    hashes = np.array([f"{number:064x}" for number in np.random.default_rng(1).permutation(n)])
    labels = np.arange(n) % 10
    begun, begun_cpu = time.perf_counter(), time.process_time()
    strategy.inputs()
    embeddings = EmbeddingRows(np.load(path, mmap_mode="r"), np.arange(n))
    embeddings.check_finite(lambda row, value: InvalidValue(f"row {row}", value, "finite"))
    read = time.process_time()
    pool = ExamplePool(np.arange(n), labels, hashes, embeddings=embeddings)
    chosen = strategy.select(pool, 0)
    ended = time.process_time()
    assert len(chosen) == strategy.size(pool)
    return {
        "seconds": ended - begun_cpu,
        "read_seconds": read - begun_cpu,
        "wall_seconds": time.perf_counter() - begun,
        "peak_memory_mb": peak_memory_mb(),
    }


def peak_memory_mb() -> float:
    """Of this process alone; `ru_maxrss` would include that of the process that started it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(name: str, fraction: float, path: Path) -> Mapping[str, float]:
    """`select` in a process of its own, with one thread."""
    command = [sys.executable, "-m", "benchmarks.selection", "--child", f"{name}@{fraction}@{path}"]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | threads, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def seconds_per_image() -> float:
    """CPU seconds of training per image and epoch, measured on the embedded digits at the size of others."""
    import torch

    from proxyflow.data.catalog import load_dataset
    from proxyflow.strategies import Full
    from proxyflow.subsets import choose_subset

    torch.set_num_threads(1)
    subset = choose_subset(load_dataset("digits"), Full(), 0)
    device = torch.device("cpu")
    train_images(subset, image_spec(1, image_size=SIZE, batch_size=BATCH), device)  # kernels, imports
    begun = cpu_seconds()
    train_images(subset, image_spec(MEASURED_EPOCHS, image_size=SIZE, batch_size=BATCH), device)
    return (cpu_seconds() - begun) / (MEASURED_EPOCHS * len(subset.train))


def quality_of_chunks(n: int) -> dict[str, float]:
    """How well examples that were selected at once, in chunks and at random stand for all."""
    from proxyflow.strategies import ExamplePool, geometry, parse_strategy

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embeddings.npy"
        write_embeddings(path, n)
        points = np.load(path)
    hashes = np.array([f"{number:064x}" for number in np.random.default_rng(1).permutation(n)])
    pool = ExamplePool(np.arange(n), np.arange(n) % 10, hashes, embeddings=points)
    figures: dict[str, float] = {}
    print(f"{'of ' + format(n, ','):<20}{'k-center mean':>15}{'largest':>9}{'herding mean':>14}")
    for kind, whole in (("whole", n), ("chunks", 0), ("random", n)):
        geometry.WHOLE = whole
        names = ("random", "random") if kind == "random" else ("k-center", "herding")
        centers, herd = (points[parse_strategy(f"{name}:{FRACTION}").select(pool, 0)] for name in names)
        lengths = np.square(centers).sum(axis=1)
        nearest = np.concatenate(
            [
                np.square(part).sum(axis=1) + (lengths - 2 * part @ centers.T).min(axis=1)
                for part in np.split(points, 10)
            ]
        )
        distances = np.sqrt(np.maximum(nearest, 0))
        off = float(np.linalg.norm(herd.mean(axis=0) - points.mean(axis=0)))
        found = {"distance_mean": float(distances.mean()), "distance_largest": float(distances.max()), "mean_off": off}
        figures |= {f"{what}_{kind}": value for what, value in found.items()}
        print(f"{kind:<20}{distances.mean():>15.2f}{distances.max():>9.2f}{off:>14.4f}", flush=True)
    return figures


def main() -> None:
    options = parse_options(__doc__, child="")
    if options.child:
        name, fraction, path = options.child.split("@", 2)
        print(json.dumps(select(name, float(fraction), Path(path))))
        return
    per_image = seconds_per_image()
    ratios: dict[str, float] = {}
    figures: dict[str, float] = {"training_seconds_per_image": per_image}
    print(f"training: {per_image * 1000:.3f} ms per image and epoch, xresnet18 at {SIZE} px, one thread")
    print(
        f"{'strategy':<20}{'examples':>10}{'seconds':>9}{'reading':>9}{'memory MB':>11}{'training s':>12}{'ratio':>9}"
    )
    for n, fraction in QUICK_CASES if options.quick else CASES:
        training = per_image * n * EPOCHS
        figures[f"training_seconds_{n}"] = training
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "embeddings.npy"
            write_embeddings(path, n)
            for name in STRATEGIES:
                found = in_a_process(name, fraction, path)
                key = name.replace("-", "_")
                case = f"{n}" if fraction == FRACTION else f"{n}_f{fraction}"
                figures |= {f"{what}_{key}_{case}": value for what, value in found.items()}
                ratio = ratios[f"{key}_over_training_{case}"] = found["seconds"] / training
                print(
                    f"{f'{name}:{fraction}':<20}{n:>10,}{found['seconds']:>9.1f}{found['read_seconds']:>9.1f}"
                    f"{found['peak_memory_mb']:>11,.0f}{training:>12,.0f}{ratio:>9.4f}",
                    flush=True,
                )
    figures |= quality_of_chunks(QUICK_COMPARED if options.quick else COMPARED)
    write_json(options.json, ratios, figures)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
