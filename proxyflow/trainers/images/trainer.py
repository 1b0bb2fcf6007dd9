"""The built-in trainer `images`: image classifiers with one-cycle schedule, augmentation and mixed precision."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.core.platform import may_have_gpu
from proxyflow.core.settings import Choice, Number, OptionalValue, setting
from proxyflow.data.images.store import ImageSet
from proxyflow.proxies import Batch, Proxy, Size, Width
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.grids import Grid
from proxyflow.spaces.metric import ACCURACY, Metric
from proxyflow.spaces.space import Space
from proxyflow.strategies.base import FEWEST_EXAMPLES
from proxyflow.subsets import Subset
from proxyflow.trainers.images.architectures import architecture_of, at_width, has_widths
from proxyflow.trainers.images.engine import DEFAULT_ENGINE, engines, get_engine
from proxyflow.trainers.images.grids import grids
from proxyflow.trainers.images.libraries import SEPARATOR
from proxyflow.trainers.images.precision import precision_name
from proxyflow.trainers.images.space import IMAGE_SPACE, image_configuration
from proxyflow.trainers.images.weights import find_weights
from proxyflow.trainers.job import Job, TrainingSpec
from proxyflow.trainers.model_access import NO_HOOKS, Hooks
from proxyflow.trainers.protocol import Trainer
from proxyflow.trainers.results import Trained

if TYPE_CHECKING:
    import torch

    from proxyflow.data.images.preprocessing import Preprocessing
    from proxyflow.data.protocol import Dataset, Examples
    from proxyflow.trainers.images.checkpoints import TrainingCheckpoint
    from proxyflow.trainers.images.predictor import ImagePredictor

AUTO = "auto"
SMALLEST_SIDE = 8  # pixels
ANY_SIZE = 2**16  # an image size that every precision supports
INPUT = "(n, 3, size, size) float32, pixels in 0..1 less mean, divided by std; grey repeated to 3 channels"


@dataclass(frozen=True)
class ImageTrainer(Trainer):
    """Trains image classifiers, see docs/how-to/image-training.md.

    Attributes:
        width: Fraction of the channels that networks have, for the reduction `width:F`.

    Example:
        >>> trainer = ImageTrainer(image_size=32)
        >>> trainer.space.default.name
        'default'
    """

    name: ClassVar[str] = "images"
    description: ClassVar[str] = "the built-in image classifier"
    fidelities: ClassVar[frozenset[str]] = frozenset({"data", "curriculum", "epochs", "size", "width", "batch"})
    metric: ClassVar[Metric] = ACCURACY
    space: ClassVar[Space] = IMAGE_SPACE
    grids: ClassVar[Mapping[str, Callable[[], Grid]]] = grids

    image_size: int | None = setting(
        None,
        OptionalValue(Number(low=SMALLEST_SIDE, high=2048, whole=True, example="128"), AUTO),
        "side of the training images in pixels; auto is the data set's own, or the size of synthetic images",
        word=AUTO,
    )
    precision: str = setting(
        AUTO,
        Choice((AUTO, "fp32", "tf32", "fp16", "bf16")),
        "precision of forward and backward passes; auto is fp16 on a GPU, bf16 on a CPU that supports it for images of "
        "at least 64 pixels, else fp32; tf32 is fp32 with products in TF32, on GPUs that support it",
    )
    engine: str = setting(DEFAULT_ENGINE, Choice(tuple(engines)), "training loop; fastai is the reference")
    width: float = 1.0

    @property
    def resumes(self) -> bool:
        """Whether the engine has checkpoints."""
        return engines[self.engine].resumes

    def size_of(self, preprocessing: Preprocessing) -> int:
        """Side of the training images in pixels."""
        return self.image_size or preprocessing.image_size

    def precision_on(self, device: torch.device | None, image_size: int = ANY_SIZE) -> str:
        """Resolves `precision`, see `precision_name`; does not import torch if there is no GPU.

        Args:
            device: the device; None for the current GPU, or the CPU if there is none.
            image_size: side of the images in pixels.

        Raises:
            InvalidValue: the device does not support it.
        """
        if device is None and not may_have_gpu():
            return precision_name(self.precision, "cpu", image_size)
        from proxyflow.trainers.devices import pick_device  # imports torch
        from proxyflow.trainers.images.arithmetic import resolve_precision

        return resolve_precision(self.precision, device or pick_device(), image_size).name

    def identity(self, data: Dataset | Subset, device: torch.device | None) -> dict[str, Any]:
        self._check_modality(data)
        preprocessing = data.preprocessing.at(self.image_size)
        precision = self.precision_on(device, preprocessing.image_size)
        resolved = {"image_size": preprocessing.image_size, "crop": preprocessing.crop, "precision": precision}
        # Absent if images are stored at their original size.
        stored = {} if preprocessing.stored_side is None else {"stored_side": preprocessing.stored_side}
        return {"engine": self.engine, "width": self.width, **resolved, **stored}

    def check_request(self, configurations: Grid) -> Sequence[str]:
        self.precision_on(None, *([] if self.image_size is None else [self.image_size]))
        for configuration in configurations:
            find_weights(configuration, self.width)
        return ()

    def keyed(self, configuration: Configuration) -> Mapping[str, Any]:
        weights = find_weights(configuration, self.width)
        return configuration.told if weights is None else {**configuration.told, "weights": weights.sha256}

    def at(self, proxy: Proxy) -> ImageTrainer:
        size, width = proxy.reduction(Size), proxy.reduction(Width)
        try:
            return dataclasses.replace(
                self,
                image_size=self.image_size if size is None else size.side,
                width=self.width if width is None else width.fraction,
            )
        except InvalidValue as error:
            raise InvalidValue("strategy", proxy.canonical, f"{error.name}: {error.rule}") from None

    def reduced(self, configuration: Configuration, proxy: Proxy, presented: int) -> Configuration:
        batch = proxy.reduction(Batch)
        if batch is None:
            return configuration
        # A subset that is smaller than a batch is one batch.
        whole = min(configuration["batch_size"], max(2, presented))
        rate = configuration["learning_rate"] * batch.factor(whole)
        return configuration.replace(batch_size=batch.size_of(configuration["batch_size"]), learning_rate=rate)

    def unsupported(self, proxy: Proxy, data: Dataset | Subset, configurations: Grid) -> str:
        size, batch, width = (proxy.reduction(kind) for kind in (Size, Batch, Width))
        if isinstance(size, Size):
            if proxy.data.synthetic:
                return "synthetic images are made at the target's size; leave out size"
            full = self.size_of(data.preprocessing)
            if size.side >= full:
                return f"a proxy has smaller images than the target's image_size={full}"
        if isinstance(batch, Batch):
            largest = max((each["batch_size"] for each in configurations), default=batch.count + 1)
            if batch.scales and proxy.data.synthetic:
                return "batches of synthetic images depend on how many there are; leave out scale"
            if batch.count >= largest:
                return f"a proxy has smaller batches than the configurations' batch_size, which is at most {largest}"
        if isinstance(width, Width):
            found = {name: architecture_of(name) for name in {each["arch"] for each in configurations}}
            fixed = sorted(name for name, each in found.items() if not has_widths(each))
            if fixed:
                return f"arch={fixed[0]} has no narrower variants; take configurations of other networks, or no width"
            try:
                narrow = {name: at_width(each, width.fraction) for name, each in found.items()}
            except InvalidValue as error:
                return error.rule
            if found and all(narrow[name] is each for name, each in found.items()):
                return "channels are rounded to multiples of 8, so every network keeps its own; take a smaller fraction"
        return self._misfit(proxy, data, configurations)

    def _misfit(self, proxy: Proxy, data: Dataset | Subset, configurations: Grid) -> str:
        """Why a library's network does not take the images; empty where each does."""
        networks = {each["arch"]: each for each in configurations if SEPARATOR in each["arch"]}
        for configuration in networks.values():
            try:
                reduced = self.at(proxy)
                reduced.flops_per_example(configuration, len(data.class_names), data.preprocessing)
            except InvalidValue as error:
                return error.rule
        return ""

    def check(self, subset: Subset) -> None:
        self._check_modality(subset)
        if len(subset.train) < FEWEST_EXAMPLES:
            raise UserError(
                f"the subset {subset.strategy} of {subset.dataset} has {len(subset.train)} training example; "
                "batch norm needs at least 2, so choose a larger fraction"
            )

    def _check_modality(self, data: Dataset | Subset) -> None:
        if not isinstance(data.train, ImageSet):
            rule = f"it trains on images, and the data are {data.modality}; take a trainer for these"
            raise InvalidValue("trainer", self.name, rule)

    def train(self, job: Job) -> Trained:
        return self.train_with_hooks(job, NO_HOOKS)

    def train_with_hooks(self, job: Job, hooks: Hooks) -> Trained:
        """As `train`, with hooks.

        Raises:
            OutOfMemory: it does not fit on the device.
        """
        from torch.random import fork_rng  # imports torch, as the next one

        from proxyflow.trainers.images.memory import explain_out_of_memory

        size = self.size_of(job.subset.preprocessing)
        # Random layers draw from the global generator, which is the caller's afterwards as it was.
        with explain_out_of_memory(job.device, job.configuration["batch_size"], size), fork_rng(devices=[]):
            return get_engine(self.engine).train(self, job, hooks)

    def load_checkpoint(self, folder: Path) -> TrainingCheckpoint:
        from proxyflow.trainers.images.checkpoints import TrainingCheckpoint  # imports torch

        return TrainingCheckpoint.load(folder)

    def scoring_configuration(self, grid: Grid) -> Configuration:
        """The default configuration with the grid's most common network, batch size, weight decay and initial weights.

        Of those that are equally common it is the first.

        So the scoring model resembles the models that the study compares, and costs as much as one of them.
        """
        names = ("arch", "batch_size", "weight_decay", "weights", "freeze")
        common = {name: Counter(each[name] for each in grid).most_common(1)[0][0] for name in names}
        return image_configuration(**common)

    def flops_per_example(self, configuration: Configuration, n_classes: int, preprocessing: Preprocessing) -> float:
        from proxyflow.trainers.images.models import flops_per_example  # imports torch

        return flops_per_example(configuration, n_classes, self.size_of(preprocessing), self.width)

    def predictor(self, subset: Subset, examples: Examples, device: torch.device) -> ImagePredictor:
        from proxyflow.trainers.images.predictor import ImagePredictor  # imports torch

        self.check(subset)
        assert isinstance(examples, ImageSet)
        return ImagePredictor(self, subset, examples, device)

    def describe_model(self, spec: TrainingSpec, subset: Subset) -> dict[str, Any]:
        weights = find_weights(spec.configuration, self.width)
        inner = None if weights is None else weights.normalization
        return {
            **({} if inner is None else {"network_normalization": {"mean": list(inner.mean), "std": list(inner.std)}}),
            "hyperparameters": dict(spec.configuration),
            "class_names": [subset.class_names[label] for label in subset.classes],
            "image_size": self.size_of(subset.preprocessing),
            "width": self.width,
            "proxy": spec.proxy.canonical,
            "input": INPUT,
            "mean": list(subset.preprocessing.mean),
            "std": list(subset.preprocessing.std),
        }

    def input_shape(self, subset: Subset) -> tuple[int, ...]:
        size = self.size_of(subset.preprocessing)
        return (3, size, size)
