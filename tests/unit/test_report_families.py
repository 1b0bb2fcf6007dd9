"""Figures tell families apart by colour and by shape, so each needs its own and each strategy its family."""

from __future__ import annotations

import pytest

from proxyflow.proxies import reductions
from proxyflow.reporting.families import (
    COMBINED,
    OTHER,
    family_of,
    family_styles,
    is_synthetic,
    style_of,
    styles_of,
)
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
        ("random:0.25+epochs:5", "Combinations"),
        ("random:0.25+epochs:5+size:16+width:0.5", "Combinations"),
        ("newer:0.1+other:x", "Combinations"),
        ("classes:0+3", "Class Subsets"),
        ("classes:0+3+epochs:2", "Combinations"),
        ("newer:0.1", "Other"),
        ("random:7", "Other"),
        ("", "Other"),
    ],
)
def test_a_strategy_has_its_family_and_an_unknown_one_is_other(strategy: str, family: str) -> None:
    assert family_of(strategy) == family


def test_every_family_has_a_colour_and_a_shape_of_its_own() -> None:
    styles = family_styles()
    assert {cls.family for cls in [*strategies.values(), *reductions.values()]} | {COMBINED, OTHER} == set(styles)
    for part in ("name", "light", "dark", "marker", "symbol", "path"):
        assert len({getattr(style, part) for style in styles.values()}) == len(styles), part


def test_looks_are_in_the_order_of_the_registry_and_a_foreign_family_looks_like_other() -> None:
    assert list(styles_of(["Fewer Epochs", "Baseline", "Newer", "Baseline"])) == ["Baseline", "Fewer Epochs", "Newer"]
    assert style_of("Newer") == style_of(OTHER)


def test_distilled_images_alone_are_synthetic() -> None:
    assert is_synthetic("distilled:10")
    assert [name for name in strategies if is_synthetic(f"{name}:0.1")] == ["distilled"]
    assert not is_synthetic("newer:0.1")
    assert is_synthetic("distilled:10+size:16")
    assert not is_synthetic("random:0.25+epochs:5")
