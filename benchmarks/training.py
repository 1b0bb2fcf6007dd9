"""How close does the fast engine come to a bare loop, and what do people gain over fastai as it is?

XResNet18 and 50 at 32, 64 and 128 px with batches of 64 and 256, four ways to take their steps (see
`benchmarks/steps.py`), measured in turn: each round takes a short burst of each way, and ratios are of the same round.
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
from functools import partial
from pathlib import Path

from benchmarks.bench import alternate, paired_ratio, parse_options, write_json
from benchmarks.data import generate_folder, quiet
from benchmarks.steps import WAYS, Bench, Case, export, steps_for
from proxyflow.training.devices import pick_device, resolve_precision, use_cores

LONG_STEP = 2.0  # seconds
ARCHS, SIZES, BATCHES = ("xresnet18", "xresnet50"), (32, 64, 128), (64, 256)


def measure(
    bench_of: Callable[[Case], Bench], cases: Sequence[Case], rounds: int, burst: float, highest: int
) -> dict[str, dict[str, float]]:
    """Prints a table of the cases, and gives ratios and figures.

    Args:
        rounds: bursts of each way.
        burst: seconds that one of the bare loop should take.
        highest: steps that one has at most.
    """
    ways = "  ".join(f"{way:>12}" for way in WAYS)
    print(f"{'images per second':<24} {'prec.':<5} {'steps':>5} | {ways} | fast over bare, over stock")
    ratios, figures = {}, {}
    for case in cases:
        bench = bench_of(case)
        # The first steps of a shape are slower, for all ways alike.
        warm = {way: bench.seconds(way, case, 2) for way in WAYS}
        steps = steps_for(warm["bare"], burst, highest)
        # Long steps are less noisy, and there is no end to waiting for them.
        times_each = rounds if warm["bare"] < LONG_STEP else max(3, rounds // 2)
        times = alternate({way: partial(bench.seconds, way, case, steps) for way in WAYS}, times_each)
        speeds = {way: [case.batch / seconds for seconds in found] for way, found in times.items()}
        for way, found in speeds.items():
            figures[f"images_per_second_{way}_{case.name}"] = statistics.median(found)
        to_bare, to_stock = (paired_ratio(speeds["fast"], speeds[other]) for other in ("bare", "fastai_stock"))
        ratios[f"fast_over_bare_{case.name}"] = to_bare[0]
        ratios[f"fast_over_fastai_stock_{case.name}"] = to_stock[0]
        ratios[f"fast_over_fastai_{case.name}"] = paired_ratio(speeds["fast"], speeds["fastai"])[0]
        middles = "  ".join(f"{statistics.median(speeds[way]):12,.1f}" for way in WAYS)
        precision = resolve_precision("auto", bench.device, case.size).name
        print(
            f"{case.name:<24} {precision:<5} {steps:>5} | {middles} | {to_bare[0]:.3f} "
            f"({to_bare[1]:.2f}..{to_bare[2]:.2f})  {to_stock[0]:.2f} ({to_stock[1]:.2f}..{to_stock[2]:.2f})",
            flush=True,
        )
    return {"ratios": ratios, "figures": figures}


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
    options = parse_options(__doc__)
    device = pick_device()
    threads = use_cores()
    with tempfile.TemporaryDirectory(prefix="proxyflow-bench-") as scratch:
        folder, data_dir = Path(scratch) / "jpegs", Path(scratch) / "data"
        generate_folder(folder, 300 if options.quick else 2048)
        digits = quiet("digits", data_dir)
        export(digits, Path(scratch) / "digits")
        small = Bench(Path(scratch) / "digits", digits, device, workers=0)
        large = Bench(folder, quiet(f"folder:{folder}", data_dir), device, workers=0)
        cases = [Case(arch, size, batch) for arch in ARCHS for size in SIZES for batch in BATCHES]
        rounds = 5
        if options.quick:
            cases, rounds = [Case("xresnet18", 32, 64)], 3
        print(f"{threads} threads, {rounds} rounds in turn; medians, ratios with lowest and highest")
        found = measure(lambda case: small if case.size <= 32 else large, cases, rounds, burst=3.0, highest=24)
        found["figures"] |= count(small, ARCHS[:1] if options.quick else ARCHS)
    write_json(options.json, found["ratios"], found["figures"])


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    warnings.simplefilter("ignore")
    main()
