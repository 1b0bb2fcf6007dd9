"""Pictures of scores are made of any data set: odd class names, few examples, more classes than are drawn."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import noise_dataset, random_scores
from PIL import Image

from proxyflow.data.protocol import Dataset
from proxyflow.scoring.pictures import draw_histograms, draw_scores, rank_correlation

FIGURES = {"examples", "histogram", "class_balance"}


def drawn(dataset: Dataset, folder: Path) -> set[str]:
    draw_scores(dataset, random_scores(dataset.train), folder)
    found = set()
    for path in (folder / "figures").iterdir():
        with Image.open(path) as image:
            assert min(image.size) > 100
        found.add(path.stem)
    return found


@pytest.mark.parametrize(
    ("labels", "n_classes", "channels"),
    [(list(range(21)) * 2, 21, 3), ([0, 0, 1], 2, 1)],
)
def test_every_figure_is_drawn(labels: list[int], n_classes: int, channels: int, tmp_path: Path) -> None:
    dataset = noise_dataset(labels, labels[:3], n_classes, channels)
    names = tuple(f"$a_{number}$ %^{{" for number in range(n_classes))
    dataset = dataclasses.replace(dataset, class_names=names)
    scores = ("loss", "heldout_loss")
    assert drawn(dataset, tmp_path) == {f"{f}_{s}" for f in FIGURES for s in scores} | {"rank_correlation"}
    balance = pd.read_csv(tmp_path / "class_balance.csv")
    assert set(balance["class"]) == set(names)


def test_equal_losses_and_losses_of_nought_can_be_drawn(tmp_path: Path) -> None:
    dataset = noise_dataset([0, 1] * 5, [0, 1], 2)
    for value in (0.0, 1.5):
        draw_histograms(dataset, np.full(len(dataset.train), value), "loss", tmp_path)
        assert (tmp_path / "histogram_loss.png").stat().st_size > 1000


def test_rank_correlation_is_spearmans_of_hardness() -> None:
    from scipy.stats import spearmanr

    scores = random_scores(noise_dataset([0, 1] * 30, [0], 2).train)
    found = rank_correlation(scores)
    frame = scores.frame
    assert found.loc["loss", "margin"] == pytest.approx(-spearmanr(frame["loss"], frame["margin"]).statistic)
    assert found.loc["loss", "el2n"] == pytest.approx(spearmanr(frame["loss"], frame["el2n"]).statistic)
    assert np.allclose(np.diag(found), 1)


def test_the_same_column_is_shown_once() -> None:
    scores = random_scores(noise_dataset([0, 1] * 30, [0], 2).train)
    again = dataclasses.replace(scores, frame=scores.frame.assign(el2n_epoch_1=scores.frame["el2n"]))
    assert list(rank_correlation(again).columns) == list(rank_correlation(scores).columns)
