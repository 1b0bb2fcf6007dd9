"""The direction of a metric follows from its name, or is asked for; it is never guessed."""

from __future__ import annotations

import pytest

from proxyflow.core.errors import InvalidValue
from proxyflow.trainers.user_code import UserCodeSettings


@pytest.mark.parametrize(
    ("name", "goal", "share"),
    [
        ("valid_loss", "minimize", False),
        ("eval/loss", "minimize", False),
        ("val.RMSE", "minimize", False),
        ("word-error-rate", "minimize", False),
        ("perplexity", "minimize", False),
        ("brier", "minimize", False),
        ("valid_accuracy", "maximize", True),
        ("val_acc", "maximize", True),
        ("top5", "maximize", True),
        ("macro F1", "maximize", False),
        ("roc_auc", "maximize", False),
        ("silhouette_score", "maximize", False),
    ],
)
def test_names_that_tell(name: str, goal: str, share: bool) -> None:
    metric = UserCodeSettings(name).resolve()
    assert (metric.name, metric.goal, metric.share) == (name, goal, share)


@pytest.mark.parametrize(
    "name",
    [
        "quality",
        "glossary",
        "misaccuracy",
        "brier_score",
        "accuracy_loss",
        "neg_log_loss",
        "neg_mean_squared_error",
        "x",
    ],
)
def test_names_that_do_not_tell(name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        UserCodeSettings(name).resolve()
    assert (caught.value.name, caught.value.value) == ("metric", name)
    assert UserCodeSettings(name, goal="maximize").resolve().goal == "maximize"


def test_what_is_said_counts_more_than_the_name() -> None:
    metric = UserCodeSettings("valid_accuracy", goal="minimize", aggregate="last").resolve()
    assert (metric.goal, metric.aggregate, metric.share) == ("minimize", "last", False)
    assert UserCodeSettings("valid_accuracy", share=False).resolve().share is False
    assert UserCodeSettings("auc", share=True).resolve().share is True


@pytest.mark.parametrize("name", ["", "a\nb", "/x", "a" * 300, "loss;drop"])
def test_a_name_that_no_store_takes_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        UserCodeSettings(name)
    assert caught.value.name == "metric"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("valid_los", "valid_loss"),
        ("acuracy", "accuracy"),
        ("my_number", ""),
        ("loss_acc", ""),
        ("spearman_r", ""),
        ("duality_gap", ""),
        ("pearson_r", ""),
    ],
)
def test_a_name_with_a_slip_suggests_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        UserCodeSettings(name).resolve()
    assert ("did you mean" in caught.value.rule) == bool(meant)
    assert meant in caught.value.rule
