"""Presets: named strategy lists for `sweep`, and named studies for `main`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.core.registry import Registry
from proxyflow.proxies import Proxy, parse_proxies, split_proxies
from proxyflow.trainers import ImageTrainer

strategy_lists: Registry[str] = Registry("strategies")
strategy_lists.add(
    "demo",
    "full random:0.25 easiest:0.25 hardest:0.25 half-classes:0.5 epochs:1",
)

# Rows of the published Table 2 and the equivalent strategies (hard-a-b: quantiles a to b, hardest first).
# The table does not state the number of synthetic images per class. It made them by gradient steps, which are expensive
# at 128 pixels; the preset uses the default method with 10 images per class.
PUBLISHED = {
    "All Classes-1.0": "full",
    "hard-0.25-1.0": "easiest:0.75",
    "Half Classes-1.0": "half-classes:1.0",
    "Other Half Classes-1.0": "other-half-classes:1.0",
    "Half Classes-0.7": "half-classes:0.7",
    "hard-0.05-0.5": "hardest:0.5,drop=0.05",
    "hard-0.5-1.0": "easiest:0.5",
    "hard-0.9-1.0": "easiest:0.1",
    "All Classes-0.7": "random:0.7",
    "hard-0.75-1.0": "easiest:0.25",
    "Half Classes-0.1": "half-classes:0.1",
    "All Classes-0.5": "random:0.5",
    "hard-0.0-0.75": "hardest:0.75",
    "hard-0.0-0.5": "hardest:0.5",
    "Half Classes-0.5": "half-classes:0.5",
    "All Classes-1.0-ep10": "epochs:10",
    "All Classes-1.0-ep1": "epochs:1",
    "Half Classes-0.25": "half-classes:0.25",
    "All Classes-0.1": "random:0.1",
    "All Classes-0.25": "random:0.25",
    "All Classes-1.0-ep5": "epochs:5",
    "hard-0.0-0.25": "hardest:0.25",
    "hard-0.0-0.1": "hardest:0.1",
    "distillation": "distilled:10",
}
strategy_lists.add("paper", " ".join(PUBLISHED.values()))


def load_strategies(text: str) -> tuple[Proxy, ...]:
    """Parses strategies and replaces names of lists by their strategies.

    Raises:
        InvalidValue: a name is neither a strategy nor a list.
    """
    pieces = split_proxies(text)
    try:
        return parse_proxies(" ".join(strategy_lists[p] if p in strategy_lists else p for p in pieces))  # noqa: SIM401
    except UnknownName as error:
        raise InvalidValue("strategy", error.value, f"{error.rule}; or the lists {', '.join(strategy_lists)}") from None


@dataclass(frozen=True)
class Preset:
    """A study without its data set, and a search that follows it.

    Attributes:
        description: purpose and running time, for `--help`.
        strategies, grid: see the options of `sweep`.
        base: hyperparameters of all configurations.
        trainer, epochs: see `StudySpec`.
        max_examples: larger data sets are reduced to `NAME@max_examples`.
        budget: of the search for the best of the same configurations, in full trainings.
    """

    description: str
    strategies: str
    grid: str
    base: Mapping[str, Any]
    trainer: ImageTrainer
    epochs: int
    max_examples: int
    budget: float


presets: Registry[Preset] = Registry("preset")
presets.add(
    "demo",
    Preset(
        "5 proxies of 8 configurations of XResNet18, at most 2,000 training examples of 32 px, 2 epochs, and a search "
        "for 2 full trainings: some minutes on 2 cores",
        strategies="demo",
        grid="demo",
        # With more epochs or larger batches, every configuration learns the digits and none ranks above another.
        base={"batch_size": 32},
        trainer=ImageTrainer(image_size=32),
        epochs=2,
        max_examples=2000,
        budget=2,
    ),
)
