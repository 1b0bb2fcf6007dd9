"""The summary of a score table: every column described, so that nobody has to know the formulas to read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxyflow.scores import score_of
from proxyflow.scores.apply import CORRECT
from proxyflow.scores.table import ExampleScores

QUANTILES = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)


def summarize(scores: ExampleScores, agreement: Mapping[str, float | None] | None = None) -> dict[str, Any]:
    """The description of a score table, as JSON values.

    Args:
        agreement: score name to mean rank correlation between repeats; empty without repeats.
    """
    frame = scores.frame
    described = {}
    for name in scores.names:
        score = score_of(name)
        assert score is not None
        described[name] = {
            "description": score.description,
            "source": score.source,
            "higher_is_harder": score.higher_is_harder,
            "mean": float(frame[name].mean()),
            "std": float(frame[name].std(ddof=0)),
            "quantiles": {str(q): float(frame[name].quantile(q)) for q in QUANTILES},
            "agreement_between_repeats": (agreement or {}).get(name),
        }
    return {"n_examples": len(frame), "measures": described, "correct": float(frame[CORRECT].mean())}
