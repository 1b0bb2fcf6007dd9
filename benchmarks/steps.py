"""Four ways to take training steps, for the benchmarks that compare them on a CPU or on a GPU.

`fastai_stock` is what people use today: fastai's Learner with its Adam, its loaders and, on a GPU, its mixed precision.
`fastai` and `fast` are proxyflow's engines on proxyflow's batches. `bare` is the floor: the same network, precision and
memory format, fused AdamW, one constant batch, nothing counted.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.bench import image_spec, train_images
from benchmarks.operations import Operations
from proxyflow.data.protocol import Dataset
from proxyflow.strategies import Full
from proxyflow.subsets import Subset, choose_subset
from proxyflow.trainers.devices import synchronize
from proxyflow.trainers.images.arithmetic import memory_format_for, resolve_precision
from proxyflow.trainers.images.models import build_model, set_memory_format
from proxyflow.trainers.images.space import image_configuration
from proxyflow.trainers.model_access import Hooks

WAYS = ("fastai_stock", "fastai", "fast", "bare")
SMOOTHING = 0.1

# Called between two steps.
Between = Callable[..., None]
N_CLASSES = 10


@dataclass(frozen=True)
class Case:
    """One network on one size of batches."""

    arch: str
    size: int
    batch: int

    @property
    def name(self) -> str:
        return f"{self.arch}_{self.size}px_bs{self.batch}"


@dataclass(frozen=True, eq=False)
class Bench:
    """Where steps are taken: a folder of images for fastai, the same images as a data set for proxyflow."""

    root: Path
    dataset: Dataset
    device: torch.device
    workers: int

    def seconds(self, way: str, case: Case, steps: int) -> float:
        """Seconds per step over so many steps of a new training, its set-up not counted."""
        if way == "bare":
            return self._bare(case, steps)
        if way == "fastai_stock":
            return self._stock(case, steps)
        return self._engine(way, case, steps)

    def beside_bare(self, way: str, case: Case, steps: int) -> tuple[list[float], list[float]]:
        """Seconds of single steps, and of the bare loop's step that was taken after each; for a CPU."""
        bare = self._bare_step(case)
        own: list[float] = []
        others: list[float] = []
        left: list[float] = []

        def between(*ignored: object) -> None:
            arrived = time.perf_counter()
            if left:
                own.append(arrived - left[-1])
            bare()
            left.append(time.perf_counter())
            others.append(left[-1] - arrived)

        if way == "fastai_stock":
            self._stock(case, steps + 1, between)
        else:
            self._engine(way, case, steps + 2, between)
        # The first steps of either fetch their memory.
        return own[1:], others[2:]

    def operations(self, way: str, case: Case) -> tuple[float, float]:
        """Operations dispatched and waits for the device per step, from the difference of two lengths."""
        counted = []
        for steps in (2, 6):
            with Operations() as operations:
                self.seconds(way, case, steps)
            counted.append((len(operations.names), len(operations.waits)))
        (short, few), (long, many) = counted
        return (long - short) / 4, (many - few) / 4

    def _model(self, case: Case) -> nn.Module:
        return build_model(image_configuration(arch=case.arch), N_CLASSES, 0).to(self.device)

    def _bare(self, case: Case, steps: int) -> float:
        step = self._bare_step(case)
        synchronize(self.device)
        begun = time.perf_counter()
        for _ in range(steps):
            step()
        synchronize(self.device)
        return (time.perf_counter() - begun) / steps

    def _bare_step(self, case: Case) -> Callable[[], None]:
        precision = resolve_precision("auto", self.device, case.size)
        layout = memory_format_for(self.device, precision, case.size)
        model = set_memory_format(self._model(case), layout).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.003, betas=(0.9, 0.99), eps=1e-6, fused=True)
        scaler = torch.amp.GradScaler(self.device.type, enabled=precision.name == "fp16")
        loss_of = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
        x = torch.randn(case.batch, 3, case.size, case.size, dtype=precision.dtype)
        x = x.to(self.device).contiguous(memory_format=layout)
        y = torch.arange(case.batch, device=self.device) % N_CLASSES

        def step() -> None:
            optimizer.zero_grad()
            with torch.autocast(self.device.type, dtype=precision.dtype, enabled=precision.autocast):
                prediction = model(x)
            scaler.scale(loss_of(prediction.float(), y)).backward()
            scaler.step(optimizer)
            scaler.update()

        return step

    def _engine(self, engine: str, case: Case, steps: int, between: Between | None = None) -> float:
        network = {"arch": case.arch, "batch_size": case.batch, "label_smoothing": SMOOTHING}
        spec = image_spec(1, image_size=case.size, engine=engine, **network)
        trained = train_images(self._subset(steps * case.batch), spec, self.device, Hooks(on_batch=between))
        return trained.result.train_seconds / steps

    def _subset(self, examples: int) -> Subset:
        """So many examples, some more than once where there are too few; validation is no part of the question."""
        full = choose_subset(self.dataset, Full(), 0)
        chosen = np.arange(examples) % len(full.train)
        return dataclasses.replace(full, train=full.train.take(chosen), valid=full.valid.take(np.arange(2)))

    def _stock(self, case: Case, steps: int, between: Between | None = None) -> float:
        """As fastai's train_imagenette example trains; the first step, which starts the loaders, is not counted."""
        from fastai.callback.core import Callback
        from fastai.vision import all as fastai

        device, seen = self.device, []

        class Clock(Callback):  # type: ignore[misc]
            def after_batch(self) -> None:
                if self.training and self.iter in (0, steps):
                    synchronize(device)
                    seen.append(time.perf_counter())
                if self.training and between is not None:
                    between()

        files = sorted(path for path in (self.root / "train").rglob("*.*"))
        items = [files[i % len(files)] for i in range((steps + 1) * case.batch)] + files[:2]
        block = fastai.DataBlock(
            (fastai.ImageBlock, fastai.CategoryBlock),
            splitter=fastai.IndexSplitter([len(items) - 2, len(items) - 1]),
            get_y=fastai.parent_label,
            item_tfms=[fastai.RandomResizedCrop(case.size, min_scale=0.35), fastai.FlipItem(0.5)],
            batch_tfms=fastai.Normalize.from_stats(*fastai.imagenet_stats),
        )
        loaders = block.dataloaders(items, bs=case.batch, num_workers=self.workers, device=self.device)
        learner = fastai.Learner(
            loaders,
            self._model(case),
            loss_func=fastai.LabelSmoothingCrossEntropy(),
            metrics=fastai.accuracy,
            cbs=Clock(),
        )
        if device.type == "cuda":
            learner.to_fp16()
        with learner.no_logging(), learner.no_bar():
            learner.fit_one_cycle(1, 0.003)
        return (seen[1] - seen[0]) / steps


def export(dataset: Dataset, root: Path) -> None:
    """Writes a data set's training images as the files that fastai reads, at their native size."""
    images = dataset.train
    for row, label in zip(images.rows, images.labels, strict=True):
        folder = root / "train" / dataset.class_names[int(label)]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row}.png").write_bytes(images.store.encoded(int(row))[0])


def steps_for(seconds_per_step: float, seconds: float, lowest: int, highest: int) -> int:
    """How many steps fill some time."""
    return max(lowest, min(highest, round(seconds / seconds_per_step)))
