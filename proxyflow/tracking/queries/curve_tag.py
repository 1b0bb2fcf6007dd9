"""A training's epochs in one tag, besides its metrics: a search for runs returns tags, but histories only one by one.

For a report of 20,000 trainings that is the difference between no further request and 900 of them. The
metrics are authoritative: trainings without a valid tag are queried for them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from proxyflow.tracking.queries.histories import POINT, Points, columns_of

# MLflow's servers take 8,000 characters in a tag, older ones 5,000.
LONGEST = 5000


def tag_of(curves: Mapping[str, Sequence[float]], metric: str) -> str | None:
    """The tag's text; None where it would be too long, there are no values, or JSON cannot represent one.

    Args:
        curves: name to values of the epochs from 1 on, all equally many; those of `metric` and of
            `histories.METRICS` are kept.
        metric: what the training is judged by.
    """
    kept = {name: [float(value) for value in curves[name]] for name in columns_of(metric) if name in curves}
    if not kept.get(metric) or not all(math.isfinite(value) for values in kept.values() for value in values):
        return None
    text = json.dumps(kept, separators=(",", ":"))
    return text if len(text) <= LONGEST else None


def points_of(text: str, run: int, metric: str) -> Points | None:
    """The values of a tag as `histories` gives them; None where it is not what `tag_of` writes.

    Args:
        run: the position that the points have for the run.
        metric: what the training is judged by.
    """
    if not text or len(text) > LONGEST:
        return None
    known = columns_of(metric)
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or metric not in found or not found.keys() <= known.keys():
            return None
        columns = [column for name in found for column in known[name]]
        values = np.array([found[name] for name in found for _ in known[name]], dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    if values.ndim != 2 or not values.size:
        return None
    epochs = values.shape[1]
    points = np.empty(values.size, dtype=POINT)
    points["run"], points["metric"] = run, np.repeat(columns, epochs)
    points["epoch"], points["value"] = np.tile(np.arange(1, epochs + 1), len(columns)), values.ravel()
    return points
