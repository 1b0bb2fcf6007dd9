"""What the page's scripts read: JSON that cannot end its element, and runs as columns, so that 20,000 stay small."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from proxyflow.quality.pairs import UNRANKED
from proxyflow.quality.runs import KEY, TARGET, canonicalize_datasets
from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.series import axis_label, dataset_styles, drawable, regression
from proxyflow.spaces.metric import Metric

WEB = ("http://", "https://")
SIGNIFICANT = 7


def as_json(value: Any) -> Markup:
    """JSON for a script element: no name in it can close the element or open another."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"))


def numbers(values: Any) -> list[float | None]:
    """Floats rounded to a few significant digits; None where there is none."""
    return [float(f"{value:.{SIGNIFICANT}g}") if math.isfinite(value) else None for value in values]


def coded(values: pd.Series) -> dict[str, Any]:
    """A column of texts as the different texts and their positions."""
    codes, names = pd.factorize(values.astype(str), sort=True)
    return {"names": [str(name) for name in names], "codes": codes.tolist()}


def all_runs(quality: StudyQuality, trainings: pd.DataFrame, links: Mapping[str, str]) -> tuple[dict[str, Any], Any]:
    """Every training as columns, and the frame in the same order.

    Returns:
        `id`, `seed`, `objective`, `steps`, `seconds` as lists, `dataset`, `strategy`, `config`, `status` coded, `links`
        (see `_links`); and the trainings, numbered from 0 as the lists are.
    """
    frame, _ = canonicalize_datasets(trainings)
    frame = frame.sort_values(KEY, kind="stable").reset_index(drop=True)
    counted = frame["run_id"].isin(quality.runs["run_id"])
    diverged = frame["diverged"].astype("boolean").fillna(False).astype(bool)
    state = frame["status"].astype(str).where(counted | (frame["status"] != "finished"), "finished, not counted")
    state = state.where(~diverged, state + ", diverged")
    unranked = set(quality.runs.loc[quality.runs[UNRANKED].fillna(False), "run_id"])
    state = state.where(~frame["run_id"].isin(unranked), state + ", unranked")
    ids = [str(run_id) for run_id in frame["run_id"]]
    # A training that diverged without a value counts with the worst one.
    filled = frame["run_id"].map(quality.runs.set_index("run_id")["objective"])
    objective = frame["objective"].fillna(filled)
    columns = {
        "id": ids,
        "seed": frame["seed"].tolist(),
        "objective": numbers(objective.to_numpy(dtype=float, na_value=np.nan)),
        "steps": numbers(frame["steps"].to_numpy(dtype=float, na_value=np.nan)),
        "seconds": numbers(frame["train_seconds"].to_numpy(dtype=float, na_value=np.nan)),
        "dataset": coded(frame["dataset"]),
        "strategy": coded(frame["strategy"]),
        "config": coded(frame["config"]),
        "status": coded(state),
        "links": _links(ids, links),
    }
    return columns, frame


def _links(ids: Sequence[str], links: Mapping[str, str]) -> Any:
    """The addresses of runs, None without a server: the text before and after each id where all have the same, else a
    list."""
    found = [url if url.startswith(WEB) else "" for url in (links.get(run_id, "") for run_id in ids)]
    if not any(found):
        return None
    before, run_id, after = found[0].partition(ids[0])
    if run_id and all(url == f"{before}{run_id}{after}" for url, run_id in zip(found, ids, strict=True)):
        return {"before": before, "after": after}
    return found


def all_pairs(quality: StudyQuality, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Per strategy the rows of its pairs' runs on the proxy and on the target, and a line per data set.

    Args:
        frame: the runs as `all_runs` orders them.
    """
    counted = frame[frame["run_id"].isin(quality.runs["run_id"])]
    row_of = dict(zip(zip(*(counted[column] for column in KEY), strict=True), counted.index.tolist(), strict=True))
    result = []
    for name in drawable(quality):
        pairs = quality.pairs[name].frame
        keys = list(zip(pairs["dataset"], pairs["config"], pairs["seed"], strict=True))
        sides: dict[str, list[int]] = {
            side: [row_of.get((dataset, strategy, config, seed), -1) for dataset, config, seed in keys]
            for side, strategy in (("proxy", name), ("target", TARGET))
        }
        lines = []
        for dataset, rows in pairs.groupby("dataset", sort=False):
            x, y = (rows[f"objective_{side}"].to_numpy(dtype=float) for side in ("proxy", "target"))
            line = regression(x, y)
            if line is not None:
                lines.append({"dataset": str(dataset), "x": numbers(line[0]), "y": numbers(line[1])})
        result.append({"strategy": name, **sides, "lines": lines})
    return result


def dataset_marks(quality: StudyQuality) -> list[dict[str, str]]:
    """How each data set's points are drawn, for the scripts."""
    return [
        {"dataset": name, "color": f"var(--{style.name})", "symbol": style.symbol}
        for name, style in dataset_styles(quality).items()
    ]


def metric_axes(metric: Metric) -> dict[str, Any]:
    """The metric's name and axis titles, for the scripts."""
    axes = {side: axis_label(metric, side) for side in ("proxy", "target")}
    return {"label": metric.label, "share": metric.share, **axes}
