"""Named choices: strategy lists for `sweep`, and whole studies for `main`."""

from __future__ import annotations

from dataclasses import dataclass

from proxyflow.errors import InvalidValue, UnknownName
from proxyflow.registry import Registry
from proxyflow.strategies import Strategy, parse_strategies
from proxyflow.strategies.base import split_strategies
from proxyflow.training.hyperparameters import TrainingSettings

strategy_lists: Registry[str] = Registry("strategies")
strategy_lists.add(
    "demo",
    "full random:0.25 easiest:0.25 hardest:0.25 half-classes:0.5 epochs:1",
)

# Labels of the published Table 2 by the strategy that each is (contract: hard-a-b is the slice from quantile
# a to b, hardest first). The table does not say how many synthetic images a class had, and they were made by gradient
# steps, which are dear for 128 pixels: ours are the default method's, 10 per class.
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


def load_strategies(text: str) -> tuple[Strategy, ...]:
    """Strategies as a list, in which the name of a list stands for its strategies.

    Raises:
        InvalidValue: a name that neither is.
    """
    pieces = split_strategies(text)
    try:
        return parse_strategies(" ".join(strategy_lists[p] if p in strategy_lists else p for p in pieces))  # noqa: SIM401
    except UnknownName as error:
        raise InvalidValue("strategy", error.value, f"{error.rule}; or the lists {', '.join(strategy_lists)}") from None


@dataclass(frozen=True)
class Preset:
    """A whole study but for its data set.

    Attributes:
        description: what it is for, and how long it takes.
        strategies, grid: as the options of `sweep`.
        settings: of its trainings; the scoring model is trained alike, see `plan.common_configuration`.
        max_examples: a larger data set is used in part, `NAME@max_examples`.
    """

    description: str
    strategies: str
    grid: str
    settings: TrainingSettings
    max_examples: int


presets: Registry[Preset] = Registry("preset")
presets.add(
    "demo",
    Preset(
        "5 proxies of 8 configurations of XResNet18, at most 2,000 training examples of 32 px, 2 epochs: some minutes "
        "on 2 cores",
        strategies="demo",
        grid="demo",
        # Two epochs and small batches: with more of either, the digits are learnt by every configuration
        # and there is nothing left to rank.
        settings=TrainingSettings(epochs=2, batch_size=32, image_size=32),
        max_examples=2000,
    ),
)
