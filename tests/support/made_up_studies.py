"""Made-up studies for the report: of the published size and quality, tiny, with hostile names, and with next to nothing."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from made_up import training, trainings_frame

from proxyflow.studies.presets import PUBLISHED
from proxyflow.trainers.images.grids import paper_grid

TABLE = Path(__file__).parents[1] / "golden" / "table2.csv"
HOSTILE = "</script><img src=x onerror=alert(1)> & 数据 $x^2$ <b>“é”\u2028"


def published_strategies() -> dict[str, tuple[float, float]]:
    """The published strategies as (relative cost, r2)."""
    found = {}
    for row in csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()):
        name = PUBLISHED[row["strategy_size"]]
        found[name] = (float(row["relative_cost"]), float(row["r2"]))
    return found


def published_study(
    datasets: Sequence[str] = ("imagenette", "imagewoof"), seeds: int = 1, strategies: Sequence[str] = ()
) -> pd.DataFrame:
    """Trainings of 36 configurations whose proxies are about as good as the published ones."""
    grid = paper_grid()
    rows: list[dict[str, Any]] = []
    for number, dataset in enumerate(datasets):
        quality = np.random.default_rng([7, number]).normal(0, 1, len(grid))
        shared = np.random.default_rng(7).normal(0, 1, len(grid))
        quality = 0.6 * quality + 0.8 * shared - 1.5 * np.array(["lr=0.1" in each.name for each in grid])
        for strategy, (cost, r2) in published_strategies().items():
            if strategies and strategy not in strategies:
                continue
            for seed in range(seeds):
                rng = np.random.default_rng([number, seed, sum(strategy.encode())])
                noise = rng.normal(0, 1, len(grid))
                seen = np.sqrt(r2) * quality + np.sqrt(1 - r2) * noise + 0.06 * rng.normal(0, 1, len(grid))
                level, spread = (0.9, 0.025) if number == 0 else (0.76, 0.05)
                level -= 0.35 * (1 - cost) * (1 + number)
                accuracy = np.round(np.clip(level + spread * seen, 0.1, 0.98), 3)
                for each, value in zip(grid, accuracy, strict=True):
                    rows.append(
                        training(
                            strategy,
                            each.name,
                            float(value),
                            dataset=dataset,
                            seed=seed,
                            run_id=f"{len(rows):032x}",
                            dataset_fingerprint=f"{number + 10:02x}" * 32,
                            device="Tesla P100",
                            train_seconds=1800 * cost * float(rng.uniform(0.95, 1.05)),
                            examples_seen=180_000 * cost,
                            n_valid=500,
                            precision="fp16",
                        )
                    )
    return frame(rows)


# Strategy to (relative cost, r2), as a study with combinations of reductions may have them.
COMBINED = {
    "full": (1.0, 1.0),
    "random:0.25": (0.25, 0.65),
    "epochs:5": (0.25, 0.62),
    "random:0.25+epochs:5": (0.0625, 0.45),
    "epochs:5+size:16": (0.07, 0.52),
    "random:0.25+epochs:5+size:16": (0.02, 0.3),
    "random:0.25+epochs:5+size:16+width:0.5": (0.01, 0.2),
    "random:0.5+epochs:5+size:16+width:0.5": (0.012, 0.25),
}


def combined_study() -> pd.DataFrame:
    """36 configurations with combinations of up to four parts; three configurations learn nothing on the cheapest."""
    grid = paper_grid()
    quality = np.random.default_rng(7).normal(0, 1, len(grid))
    rows = []
    for strategy, (cost, r2) in COMBINED.items():
        rng = np.random.default_rng(sum(strategy.encode()))
        seen = np.sqrt(r2) * quality + np.sqrt(1 - r2) * rng.normal(0, 1, len(grid))
        accuracy = np.round(0.9 - 0.4 * (1 - cost) ** 3 + 0.03 * seen, 3)
        if cost < 0.05:
            accuracy[[3, 20, 21]] = 0.11
        costs = {"train_seconds": 100 * cost, "examples_seen": 25_600 * cost, "steps": float(round(400 * cost))}
        rows += [
            training(strategy, each.name, float(value), run_id=f"{len(rows) + n:032x}", chance_objective=0.1, **costs)
            for n, (each, value) in enumerate(zip(grid, accuracy, strict=True))
        ]
    return frame(rows)


def tiny_study() -> pd.DataFrame:
    """Two strategies and two configurations, of which one failed: nothing can be measured."""
    return frame(
        [
            training("full", "default", 0.9),
            training("full", "lr=0.01", 0.8),
            training("random:0.1", "default", 0.5, device="cpu"),
            training("random:0.1", "lr=0.01", float("nan"), status="failed", error="out of memory"),
        ]
    )


def hostile_study() -> pd.DataFrame:
    """Names that break out of whatever does not escape them, in every place that a name can stand."""
    rows = []
    for dataset in (f"folder:/{HOSTILE}", "données/花"):
        rng = np.random.default_rng(len(dataset))
        target = rng.uniform(0.5, 0.9, 8)
        for strategy, noise in (("full", 0.0), ("random:0.1", 0.05), (f"newer:{HOSTILE}", 0.1)):
            for index, value in enumerate(target + noise * rng.normal(size=8)):
                config = "default" if not index else f"lr={index},note={HOSTILE}"
                rows.append(
                    training(
                        strategy,
                        config,
                        float(value),
                        dataset=dataset,
                        dataset_fingerprint=HOSTILE,
                        device=HOSTILE,
                        run_id=f"{HOSTILE}-{len(rows)}",
                    )
                )
    return frame(rows)


def constant_study() -> pd.DataFrame:
    """The target alone, and all of it diverged to the same accuracy."""
    rows = [training("full", f"lr={rate}", 0.1, diverged=True, train_seconds=float("nan")) for rate in (1, 2, 3, 4)]
    return frame(rows)


def untargeted_study() -> pd.DataFrame:
    """Proxies without a target, and a target that still runs."""
    rows = [training("random:0.1", f"lr={rate}", rate / 10) for rate in (1, 2, 3)]
    return frame([*rows, training("full", "default", float("nan"), status="running")])


def empty_study() -> pd.DataFrame:
    """No training at all."""
    return frame([])


def target_curves(trainings: pd.DataFrame, epochs: int = 20) -> pd.DataFrame:
    """Values of the target's runs after each epoch, which rise to the best with noise that fades."""
    target = trainings[trainings["strategy"] == "full"]
    left = 1 - np.arange(1, epochs + 1) / epochs
    noise = np.random.default_rng(3).normal(0, 0.04, (len(target), epochs))
    best = target["objective"].to_numpy(dtype=float)[:, None]
    return pd.DataFrame(
        {
            "run_id": np.repeat(target["run_id"].to_numpy(), epochs),
            "epoch": np.tile(np.arange(1, epochs + 1), len(target)),
            "objective": (best - (0.4 + noise) * left**2).ravel(),
        }
    )


def frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as the tracking reader gives them, with text empty rather than missing."""
    found = trainings_frame(rows)
    text = ["dataset_fingerprint", "subset_fingerprint", "device", "precision", "error", "run_key"]
    n_valid = pd.Series(500, found.index, dtype="Int64")
    filled = {name: found[name].astype(object).where(found[name].notna(), "") for name in text}
    return found.assign(**filled, n_valid=n_valid)
