"""The README's picture: what a search loses at each cost, beside random search and training everything in full.

    python -m benchmarks.search_picture --tables reports/digits reports/sections reports/fashion-4k reports/emoji

It draws `benchmarks/results/search/all/test-regret.csv`, which `python -m benchmarks.search` writes, into
docs/images/search.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmarks.peers.blackbox import TARGET, Blackbox
from benchmarks.search import OURS, PART, Case

ROOT = Path(__file__).parents[1]
REGRET = ROOT / "benchmarks" / "results" / "search" / "all" / "test-regret.csv"
PICTURE = ROOT / "docs" / "images" / "search.png"
SHOWN = {OURS: ("proxyflow search", "#0b6e4f"), "random search": ("random search in full", "#8a8f98")}
REPLICATES = 120


def full_regret(box: Blackbox) -> float:
    """In points: of the best by one training in full of every configuration, over replicates."""
    lost = []
    for replicate in range(REPLICATES):
        part = np.array(box.part_of(replicate, PART))
        values = box.values[TARGET][part, box.replay(replicate, np.inf).column(TARGET, 0)]
        judge = box.seeds[TARGET].index(box.order_of(replicate)[-1])
        best = box.judge[part].mean(axis=1).max()
        lost.append(best - box.judge[part[np.argmax(values)], judge])
    return float(np.mean(lost)) * 100


def draw(regret: pd.DataFrame, full: float, n: int, n_tables: int) -> None:
    """Writes the picture."""
    figure, axes = plt.subplots(figsize=(7.2, 3.6), dpi=120)
    over = regret[regret["table"] == "mean of tables"]
    for policy, (label, colour) in SHOWN.items():
        rows = over[over["policy"] == policy].sort_values("budget")
        axes.plot(rows["budget"], rows["regret"], marker="o", color=colour, label=label)
        axes.fill_between(rows["budget"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
    axes.plot([n], [full], marker="D", linestyle="", color="#b3541e", label=f"every one of {n} configurations in full")
    axes.set(xscale="log", yscale="log", xlabel="cost, in full trainings")
    axes.set_ylabel("points of accuracy lost")
    ticks = [2, 4, 8, 18, n]
    axes.set_xticks(ticks, [str(each) for each in ticks])
    axes.set_yticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.set_title(f"Mean over {n_tables} tables of real trainings, with 95 % intervals", fontsize=10, loc="left")
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", type=Path, required=True)
    parser.add_argument("--unit", default="flops")
    args = parser.parse_args()
    boxes = [Case.of(folder, args.unit).box for folder in args.tables]
    full = float(np.mean([full_regret(box) for box in boxes]))
    n = round(PART * len(boxes[0]))
    draw(pd.read_csv(REGRET), full, n, len(boxes))
    print(f"every one of {n} in full loses {full:.2f} points")


if __name__ == "__main__":
    main()
