"""Replays searches on a lookup table with numpy alone, so that any package's environment can do it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TARGET = "full"
# Orders of the target's three seeds: a replicate sees the first (and the second), and is judged by the last.
PERMUTATIONS = tuple(permutations(range(3)))
# A search that only asks for what it has trained already goes in circles and would never spend its budget.
MOST_FREE = 300
Floats = NDArray[np.float64]


class BudgetSpent(Exception):
    """The next training does not fit the budget, or the search has asked for nothing new for long: it ends here."""


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter that has more than one value.

    Attributes:
        name: the key in configurations.
        kind: `float`, `int` or `categorical`.
        low, high: the bounds of a number, included.
        log: the number is spread evenly over magnitudes.
        choices: of a categorical one.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    def place(self, value: Any) -> float:
        """A number's place in [0, 1] between its bounds; a choice's number.

        Raises:
            ValueError: it is none of the choices.
        """
        if self.kind == "categorical":
            return float(self._choice(value))
        low, high, at = (math.log(each) if self.log else float(each) for each in (self.low, self.high, value))
        return min(max((at - low) / (high - low), 0.0), 1.0)

    def _choice(self, value: Any) -> int:
        # Packages hand choices back as numpy scalars or as text.
        for number, choice in enumerate(self.choices):
            if value == choice or str(value) == str(choice):
                return number
        raise ValueError(f"{self.name} has no choice {value!r}: it has {', '.join(map(str, self.choices))}")


@dataclass(frozen=True, eq=False)
class Blackbox:
    """A lookup table as plain arrays, all values turned so that more is better.

    Attributes:
        table: its name.
        metric: what the values are.
        unit: what costs are made of.
        judged_by: `test` or `validation`.
        configurations: by number; number 0 is the default.
        space: the hyperparameters with more than one value.
        epochs: of a training, by proxy.
        seeds: by proxy, those that all configurations have.
        choice_costs: by proxy, what choosing its examples costs, once for all of its trainings.
        values: by proxy, `(configurations, seeds) float64`.
        costs: by proxy, likewise, in full trainings.
        judge: what searches are judged by, `(configurations, seeds of the target) float64`.
        curves: the target after each epoch, `(configurations, seeds of the target, epochs) float64`; none if the table
            has no curves of it.
    """

    table: str
    metric: str
    unit: str
    judged_by: str
    configurations: tuple[dict[str, Any], ...]
    space: tuple[Parameter, ...]
    epochs: Mapping[str, int]
    seeds: Mapping[str, tuple[int, ...]]
    choice_costs: Mapping[str, float]
    values: Mapping[str, Floats]
    costs: Mapping[str, Floats]
    judge: Floats
    curves: Floats | None = None
    _encoded: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_encoded", np.array([self._encode(each) for each in self.configurations]))

    def __len__(self) -> int:
        return len(self.configurations)

    @property
    def proxies(self) -> tuple[str, ...]:
        """Spellings, the cheapest first, the target last."""
        return tuple(self.values)

    @classmethod
    def load(cls, path: str | Path) -> Blackbox:
        """Reads a box: an `.npz` file, and beside it a `.json` file of the same name."""
        path = Path(path)
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".npz")) as arrays:
            values = {proxy: arrays[f"value_{place}"] for place, proxy in enumerate(about["proxies"])}
            costs = {proxy: arrays[f"cost_{place}"] for place, proxy in enumerate(about["proxies"])}
            judge = arrays["judge"]
            curves = arrays.get("curves")
        space = tuple(Parameter(**{**each, "choices": tuple(each["choices"])}) for each in about["space"])
        texts = {name: about[name] for name in ("table", "metric", "unit", "judged_by")}
        seeds = {proxy: tuple(each) for proxy, each in about["seeds"].items()}
        return cls(
            **texts,
            configurations=tuple(about["configurations"]),
            space=space,
            epochs=about["epochs"],
            seeds=seeds,
            choice_costs=about["choice_costs"],
            values=values,
            costs=costs,
            judge=judge,
            curves=curves,
        )

    def save(self, path: str | Path) -> None:
        """Writes the two files that `load` reads."""
        path = Path(path)
        arrays = {"judge": self.judge} | ({} if self.curves is None else {"curves": self.curves})
        for place, proxy in enumerate(self.proxies):
            arrays |= {f"value_{place}": self.values[proxy], f"cost_{place}": self.costs[proxy]}
        names = ("table", "metric", "unit", "judged_by", "configurations", "epochs", "choice_costs")
        about = {name: getattr(self, name) for name in names}
        about |= {"proxies": self.proxies, "seeds": {proxy: list(each) for proxy, each in self.seeds.items()}}
        about |= {"space": [asdict(each) for each in self.space]}
        np.savez_compressed(path.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]
        path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def part_of(self, replicate: int, share: float) -> list[int]:
        """Numbers of the configurations that a replicate may choose from: the default, and a random part of the others.

        Replicates of one table would else all look for the same best configuration.
        """
        others = np.random.default_rng([replicate, len(self)]).permutation(np.arange(1, len(self)))
        return [0, *sorted(map(int, others[: max(1, round(share * len(self)) - 1)]))]

    def part(self, numbers: Collection[int]) -> Blackbox:
        """The table of these configurations, which are numbered anew in this order."""
        rows = list(numbers)
        return replace(
            self,
            configurations=tuple(self.configurations[number] for number in rows),
            values={proxy: each[rows] for proxy, each in self.values.items()},
            costs={proxy: each[rows] for proxy, each in self.costs.items()},
            judge=self.judge[rows],
            curves=None if self.curves is None else self.curves[rows],
        )

    def replay(self, replicate: int, budget: float) -> Replay:
        """A search's trainings from the first one on.

        Args:
            replicate: its number chooses which seeds the search sees.
            budget: in full trainings.
        """
        return Replay(self, replicate, budget)

    def order_of(self, replicate: int) -> tuple[int, ...]:
        """Seeds of the target: those that a search sees, then the one that judges it.

        With three seeds a replicate sees two and is judged by the third. With two it sees one, and there is no second
        one to ask for. With one it is judged by what it sees, which flatters whatever chooses the luckiest training.
        """
        seeds = self.seeds[TARGET][:3]
        orders = PERMUTATIONS if len(seeds) == 3 else tuple(permutations(range(len(seeds))))
        return tuple(seeds[place] for place in orders[replicate % len(orders)])

    def regret(self, replicate: int, configuration: int) -> float:
        """How far a configuration is below the best one, both by the seed that judges the replicate."""
        column = self.judge[:, self.seeds[TARGET].index(self.order_of(replicate)[-1])]
        return float(column.max() - column[configuration])

    def regret_at(self, replicate: int, trace: Iterable[tuple[float, int]], cost: float) -> float:
        """The regret of what a search recommended last at that cost; of the default before it recommended anything.

        A search that plans for its whole budget (`halving`, `screen`) needs a replay for each cost that it is asked at.
        """
        chosen = 0
        for spent, configuration in trace:
            if spent <= cost + 1e-9:
                chosen = configuration
        return self.regret(replicate, chosen)

    def nearest(self, values: Mapping[str, Any], exclude: Collection[int] = ()) -> int:
        """The configuration nearest to proposed values.

        Distances of the hyperparameters add up: between numbers that of their places between the bounds (of their
        logarithms where the scale is one), between different choices 1. The first of equally near ones counts.

        Args:
            values: one for each hyperparameter of the space; others are ignored.
            exclude: numbers of configurations that it must not be, unless nothing else is left.
        """
        difference = np.abs(self._encoded - np.array(self._encode(values)))
        chosen = [place for place, each in enumerate(self.space) if each.kind == "categorical"]
        difference[:, chosen] = np.where(difference[:, chosen] > 0, 1.0, difference[:, chosen])
        # Rounded, so that equally near ones tie; what a configuration does not use cannot be far from anything.
        distance = np.round(np.nansum(difference, axis=1), 9)
        if len(set(exclude)) < len(self):
            distance[list(exclude)] = np.inf
        return int(distance.argmin())

    def _encode(self, values: Mapping[str, Any]) -> list[float]:
        return [each.place(values[each.name]) if each.name in values else math.nan for each in self.space]


class Replay:
    """One search's trainings: what they answer, what they cost, and what the search recommended when.

    Attributes:
        box: the table.
        replicate: the number that chose the seeds.
        budget: in full trainings.
        cost: spent so far, likewise.
        trace: `(cost so far, configuration)` whenever the recommendation changed.
    """

    def __init__(self, box: Blackbox, replicate: int, budget: float) -> None:
        self.box, self.replicate, self.budget = box, replicate, budget
        self.cost = 0.0
        self.trace: list[tuple[float, int]] = []
        self._seen = box.order_of(replicate)[:-1] or box.order_of(replicate)
        self._epochs: dict[tuple[int, int], int] = {}  # of the target, by configuration and order
        self._trained: dict[tuple[str, int], set[int]] = {}
        self._chosen: set[str] = set()
        self._turns: dict[tuple[str, int | None], Counter[int]] = {}  # of configurations, by what was proposed
        self._free = 0

    def train(self, configuration: int, proxy: str = TARGET, order: int = 0) -> float:
        """The value of a training, which is paid for the first time that it is asked for.

        The target continues a training that `train_to` began. A proxy's first training also pays for choosing examples.

        Args:
            configuration: its number.
            proxy: a spelling that the box has.
            order: 0 for the search's first seed, 1 for its second.

        Raises:
            BudgetSpent: it does not fit.
            ValueError: the box has no such proxy or seed.
        """
        place = self.column(proxy, order)
        if proxy == TARGET:
            self._go_on(configuration, self.box.epochs[TARGET], order)
        elif configuration in self.trained(proxy, order):
            self._answer_free()
        else:
            choice = 0.0 if proxy in self._chosen else self.box.choice_costs.get(proxy, 0.0)
            self._pay(self.price(configuration, proxy, order) + choice)
            self._chosen.add(proxy)
            self._trained.setdefault((proxy, order), set()).add(configuration)
        return float(self.box.values[proxy][configuration, place])

    def train_to(self, configuration: int, epoch: int, order: int = 0) -> float:
        """The target's value after one of its epochs, counted from 1; only epochs that are new are paid for.

        Raises:
            BudgetSpent: they do not fit.
            ValueError: the box has no curves, or no such epoch or seed.
        """
        place = self.column(TARGET, order)
        if self.box.curves is None:
            raise ValueError(f"{self.box.table} has no curves of the target: train proxies instead")
        if not 1 <= epoch <= self.box.epochs[TARGET]:
            raise ValueError(f"the target has {self.box.epochs[TARGET]} epochs, counted from 1: not {epoch}")
        self._go_on(configuration, epoch, order)
        return float(self.box.curves[configuration, place, epoch - 1])

    def price(self, configuration: int, proxy: str = TARGET, order: int = 0) -> float:
        """What a whole training costs that nothing is known of, without choosing its examples."""
        return float(self.box.costs[proxy][configuration, self.column(proxy, order)])

    def recommend(self, configuration: int) -> None:
        """Notes what the search would return if it ended here."""
        if not self.trace or self.trace[-1][1] != configuration:
            self.trace.append((self.cost, int(configuration)))

    def trained(self, proxy: str = TARGET, order: int = 0, epoch: int | None = None) -> set[int]:
        """Configurations that are trained already; for the target up to an epoch, else the last one."""
        if proxy != TARGET:
            return self._trained.get((proxy, order), set())
        needed = self.box.epochs[TARGET] if epoch is None else epoch
        return {each for (each, of), done in self._epochs.items() if of == order and done >= needed}

    def nearest(self, values: Mapping[str, Any], exclude: Collection[int] = ()) -> int:
        """See `Blackbox.nearest`; `propose` leaves out what is trained."""
        return self.box.nearest(values, exclude)

    def propose(self, values: Mapping[str, Any], proxy: str = TARGET, epoch: int | None = None) -> int:
        """The nearest configuration that is not trained yet at this fidelity.

        Packages believe that they propose something new, and would else learn nothing from what they pay for. When all
        are trained each gets another turn, the nearest first, at which what is known is free: a search that stops
        trainings for good can so go on with one that it stopped before it knew the others.
        """
        exclude, turns = self.trained(proxy, epoch=epoch), self._turns.setdefault((proxy, epoch), Counter())
        if len(exclude) == len(self.box):
            least = min(turns[each] for each in exclude)
            exclude = {each for each in exclude if turns[each] > least}
        chosen = self.box.nearest(values, exclude)
        turns[chosen] += 1
        return chosen

    def column(self, proxy: str, order: int) -> int:
        """The column of `Blackbox.values` that a search's first (order 0) or second seed is in.

        A proxy may have fewer seeds than the target: a search takes its own one where there is, else one that the
        other order does not take.
        """
        if proxy not in self.box.values:
            raise ValueError(f"{self.box.table} has no proxy {proxy}: it has {', '.join(self.box.proxies)}")
        seeds = self.box.seeds[proxy]
        if order >= min(len(self._seen), len(seeds)):
            raise ValueError(
                f"a search sees {min(len(self._seen), len(seeds))} seeds of {proxy}: order {order} is none"
            )
        own = self._seen[order]
        if own in seeds:
            return seeds.index(own)
        others = set(self._seen) - {own}
        left = [place for place, seed in enumerate(seeds) if seed not in others] or range(len(seeds))
        return left[0]

    def _go_on(self, configuration: int, epoch: int, order: int) -> None:
        done = self._epochs.get((configuration, order), 0)
        if done >= epoch:
            self._answer_free()
            return
        self._pay(self.price(configuration, TARGET, order) * (epoch - done) / self.box.epochs[TARGET])
        self._epochs[configuration, order] = epoch

    def _pay(self, price: float) -> None:
        if self.cost + price > self.budget + 1e-9:
            raise BudgetSpent(f"{price:.3g} more than the {self.cost:.3g} of {self.budget:g} full trainings do not fit")
        self.cost += price
        self._free = 0

    def _answer_free(self) -> None:
        self._free += 1
        if self._free > MOST_FREE:
            raise BudgetSpent(f"the last {MOST_FREE} questions were all answered before")
