"""Figures tell families apart by colour alone, so each needs a colour of its own and each strategy its family."""

from __future__ import annotations

import pytest

from proxyflow.report.families import family_colours, family_of, is_synthetic
from proxyflow.strategies import strategies


@pytest.mark.parametrize(
    ("strategy", "family"),
    [
        ("full", "Baseline"),
        ("random:0.1", "Random Sample"),
        ("half-classes:0.5", "Half Classes"),
        ("other-half-classes:1.0", "Half Classes"),
        ("easiest:0.1,by=el2n", "Easy Examples"),
        ("hardest:0.5,drop=0.05", "Hard Examples"),
        ("epochs:5", "Fewer Epochs"),
        ("distilled:10", "Distillation"),
        ("newer:0.1", "Other"),
        ("random:7", "Other"),
        ("", "Other"),
    ],
)
def test_a_strategy_has_its_family_and_an_unknown_one_is_other(strategy: str, family: str) -> None:
    assert family_of(strategy) == family


def test_every_family_has_a_colour_of_its_own() -> None:
    colours = family_colours()
    assert {cls.family for cls in strategies.values()} | {"Distillation", "Other"} == set(colours)
    assert len(set(colours.values())) == len(colours)


def test_distilled_images_alone_are_synthetic() -> None:
    assert is_synthetic("distilled:10")
    assert not any(is_synthetic(f"{name}:0.1") for name in strategies)
