"""Figures and tables of scores: easiest and hardest examples, histograms, correlations, class balance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from proxyflow.core.files import atomic_write
from proxyflow.core.plotting import escape_mathtext, save_figure, subplots
from proxyflow.core.seeds import generator
from proxyflow.data.images.store import images_of
from proxyflow.data.protocol import Dataset
from proxyflow.scores import score_of
from proxyflow.scores.table import ExampleScores
from proxyflow.strategies import ExamplePool
from proxyflow.strategies.budget import count
from proxyflow.strategies.ranking import hardest_first

# Scores with figures of examples; the others are in the tables only.
DRAWN = ("loss", "heldout_loss")
CUTS = (0.05, 0.1, 0.25, 0.5, 0.75)
MAX_CLASSES, PER_SIDE, TILE, GAP = 20, 8, 56, 2
COLUMNS = 5


def draw_scores(dataset: Dataset, scores: ExampleScores, folder: Path) -> None:
    """Writes `figures/*.png`, `rank_correlation.csv` and `class_balance.csv`."""
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    order = {name: _hardest_first(scores, name) for name in scores.names}
    for name in DRAWN:
        if name in order:
            if dataset.modality == "images":
                draw_examples(dataset, order[name], name, figures)
            draw_histograms(dataset, scores.frame[name].to_numpy(), name, figures)
    correlations = rank_correlation(scores)
    draw_correlation(correlations, figures)
    balance = class_balance(dataset, order)
    for name in DRAWN:
        if name in order:
            draw_balance(dataset, balance[balance["score"] == name], name, figures)
    for table, path in ((correlations, "rank_correlation.csv"), (balance, "class_balance.csv")):
        with atomic_write(folder / path) as temporary:
            table.to_csv(temporary, index=table is correlations, index_label="score" if table is correlations else None)


def _hardest_first(scores: ExampleScores, name: str) -> NDArray[np.int64]:
    frame = scores.frame
    columns = {each: frame[each].to_numpy(np.float64) for each in {name, "margin"}}
    labels, hashes = frame["label"].to_numpy(np.int64), frame["content_hash"].to_numpy(str)
    return hardest_first(
        ExamplePool(frame["example_id"].to_numpy(), labels, hashes, columns), name, generator(0, "pictures")
    )


def rank_correlation(scores: ExampleScores) -> pd.DataFrame:
    """Spearman correlation of hardness between all scores; empty if a score is constant."""
    hardness: dict[str, NDArray[np.float64]] = {}
    for name in scores.names:
        score = score_of(name)
        assert score is not None
        values = score.hardness(scores.frame[name].to_numpy())
        # Skips duplicates: the plain name of an early score equals that of its first epoch.
        if not any(np.array_equal(values, other) for other in hardness.values()):
            hardness[name] = values
    # Spearman's correlation is Pearson's of the ranks.
    return pd.DataFrame(hardness).rank().corr()


def class_balance(dataset: Dataset, order: dict[str, NDArray[np.int64]]) -> pd.DataFrame:
    """Columns `score`, `cut` (easiest or hardest), `fraction`, `class`, `n`, `share`, and `share_of_all`."""
    labels, names = dataset.train.labels, dataset.class_names
    all_counts = np.bincount(labels, minlength=len(names))
    rows = []
    for score, hardest in order.items():
        for cut, ranked in (("easiest", hardest[::-1]), ("hardest", hardest)):
            for fraction in CUTS:
                size = max(1, count(fraction, len(ranked)))
                counts = np.bincount(labels[ranked[:size]], minlength=len(names))
                shares, of_all = counts / size, all_counts / len(labels)
                columns = zip(names, counts.tolist(), shares.tolist(), of_all.tolist(), strict=True)
                rows += [(score, cut, fraction, *values) for values in columns]
    return pd.DataFrame(rows, columns=["score", "cut", "fraction", "class", "n", "share", "share_of_all"])


def draw_examples(dataset: Dataset, hardest: NDArray[np.int64], name: str, folder: Path) -> None:
    """Draws the easiest and the hardest examples of each class."""
    labels, classes = dataset.train.labels[hardest], _shown(dataset)
    step, middle = TILE + GAP, TILE // 2
    contact_sheet = np.full((len(classes) * step, 2 * PER_SIDE * step + middle, 3), 255, dtype=np.uint8)
    for row, label in enumerate(classes):
        ranked = hardest[labels == label]
        # Small classes have fewer tiles, so that no example appears twice.
        easy = ranked[::-1][: min(PER_SIDE, len(ranked) - len(ranked) // 2)]
        hard = ranked[: min(PER_SIDE, len(ranked) // 2)]
        for side, positions in ((0, easy), (PER_SIDE * step + middle, hard[::-1])):
            for column, position in enumerate(positions):
                left = side + (PER_SIDE - len(positions) if side else 0) * step + column * step
                contact_sheet[row * step : row * step + TILE, left : left + TILE] = _tile(dataset, int(position))
    with subplots(1, 1, 11, 0.9 + 0.62 * len(classes)) as (figure, axes):
        axis = axes[0, 0]
        axis.imshow(contact_sheet, interpolation="nearest", aspect="equal")
        axis.set_title(f"{name}: easiest examples of each class on the left, hardest on the right{_left_out(dataset)}")
        axis.set_yticks(
            [row * step + TILE / 2 for row in range(len(classes))],
            [escape_mathtext(dataset.class_names[c]) for c in classes],
        )
        axis.set_xticks([])
        axis.grid(visible=False)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        save_figure(figure, folder, f"examples_{name}", svg=False)


def _tile(dataset: Dataset, position: int) -> NDArray[np.uint8]:
    """An image in the middle of a white square, `(TILE, TILE, 3)`."""
    pixels = images_of(dataset.train).image(position)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    scale = TILE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    filter = Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.NEAREST
    tile = Image.new("RGB", (TILE, TILE), "white")
    tile.paste(image.resize((width, height), filter), ((TILE - width) // 2, (TILE - height) // 2))
    return np.asarray(tile)


def draw_histograms(dataset: Dataset, values: NDArray[np.float64], name: str, folder: Path) -> None:
    """Draws the distribution of a score within each class, on a logarithmic axis."""
    classes, labels = _shown(dataset), dataset.train.labels
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if len(positive) else (1e-3, 1.0)
    bins = np.geomspace(low, high if high > low else low * 10, 41)
    rows = -(-len(classes) // COLUMNS)
    with subplots(min(COLUMNS, len(classes)), rows, 12, 1.0 + 1.7 * rows, sharex=True, sharey=True) as (figure, axes):
        for axis, label in zip(axes.flat, classes, strict=False):
            own = np.maximum(values[labels == label], low)
            axis.stairs(*np.histogram(own, bins), fill=True, color="#0072B2")
            axis.axvline(np.median(own), color="#D55E00", linewidth=1.4)
            axis.set_xscale("log")
            axis.set_title(escape_mathtext(dataset.class_names[label]), fontsize=9.5)
        for axis in list(axes.flat)[len(classes) :]:
            axis.set_axis_off()
        figure.supxlabel(f"{name}, a bar at the median{_left_out(dataset)}", fontsize=10)
        figure.supylabel("examples", fontsize=10)
        save_figure(figure, folder, f"histogram_{name}", svg=False)


def draw_correlation(table: pd.DataFrame, folder: Path) -> None:
    """Draws the matrix of rank correlations between scores."""
    size = 2.4 + 0.5 * len(table)
    with subplots(1, 1, size + 0.6, size) as (figure, axes):
        axis = axes[0, 0]
        axis.imshow(table.to_numpy(), cmap="RdBu", vmin=-1, vmax=1)
        ticks = range(len(table))
        axis.set_xticks(ticks, table.columns, rotation=45, ha="right", fontsize=8.5)
        axis.set_yticks(ticks, table.index, fontsize=8.5)
        for row in ticks:
            for column in ticks:
                value = float(table.iat[row, column])  # type: ignore[arg-type]
                text = f"{value:.2f}" if np.isfinite(value) else ""
                colour = "white" if abs(value) > 0.6 else "#222222"
                axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
        axis.set_title("rank correlation of hardness between scores")
        axis.grid(visible=False)
        save_figure(figure, folder, "rank_correlation", svg=False)


def draw_balance(dataset: Dataset, table: pd.DataFrame, name: str, folder: Path) -> None:
    """Draws, for each class and cut, its share in the cut divided by its share of all examples."""
    classes = [escape_mathtext(dataset.class_names[c]) for c in _shown(dataset)]
    cuts = list(dict.fromkeys(zip(table["cut"], table["fraction"], strict=True)))
    ratio = np.array(
        [
            [
                float(rows["share"].iloc[0] / rows["share_of_all"].iloc[0])
                for _, rows in table[(table["cut"] == cut) & (table["fraction"] == fraction)].groupby(
                    "class", sort=False
                )
            ][: len(classes)]
            for cut, fraction in cuts
        ]
    )
    with subplots(1, 1, 3.2 + 0.62 * len(classes), 1.7 + 0.34 * len(cuts)) as (figure, axes):
        axis = axes[0, 0]
        with np.errstate(divide="ignore"):
            axis.imshow(np.clip(np.log2(ratio), -2, 2), cmap="PuOr", vmin=-2, vmax=2, aspect="auto")
        axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=8.5)
        axis.set_yticks(range(len(cuts)), [f"{cut} {fraction:.0%}" for cut, fraction in cuts], fontsize=8.5)
        for row, column in np.ndindex(ratio.shape):
            strong = not 0.4 < ratio[row, column] < 2.5
            colour = "white" if strong else "#222222"
            axis.text(column, row, f"{ratio[row, column]:.1f}", ha="center", va="center", fontsize=7.5, color=colour)
        axis.set_title(f"{name}: share of each class in a cut over its share of all{_left_out(dataset)}")
        axis.grid(visible=False)
        save_figure(figure, folder, f"class_balance_{name}", svg=False)


def _shown(dataset: Dataset) -> list[int]:
    """Labels of the classes to draw."""
    return list(range(min(MAX_CLASSES, len(dataset.class_names))))


def _left_out(dataset: Dataset) -> str:
    total = len(dataset.class_names)
    return f" (the first {MAX_CLASSES} of {total} classes)" if total > MAX_CLASSES else ""
