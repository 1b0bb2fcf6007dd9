"""How close does the fast engine come to a bare loop, and what do people gain over fastai as it is?

XResNet18 and 50 at 32, 64 and 128 px with batches of 64 and 256, four ways to take their steps (see
`benchmarks/steps.py`). Between any two steps of a way the bare loop takes one, and the ratio of these neighbours is
what counts: on a shared machine nothing further apart can be compared.
Every way has the precision that it would have by default; fastai on a CPU has fp32 alone. At 32 px the images are
scikit-learn's digits, at 64 and 128 px made-up JPEGs of Imagenette's sizes.

    python -m benchmarks.training [--quick] [--json PATH]
"""

from __future__ import annotations

import os
import statistics
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.bench import parse_options, write_json
from benchmarks.data import generate_folder, quiet
from benchmarks.steps import WAYS, Bench, Case, export, steps_for
from proxyflow.trainers.devices import configure_threads
from proxyflow.trainers.images.arithmetic import resolve_precision

ARCHS, SIZES, BATCHES = ("xresnet18", "xresnet50"), (32, 64, 128), (64, 256)


def measure(
    bench_of: Callable[[Case], Bench],
    cases: Sequence[Case],
    budget: float,
    lowest: int,
    highest: int,
    keep: Callable[[dict[str, float], dict[str, float]], None],
) -> None:
    """Prints a table of the cases, and hands ratios and figures to `keep` after each: the last ones take long.

    Args:
        budget: seconds for each pair of a way and the bare loop.
        lowest, highest: steps of a pair.
    """
    ways = "  ".join(f"{way:>12}" for way in WAYS)
    print(f"{'images per second':<24} {'prec.':<5} | {ways} | fast over bare, over stock (quartiles)")
    ratios: dict[str, float] = {}
    figures: dict[str, float] = {}
    for case in cases:
        bench = bench_of(case)
        bench.seconds("bare", case, 2)  # the first steps of a shape are slower, for all ways alike
        step = bench.seconds("bare", case, 2)
        to_bare: dict[str, NDArray[np.float64]] = {}
        speeds: dict[str, float] = {}
        bare: list[float] = []
        for way in WAYS[:-1]:
            steps = steps_for(step * (4 if way == "fastai_stock" else 2), budget, lowest, highest)
            own, others = bench.beside_bare(way, case, steps)
            to_bare[way] = np.array(others) / np.array(own)
            speeds[way] = case.batch / statistics.median(own)
            bare += others
        speeds["bare"] = case.batch / statistics.median(bare)
        for way, speed in speeds.items():
            figures[f"images_per_second_{way}_{case.name}"] = speed
        middle = {way: float(np.median(found)) for way, found in to_bare.items()}
        low, high = np.quantile(to_bare["fast"], (0.25, 0.75))
        ratios[f"fast_over_bare_{case.name}"] = middle["fast"]
        ratios[f"fast_over_fastai_stock_{case.name}"] = middle["fast"] / middle["fastai_stock"]
        ratios[f"fast_over_fastai_{case.name}"] = middle["fast"] / middle["fastai"]
        columns = "  ".join(f"{speeds[way]:12,.1f}" for way in WAYS)
        precision = resolve_precision("auto", bench.device, case.size).name
        print(
            f"{case.name:<24} {precision:<5} | {columns} | {middle['fast']:.3f} ({low:.2f}..{high:.2f}, "
            f"{len(to_bare['fast'])} pairs), {middle['fast'] / middle['fastai_stock']:.2f}",
            flush=True,
        )
        keep(ratios, figures)


def count(bench: Bench, archs: Sequence[str]) -> dict[str, float]:
    """Operations that each way dispatches per step, and how often it would wait for a GPU."""
    figures = {}
    for arch in archs:
        for way in WAYS:
            operations, waits = bench.operations(way, Case(arch, 32, 8))
            figures[f"operations_per_step_{way}_{arch}"] = operations
            figures[f"waits_per_step_{way}_{arch}"] = waits
            print(f"{arch:<12} {way:<14} {operations:>8,.0f} operations and {waits:>4.1f} waits per step")
    return figures


def main() -> None:
    options = parse_options(__doc__, cases="")  # those whose names hold this text
    device = torch.device("cpu")  # benchmarks/gpu.py measures GPUs, which cannot be timed step by step
    threads = configure_threads()
    with tempfile.TemporaryDirectory(prefix="proxyflow-bench-") as temporary_folder:
        folder, data_dir = Path(temporary_folder) / "jpegs", Path(temporary_folder) / "data"
        generate_folder(folder, 300 if options.quick else 2048)
        digits = quiet("digits", data_dir)
        export(digits, Path(temporary_folder) / "digits")
        small = Bench(Path(temporary_folder) / "digits", digits, device, workers=0)
        large = Bench(folder, quiet(f"folder:{folder}", data_dir), device, workers=0)
        cases = [Case(arch, size, batch) for size in SIZES for batch in BATCHES for arch in ARCHS]
        if options.quick:
            cases = [Case("xresnet18", 32, 64)]
        print(f"{threads} threads; medians of steps, and of ratios to the bare loop's step beside each")
        cases = [case for case in cases if options.cases in case.name]
        counts = count(small, ARCHS[:1] if options.quick else ARCHS)

        def keep(ratios: dict[str, float], figures: dict[str, float]) -> None:
            write_json(options.json, ratios, figures | counts)

        budget = 5.0 if options.quick else 7.0
        measure(lambda case: small if case.size <= 32 else large, cases, budget, 3, 40, keep)


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    warnings.simplefilter("ignore")
    main()
