"""Our own experiment: of several sets of images, the one that ranks a few pilot configurations as the real data do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxyflow.core.settings import Number, setting
from proxyflow.strategies.distillation_methods.base import ITERATIONS, Method, register_method
from proxyflow.strategies.distillation_methods.distribution_matching import DistributionMatching

# Hyperparameters of the image trainer that each pilot changes. None of them is in the grids that studies come with, so
# what they choose is not judged by themselves.
PILOTS: tuple[Mapping[str, Any], ...] = tuple(
    {"arch": "xresnet18", **changes}
    for changes in (
        {"learning_rate": 0.0005},
        {"learning_rate": 0.002},
        {"learning_rate": 0.02},
        {"learning_rate": 0.05, "label_smoothing": 0.2},
        {"learning_rate": 0.02, "optimizer": "sgd"},
        {"learning_rate": 0.002, "optimizer": "rmsprop"},
        {"stem_channels_1": 8, "stem_channels_2": 8},
        {"flip_probability": 1.0, "label_smoothing": 0.3},
    )
)

# Training examples that pilots are judged by; neither they nor the images see them.
HELD_OUT = 0.2
MAX_HELD_OUT = 1000

# Where along distribution matching its images are candidates, 0 being the real ones that it begins with.
STAGES = (0.0, 0.1, 1.0)


@register_method
@dataclass(frozen=True)
class RankAgreement(Method):
    """Chooses among candidate sets by Kendall's tau between pilots trained on them and on the real data.

    Candidates are the stages of distribution matching from several starts: real images, slightly moved, fully moved. A
    fifth of the training examples, at most 1,000, is put aside: pilots are judged by them, not by the validation
    examples that a study is judged by. A pilot takes as many steps on a candidate as on the real data. Ties go to the
    earlier stage. It costs the pilots' trainings, on the real data and on each candidate.
    """

    name = "rank-agreement"
    summary = "of real images and stages of distribution matching, those that rank 8 pilots most like the real data do"
    source = "our own experiment, 2025; Ding et al. 2024 (arXiv 2405.17535) learn images with the same aim"
    process = ("agreement", "Agreement")
    remedy = "its matching has fixed rates, so use distribution-matching with a smaller learning_rate"

    iterations: int = setting(300, ITERATIONS, "of distribution matching, for each start")
    starts: int = setting(2, Number(low=1, high=20, whole=True, example="2"), "draws of real images to begin with")
    pilot_epochs: int = setting(2, Number(low=1, whole=True, example="2"), "epochs of the pilots on the real data")
    pilot_batch: int = setting(64, Number(low=2, whole=True, example="64"), "batch size of the pilots")
    pilot_share: float = setting(
        1.0, Number(low=0, high=1, above=True, example="0.5"), "of their steps on the real data, those on a candidate"
    )

    @property
    def matching(self) -> DistributionMatching:
        """How candidates are made."""
        return DistributionMatching(iterations=self.iterations)

    @property
    def stages(self) -> tuple[int, ...]:
        """Iterations after which the images of a start are a candidate."""
        return tuple(sorted({round(stage * self.iterations) for stage in STAGES}))

    @property
    def candidates(self) -> int:
        """How many sets there are to choose from."""
        return self.starts * len(self.stages)

    @property
    def total(self) -> int:
        return self.starts * self.iterations + len(PILOTS) * (1 + self.candidates)
