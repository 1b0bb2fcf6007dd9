"""A real search beside full trainings of random configurations: what it found, judged by what it has not seen.

    python -m benchmarks.live_search reports/searches/fashion

The folder has the search's `trials.csv` and `best.yaml`, and `reference.csv`: full trainings of random configurations,
of what the search trained in full, and of the default, with seeds that the search has not used. The first of these
seeds chooses among random configurations by validation, as a search would; the others judge by test examples that
nothing has seen. `--finalists` writes the grid of what the search trained in full; `--collect RUNS.csv` makes the
reference of a report's trainings.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy.special import comb

from proxyflow.spaces.space import Space
from proxyflow.trainers import ImageTrainer

FULL = "full"
RANDOM, SEED = 20, 7  # random configurations, as in reference.yaml


@dataclass(frozen=True)
class Live:
    """The outcome of a live search, in per cent.

    Attributes:
        spent: by the search, in full trainings.
        trained: its trainings by rung.
        found: test value of the configuration that it chose; of the default; of the best by test, which nobody could
            choose.
        random: test value that random search is expected to reach with 1, 2, … full trainings.
    """

    spent: float
    trained: dict[str, int]
    found: float
    default: float
    best: float
    random: tuple[float, ...]

    @property
    def equal(self) -> int | None:
        """The full trainings with which random search is expected to do as well; None if it never does."""
        return next((k for k, value in enumerate(self.random, start=1) if value >= self.found), None)

    @property
    def lines(self) -> list[str]:
        """What a report says of it."""
        rungs = ", ".join(f"{n} on `{rung}`" for rung, n in self.trained.items())
        k = round(self.spent)
        told = "never does as well" if self.equal is None else f"needs {self.equal} to do as well"
        by_random = f"{self.random[k - 1]:.2f} % with {k} full trainings and {self.random[-1]:.2f} % with"
        return [
            f"It made {sum(self.trained.values())} trainings ({rungs}) for {self.spent:.2f} full ones.",
            f"What it chose reaches {self.found:.2f} % of the test examples, the default {self.default:.2f} %, the "
            f"best of what it trained in full {self.best:.2f} %.",
            f"Random search reaches {by_random} {len(self.random)}; it {told}.",
        ]


def live(folder: Path) -> Live:
    """Reads a folder."""
    trials, reference = pd.read_csv(folder / "trials.csv"), pd.read_csv(folder / "reference.csv")
    seeds = sorted(reference["seed"].unique())
    first = reference[reference["seed"] == seeds[0]].set_index("config_json")["objective"]
    tested = reference[reference["seed"] != seeds[0]].groupby("config_json")["test_objective"].mean()
    roles = reference.groupby("config_json")["roles"].first().str.split()
    judged = {str(text): 100 * float(value) for text, value in tested.items()}
    random = roles.index[["random" in each for each in roles]]
    order = first[random].sort_values(ascending=False, kind="stable").index
    values, n = np.array([judged[str(text)] for text in order]), len(order)

    def of(role: str) -> list[float]:
        return [judged[str(text)] for text, each in roles.items() if role in each]

    return Live(
        spent=float(trials["cost"].sum()),
        trained={str(rung): int(count) for rung, count in trials["rung"].value_counts(sort=False).items()},
        found=of("chosen")[0],
        default=of("default")[0],
        best=max(of("finalist")),
        random=tuple(float(values @ (comb(n - 1 - np.arange(n), k - 1) / comb(n, k))) for k in range(1, n + 1)),
    )


def write_finalists(folder: Path) -> None:
    """Writes `finalists.yaml`: the default, and what the search trained in full."""
    trials = pd.read_csv(folder / "trials.csv")
    default = space_of(folder, set(json.loads(trials["config_json"].iloc[0]))).centre.to_json()
    texts = dict.fromkeys([default, *trials.loc[trials["rung"] == FULL, "config_json"]])
    head = "# The default, and what the search trained in full: python -m benchmarks.live_search FOLDER --finalists\n"
    (folder / "finalists.yaml").write_text(head + "".join(f"- {text}\n" for text in texts), encoding="utf-8")


def space_of(folder: Path, names: set[str]) -> Space:
    """The space of a search whose configurations have these hyperparameters."""
    schema = ImageTrainer().space
    return Space.load(folder / "space.yaml", schema if names <= set(schema.names) else None)


def collect(folder: Path, runs: Path) -> None:
    """Writes `reference.csv` from the trainings of a report."""
    table = pd.read_csv(runs)
    space = space_of(folder, set(json.loads(table["config_json"].iloc[0])))
    trials = pd.read_csv(folder / "trials.csv")
    best = space.configuration(yaml.safe_load((folder / "best.yaml").read_text(encoding="utf-8")), base=space.centre)
    roles: dict[str, list[str]] = {}
    for each in space.sample(RANDOM, SEED):
        roles.setdefault(each.to_json(), []).append("random")
    for text in trials.loc[trials["rung"] == FULL, "config_json"].drop_duplicates():
        roles.setdefault(text, []).append("finalist")
    roles.setdefault(space.centre.to_json(), []).append("default")
    roles.setdefault(best.to_json(), []).append("chosen")
    table["roles"] = [" ".join(roles.get(text, [])) for text in table["config_json"]]
    columns = ["roles", "config", "seed", "objective", "test_objective", "train_seconds", "config_json"]
    # Another search's finalists may be in the same study.
    table = table[table["roles"] != ""]
    table.sort_values(["roles", "config", "seed"])[columns].to_csv(folder / "reference.csv", index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--finalists", action="store_true", help="write finalists.yaml")
    parser.add_argument("--collect", type=Path, metavar="RUNS.csv", help="write reference.csv")
    args = parser.parse_args()
    if args.finalists:
        write_finalists(args.folder)
    elif args.collect:
        collect(args.folder, args.collect)
    else:
        print(*live(args.folder).lines, sep="\n")


if __name__ == "__main__":
    main()
