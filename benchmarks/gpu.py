"""What an NVIDIA GPU makes of it: the questions of `benchmarks/training.py`, and those that only a GPU has.

Four ways to take fp16 steps (see `benchmarks/steps.py`) at 128 px with XResNet18 and 50 and at 32 px with XResNet18;
how long recording a graph takes, and what the next training of its shape pays; waits per step as CUDA reports them;
whether a graph trains as eager steps do; how much faster it validates; what cudnn's search for algorithms would add;
how long networks of timm and torchvision take to begin (timm's are of the extra `timm`).

It needs torch and a handful of wheels, no MLflow and no network. With --quick it took 65 s on an H100, without the last
question; without --quick it has not been timed:

    python -m benchmarks.gpu [--quick] [--json PATH]

writes `benchmarks/results/gpu-<device>.json`, and the table beside it, unless PATH is given. On a machine without a GPU
it says so and ends with 2; `--device cpu` runs the same code there, for those who change it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import statistics
import sys
import tempfile
import time
import unittest.mock
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.bench import alternate, environment, image_spec, paired_ratio, parse_options, train_images, write_json
from benchmarks.data import generate_folder, quiet
from benchmarks.steps import WAYS, Bench, Case, steps_for
from proxyflow.strategies import Full
from proxyflow.subsets import choose_subset
from proxyflow.trainers import TrainingResult
from proxyflow.trainers.devices import configure_threads
from proxyflow.trainers.images import capture, session
from proxyflow.trainers.images.arithmetic import resolve_precision

RESULTS = Path(__file__).parent / "results"
GOALS = {
    "images_per_second_fast_xresnet50_128px_bs64": 8000.0,
    "fast_over_fastai_stock_xresnet50_128px_bs64": 3.0,
    "validation_graph_over_eager": 1.0,
}


class Both(io.TextIOBase):
    """Prints, and keeps what was printed."""

    def __init__(self) -> None:
        self.kept = io.StringIO()

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)  # type: ignore[union-attr]
        return self.kept.write(text)

    def flush(self) -> None:
        sys.__stdout__.flush()  # type: ignore[union-attr]


@contextlib.contextmanager
def synchronisations() -> Iterator[list[str]]:
    """What CUDA itself reports as waiting for it."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
            found += [str(w.message) for w in caught if "synchroniz" in str(w.message).lower()]


def measure(
    bench: Bench, cases: Sequence[Case], rounds: int, burst: float, highest: int
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
        # The first steps of a shape are slower, for all ways alike.
        warm = [{way: bench.seconds(way, case, 2) for way in WAYS} for _ in range(2)][-1]
        steps = steps_for(warm["bare"], burst, 2, highest)
        times = alternate({way: partial(bench.seconds, way, case, steps) for way in WAYS}, rounds)
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


def waits(bench: Bench, figures: dict[str, float]) -> None:
    """Synchronisations per step, from the difference of two lengths."""
    case = Case("xresnet18", 32, 64)
    for way in WAYS:
        counts = []
        for steps in (4, 12):
            with synchronisations() as found:
                bench.seconds(way, case, steps)
            counts.append(len(found))
        figures[f"synchronisations_per_step_{way}"] = (counts[1] - counts[0]) / 8
        print(f"{way:<14} {figures[f'synchronisations_per_step_{way}']:>5.1f} synchronisations per step")


def training(bench: Bench, seed: int, epochs: int, arch: str, size: int) -> TrainingResult:
    spec = image_spec(epochs, seed, size, arch=arch)
    return train_images(choose_subset(bench.dataset, Full(), 0), spec, bench.device).result


def recording(bench: Bench, figures: dict[str, float]) -> None:
    """Set-up of a training that records its graphs, and of the next, which has them."""
    capture.reset()
    for name, seed in (("first", 0), ("next", 1)):
        result = training(bench, seed, 1, "xresnet50", 128)
        figures[f"setup_seconds_{name}_training"] = result.setup_seconds
        steps = result.params["execution"]
        print(f"{name} training of a shape: {result.setup_seconds:.2f} s of set-up; steps taken: {steps}")


def graph_against_eager(bench: Bench, figures: dict[str, float]) -> None:
    """The same training from a graph and eagerly, and twice from a graph."""
    runs = {"graph": training(bench, 0, 3, "xresnet18", 64), "again": training(bench, 0, 3, "xresnet18", 64)}
    with no_recording():
        runs["eager"] = training(bench, 0, 3, "xresnet18", 64)
    for name, result in runs.items():
        values = [record.values for record in result.records]
        epochs = "  ".join(f"{each['train_loss']:.5f} / {each['valid_accuracy']:.3f}" for each in values)
        skipped, steps = result.metrics.get("skipped_steps"), result.params["execution"]
        print(f"{name:<6} loss / accuracy per epoch: {epochs}; {skipped} steps skipped; {steps}")
    first, again, eager = ([r.values["train_loss"] for r in result.records] for result in runs.values())
    figures["loss_graph_over_eager_first_epoch"] = first[0] / eager[0]
    figures["graph_repeats_to_the_bit"] = float(first == again)
    for way in ("graph", "eager"):
        figures[f"skipped_steps_{way}"] = runs[way].metrics.get("skipped_steps", 0.0)


@contextlib.contextmanager
def no_recording() -> Iterator[None]:
    """Trainings take their steps eagerly meanwhile, and record anew afterwards."""
    real = torch.cuda.CUDAGraph
    capture.reset()
    try:
        torch.cuda.CUDAGraph = _refuse  # type: ignore[assignment,misc]
        yield
    finally:
        torch.cuda.CUDAGraph = real  # type: ignore[misc]
        capture.reset()


def _refuse() -> None:
    raise RuntimeError("recording is switched off for comparison")


def validation(bench: Bench, rounds: int, found: dict[str, dict[str, float]]) -> None:
    """Passes over the validation images from a graph, and eagerly, in turn."""
    epochs = 5
    seconds: dict[str, list[float]] = {"graph": [], "eager": []}
    for _ in range(rounds):
        result = training(bench, 0, epochs, "xresnet50", 128)
        seconds["graph"].append(result.valid_seconds / epochs)
        with no_recording():
            result = training(bench, 0, epochs, "xresnet50", 128)
        seconds["eager"].append(result.valid_seconds / epochs)
    speeds = {way: [1 / each for each in times] for way, times in seconds.items()}
    middle, low, high = paired_ratio(speeds["graph"], speeds["eager"])
    found["ratios"]["validation_graph_over_eager"] = middle
    for way, times in seconds.items():
        found["figures"][f"validation_milliseconds_{way}"] = 1000 * statistics.median(times)
    told = ", ".join(f"{way} {1000 * statistics.median(times):.1f} ms" for way, times in seconds.items())
    print(
        f"a validation of {len(bench.dataset.valid)} images: {told}; graph over eager {middle:.2f} "
        f"({low:.2f}..{high:.2f})"
    )


def library_networks(bench: Bench, figures: dict[str, float]) -> None:
    """Set-up and steps of networks with depthwise convolutions, channels last, as they are trained, and first."""
    for arch in ("timm/tf_efficientnet_lite0", "timm/mobilenetv3_small_050", "torchvision/resnet18"):
        if arch.startswith("timm/") and find_spec("timm") is None:
            print(f"{arch}: not asked, as timm is not installed")
            continue
        for size in (64, 128):
            for layout in (torch.channels_last, torch.contiguous_format):
                with unittest.mock.patch.object(session, "memory_format_for", return_value=layout):
                    capture.reset()
                    results = [training(bench, seed, 2, arch, size) for seed in range(3)]
                setups = [result.setup_seconds for result in results]
                last = results[-1]
                step = 1000 * (last.train_seconds - last.valid_seconds) / (last.steps or 1)
                name = f"{arch.split('/')[1]}_{size}px_{str(layout).split('.')[1]}"
                figures[f"setup_seconds_{name}"] = setups[0]
                figures[f"milliseconds_per_step_{name}"] = step
                told = ", ".join(f"{each:.2f}" for each in setups)
                print(f"{name}: set-up of three trainings {told} s; {step:.2f} ms per step", flush=True)


def search(bench: Bench, figures: dict[str, float]) -> None:
    """What cudnn's search for the fastest algorithms would add; it is off, as it may choose differently each time."""
    case = Case("xresnet50", 128, 64)
    speeds: dict[bool, list[float]] = {}
    for on in (False, True, False, True):
        capture.reset()
        torch.backends.cudnn.benchmark = on
        bench.seconds("fast", case, 5)
        speeds.setdefault(on, []).append(case.batch / bench.seconds("fast", case, 100))
    torch.backends.cudnn.benchmark = False
    figures["cudnn_search_over_none"] = max(speeds[True]) / max(speeds[False])
    print(f"with cudnn's search: {figures['cudnn_search_over_none']:.2f} x as fast")


def main() -> int:
    options = parse_options(__doc__, device="")
    device = torch.device(options.device or "cuda")
    on_gpu = device.type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        print("error: this machine has no CUDA device; --device cpu runs the same code on the CPU", file=sys.stderr)
        return 2
    configure_threads()
    begun = time.perf_counter()
    out = Both()
    with tempfile.TemporaryDirectory(prefix="proxyflow-bench-") as temporary_folder, contextlib.redirect_stdout(out):
        folder = Path(temporary_folder) / "jpegs"
        generate_folder(folder, 320 if options.quick or not on_gpu else 3000)
        dataset = quiet(f"folder:{folder}", Path(temporary_folder) / "data")
        bench = Bench(folder, dataset, device, workers=min(16, os.cpu_count() or 1) if on_gpu else 0)
        cases = [Case("xresnet50", 128, 64), Case("xresnet18", 128, 64), Case("xresnet18", 32, 64)]
        cases += [] if options.quick else [Case("xresnet50", 128, 256)]
        if not on_gpu:
            cases = [Case("xresnet18", 32, 16)]
        print(", ".join(f"{key} {value}" for key, value in environment().items()))
        quick = options.quick or not on_gpu
        found = measure(bench, cases, 2 if quick else 5, 0.5 if quick else 1.5, 4 if not on_gpu else 150)
        if on_gpu:
            for question in (waits, recording, graph_against_eager, search, library_networks):
                question(bench, found["figures"])
            validation(bench, 1 if quick else 3, found)
            for name, goal in GOALS.items():
                value = found["figures"].get(name, found["ratios"].get(name, float("nan")))
                print(f"{name}: {value:,.2f}, goal {goal:,.0f}: {'reached' if value >= goal else 'not reached'}")
        print(f"{time.perf_counter() - begun:.0f} s in all")
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name(device).lower()) if on_gpu else "cpu"
    path = options.json or (RESULTS / f"gpu-{name}.json" if on_gpu else None)
    write_json(path, found["ratios"], found["figures"])
    if path is not None:
        path.with_suffix(".txt").write_text(out.kept.getvalue())
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    sys.exit(main())
