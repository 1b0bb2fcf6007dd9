"""What does it cost to select by embeddings of a frozen model, next to the training that it saves a part of?

Each strategy on embeddings selects 10 % of 60,000 and of 1,000,000 examples by 512 float32 numbers each, from a `.npy`
file (`embeddings=file:PATH`), in a process of its own. Counted are the digest of the file for the subset's key, the
check that its numbers are finite, and the selection; not what computes the embeddings. Peak memory is that of the whole
process, the pages of the file that it mapped included. The embeddings are 100 overlapping Gaussian clusters.

`ratios.KIND_over_training_N` compares with 20 epochs of XResNet18 at 28 px on N images. That is an extrapolation: a few
steps with batches of 64 are measured (with the validation that goes with them), and multiplied by the number of
images. The goal is at most 0.01.

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
SIZES, QUICK_SIZES = (60_000, 1_000_000), (6_000, 30_000)
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


def select(name: str, path: Path) -> dict[str, float]:
    """Selects once in this process."""
    import sklearn.cluster  # noqa: F401  (measured is what selecting takes, not what importing does)

    from proxyflow.core.errors import InvalidValue
    from proxyflow.strategies import ExamplePool, parse_strategy
    from proxyflow.strategies.embeddings import EmbeddingRows

    strategy = parse_strategy(f"{name}:{FRACTION},embeddings=file:{path}")
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


def in_a_process(name: str, path: Path) -> Mapping[str, float]:
    """`select` in a process of its own, with one thread."""
    command = [sys.executable, "-m", "benchmarks.selection", "--child", f"{name}@{path}"]
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


def main() -> None:
    options = parse_options(__doc__, child="")
    if options.child:
        name, _, path = options.child.partition("@")
        print(json.dumps(select(name, Path(path))))
        return
    per_image = seconds_per_image()
    ratios: dict[str, float] = {}
    figures: dict[str, float] = {"training_seconds_per_image": per_image}
    print(f"training: {per_image * 1000:.3f} ms per image and epoch, xresnet18 at {SIZE} px, one thread")
    print(
        f"{'strategy':<16}{'examples':>10}{'seconds':>9}{'reading':>9}{'memory MB':>11}{'training s':>12}{'ratio':>9}"
    )
    for n in QUICK_SIZES if options.quick else SIZES:
        training = per_image * n * EPOCHS
        figures[f"training_seconds_{n}"] = training
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "embeddings.npy"
            write_embeddings(path, n)
            for name in STRATEGIES:
                found = in_a_process(name, path)
                key = name.replace("-", "_")
                figures |= {f"{what}_{key}_{n}": value for what, value in found.items()}
                ratio = ratios[f"{key}_over_training_{n}"] = found["seconds"] / training
                print(
                    f"{name:<16}{n:>10,}{found['seconds']:>9.1f}{found['read_seconds']:>9.1f}"
                    f"{found['peak_memory_mb']:>11,.0f}{training:>12,.0f}{ratio:>9.4f}",
                    flush=True,
                )
    write_json(options.json, ratios, figures)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
