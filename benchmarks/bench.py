"""What every benchmark here shares: options, the environment it ran in, alternating measurements, and JSON."""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyflow.subsets import Subset
from proxyflow.trainers import ImageTrainer, Job, Trained, TrainingSpec
from proxyflow.trainers.images.space import image_configuration
from proxyflow.trainers.model_access import NO_HOOKS, Hooks

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "torchvision", "fastai", "numpy", "pillow", "mlflow")


def parse_options(description: str | None, **more: str) -> argparse.Namespace:
    """The options of every benchmark: `--quick` and `--json PATH`, and hidden ones in `more`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="the same measurement, smaller: under a minute")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write environment, ratios and figures there")
    for name in more:
        parser.add_argument(f"--{name}", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def image_spec(
    epochs: int,
    seed: int = 0,
    image_size: int | None = None,
    precision: str = "auto",
    engine: str = "fast",
    **hyperparameters: Any,
) -> TrainingSpec:
    """A training of XResNet18, or of what `hyperparameters` say."""
    configuration = image_configuration(**{"arch": "xresnet18", **hyperparameters})
    return TrainingSpec(configuration, epochs, seed, ImageTrainer(image_size, precision, engine))


def train_images(subset: Subset, spec: TrainingSpec, device: torch.device, hooks: Hooks = NO_HOOKS) -> Trained:
    """Trains by a spec of `image_spec`."""
    assert isinstance(spec.trainer, ImageTrainer)
    return spec.trainer.train_with_hooks(Job(spec, subset, device), hooks)


def environment() -> dict[str, Any]:
    """Versions, device and threads: without them a time means nothing."""
    import torch

    from proxyflow.trainers.devices import device_name, pick_device

    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "device": device_name(pick_device()),
        "cpu": _cpu_model(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    ended = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return ended.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def cpu_seconds() -> float:
    """CPU time of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def alternate(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measures candidates in turn, so that what else the machine does meets them alike."""
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, measure in candidates.items():
            found[name].append(measure())
    return found


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> tuple[float, float, float]:
    """Median, lowest and highest of the ratios of measurements made in the same round."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def write_json(path: Path | None, ratios: Mapping[str, float], figures: Mapping[str, float]) -> None:
    """Writes what others read."""
    if path is None:
        return
    rounded = [{key: float(f"{value:.5g}") for key, value in table.items()} for table in (ratios, figures)]
    report = {"environment": environment(), "ratios": rounded[0], "figures": rounded[1]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
