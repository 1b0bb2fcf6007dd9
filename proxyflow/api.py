"""What Python code calls: scores from predictions, examples chosen by them, and the quality of proxies of trainings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.core.settings import Choice, Number
from proxyflow.proxies import check_data_only, parse_proxy
from proxyflow.quality.cost_basis import AUTO
from proxyflow.quality.objective import METRIC_COLUMNS
from proxyflow.quality.pairs import COSTS
from proxyflow.quality.runs import TARGET
from proxyflow.scores.predictions import KINDS, check_predictions, score_predictions
from proxyflow.spaces.metric import ACCURACY, Metric
from proxyflow.strategies import Curriculum, ExamplePool, Strategy
from proxyflow.strategies.embeddings import SCORES, EmbeddingRows
from proxyflow.strategies.ranking import TIE_BREAK
from proxyflow.tracking import names

METRIC_JSON = "metric_json"
# What a training that says nothing of it is taken for.
DEFAULTS: dict[str, Any] = {
    "dataset": "data",
    "dataset_fingerprint": "",
    "seed": 0,
    "status": "finished",
    "config_group": "other",
    "config_json": "",
    "diverged": False,
    "epochs": pd.NA,
    "run_key": "",
    **dict.fromkeys(COSTS, np.nan),
}
OF_MLFLOW = {
    f"tags.{tag}": column
    for tag, column in {
        names.STRATEGY: "strategy",
        names.CONFIG: "config",
        names.CONFIG_GROUP: "config_group",
        names.CONFIG_JSON: "config_json",
        names.METRIC_JSON: METRIC_JSON,
        names.DATASET: "dataset",
        names.DATASET_FINGERPRINT: "dataset_fingerprint",
        names.SEED: "seed",
        names.EPOCHS: "epochs",
        names.RUN_KEY: "run_key",
        names.DIVERGED: "diverged",
    }.items()
} | {f"params.{name}": name for name in ("device", "device_shared", "n_valid", "n_test")}
WHOLE_NUMBERS = ("epochs", "n_valid", "n_test")
TRUE_OR_FALSE = ("diverged", "device_shared")


def choose(
    strategy: str,
    labels: ArrayLike,
    seed: int = 0,
    *,
    scores: Mapping[str, ArrayLike] | ArrayLike | None = None,
    embeddings: ArrayLike | None = None,
    confusion: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """The examples that a strategy chooses for training.

    Args:
        strategy: as on the command line: `random:0.1`, `easiest:0.25,balance=class`; README has the list.
        labels: `(n,)`, the class of each example, numbers or text. Where a strategy takes the numbers of classes, they
            count the sorted labels from 0.
        seed: another seed chooses other examples where chance has a say.
        scores: for strategies that rank. A mapping from names (`loss`, `el2n`, …; docs/reference/scores.md has all) to
            values `(n,)`, a score run's table as a frame for example; or the values that the strategy ranks by alone,
            which by default is the loss. Equal values are told apart by `margin` where it is given.
        embeddings: `(n, d)`, for strategies that cover the data; any model's. A memory map of 1,000,000 rows is read in
            parts (`np.load(path, mmap_mode="r")`).
        confusion: `(classes, classes)`, row c the mean probabilities that examples of class c are given; for strategies
            that choose classes by it.

    Returns:
        Positions of the chosen examples in `labels`, sorted, each once.

    Raises:
        InvalidValue: an argument is wrong, or the strategy needs one that is missing.
        UserError: the strategy cannot choose from these labels: too few classes, say.

    Examples:
        >>> import numpy as np
        >>> loss = np.array([0.1, 2.3, 0.2, 1.5])
        >>> choose("easiest:0.5", ["cat", "cat", "dog", "dog"], scores=loss)
        array([0, 2])
    """
    parsed = check_data_only(parse_proxy(strategy), "choose selects examples")
    if parsed.synthetic:
        raise InvalidValue("strategy", parsed.canonical, "its examples are made and not chosen; use proxyflow distill")
    if isinstance(parsed, Curriculum):
        raise InvalidValue("strategy", parsed.canonical, "it chooses all examples, and presents them in an order")
    for option in parsed.files:
        rule = f"give the array itself: {option}=np.load(PATH, mmap_mode='r') as an argument, with {option}={SCORES}"
        raise InvalidValue(option, getattr(parsed, option), rule)
    classes, codes = _classes(labels)
    n = len(codes)
    pool = ExamplePool(
        ids=np.arange(n, dtype=np.int64),
        labels=codes,
        content_hashes=np.array([f"{position:016x}" for position in range(n)]),
        scores=_scores(parsed, scores, n),
        classes=np.arange(len(classes), dtype=np.int64),
        embeddings=_embeddings(embeddings, n),
        confusion=_table("confusion", confusion, len(classes)),
    )
    for name in sorted(parsed.needs - {*pool.scores}):
        if getattr(pool, name, None) is None:
            argument = name if name in ("embeddings", "confusion") else "scores"
            rule = f"{parsed.canonical} chooses by {name}; give {argument}"
            raise InvalidValue(
                argument, None, rule if argument == name else f"{rule}={{{name!r}: one value per example}}"
            )
    return parsed.select(pool, seed)


def _classes(labels: ArrayLike) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The classes, sorted, and the number of each example's."""
    array = np.asarray(labels)
    if array.ndim != 1 or not len(array):
        raise InvalidValue("labels", f"of shape {array.shape}", "give the class of each example, one value per example")
    try:
        missing = pd.isna(array)
        classes, codes = np.unique(array, return_inverse=True)
    except TypeError:
        rule = "labels must be comparable with each other: all numbers, or all text"
        raise InvalidValue(
            "labels", f"of types {', '.join(sorted({type(each).__name__ for each in array}))}", rule
        ) from None
    if missing.any():
        raise InvalidValue("labels", array[missing][0], f"{int(missing.sum())} of {len(array)} labels are missing")
    return classes, codes.astype(np.int64)


def _scores(strategy: Strategy, scores: Any, n: int) -> dict[str, NDArray[np.float64]]:
    """The scores that a strategy ranks by, checked."""
    ranked = sorted(strategy.needs - {"embeddings", "confusion"})
    by = getattr(strategy, "by", ranked[0] if len(ranked) == 1 else "")
    named = isinstance(scores, Mapping) or hasattr(scores, "columns")
    given = {} if scores is None else {str(name): scores[name] for name in scores} if named else {by: scores}
    found = {name: _values(f"scores[{name!r}]", given[name], n) for name in ranked if name in given}
    if by != TIE_BREAK and TIE_BREAK in ranked and by in found:
        found.setdefault(TIE_BREAK, np.zeros(n))
    return found


def _values(name: str, values: ArrayLike, n: int) -> NDArray[np.float64]:
    array = _numbers(name, values)
    if array.shape != (n,):
        raise InvalidValue(name, f"of shape {array.shape}", f"give one number for each of the {n} labels")
    return array


def _embeddings(values: ArrayLike | None, n: int) -> NDArray[np.float32] | EmbeddingRows | None:
    """Embeddings as an array, or as rows of a large file."""
    if not isinstance(values, np.memmap):
        return _table("embeddings", values, n)  # type: ignore[no-any-return]
    if values.dtype.kind not in "fiu" or values.ndim != 2 or len(values) != n:
        raise InvalidValue("embeddings", f"{values.dtype} of shape {values.shape}", f"it must have numbers of ({n}, d)")
    found = EmbeddingRows(values, np.arange(n))
    found.check_finite(lambda row, value: InvalidValue(f"embeddings[{row}]", value, "embeddings must be finite"))
    return found


def _table(name: str, values: ArrayLike | None, rows: int) -> Any:
    if values is None:
        return None
    array = _numbers(name, values)
    if array.ndim != 2 or len(array) != rows or (name == "confusion" and array.shape[1] != rows):
        wanted = f"({rows}, {rows})" if name == "confusion" else f"({rows}, d)"
        raise InvalidValue(name, f"of shape {array.shape}", f"its shape must be {wanted}")
    return array if name == "confusion" else array.astype(np.float32)


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidValue(name, type(values).__name__, "its values must be numbers") from None
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise InvalidValue(name, array[~np.isfinite(array)][0], f"{count} of {array.size} values are not finite")
    return array


def score(predictions: ArrayLike, labels: ArrayLike, *, held_out: bool = False, kind: str = AUTO) -> pd.DataFrame:
    """How hard each example is, from the predictions of any model.

    Predictions of a model for examples that it trained on are optimistic: it has learned their labels, wrong ones too.
    Out-of-sample predictions, as of scikit-learn's `cross_val_predict`, give better scores; declare them with
    `held_out=True`.

    Args:
        predictions: `(n, classes)`, a column per class; a frame whose columns are the classes may have them in any
            order.
        labels: `(n,)`, the class of each example. Whole numbers from 0 are columns; other labels are those of the
            columns when sorted, as in scikit-learn's `classes_`.
        held_out: whether each example was predicted by a model that did not train on it; adds `heldout_loss`.
        kind: what the predictions are. `auto`: probabilities if all rows are non-negative and sum to 1 within 0.001,
            else logits.

    Returns:
        One row per example, in the order of `labels`: a column per score that predictions allow (`loss`, `margin`,
        `entropy`, …; docs/reference/scores.md has all), and `correct`, 1 where the predicted class is the label, else
        0. `choose` takes it as `scores`.

    Raises:
        InvalidValue: the predictions are no such numbers, or the labels are not theirs.

    Examples:
        >>> probabilities = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]]
        >>> labels = ["cat", "dog", "dog", "cat"]
        >>> frame = score(probabilities, labels, held_out=True)
        >>> frame["heldout_loss"].round(2).tolist()
        [0.11, 0.22, 0.92, 0.36]
        >>> choose("easiest:0.5", labels, scores=frame)
        array([0, 1])
    """
    kind = Choice((AUTO, *KINDS)).parse("kind", kind)
    values, columns = _predicted(predictions, labels)
    given = check_predictions(values, kind, held_out)
    if len(columns) != len(given.values):
        rule = f"give one label for each of the {len(given.values)} rows of predictions"
        raise InvalidValue("labels", f"of shape {columns.shape}", rule)
    scored = score_predictions(given, columns)
    return pd.DataFrame(scored.columns)


def _predicted(predictions: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The predictions as an array, and the column of each label."""
    classes, codes = _classes(labels)
    named = list(map(str, predictions.columns)) if isinstance(predictions, pd.DataFrame) else []
    values = _numbers("predictions", predictions)
    if values.ndim != 2:
        raise InvalidValue("predictions", f"of shape {values.shape}", "give one row per example, one column per class")
    if {*map(str, classes)} <= {*named}:
        return values, np.array([named.index(str(each)) for each in classes], dtype=np.int64)[codes]
    n = values.shape[1]
    if np.issubdtype(classes.dtype, np.integer) and classes.min() >= 0 and classes.max() < n:
        return values, classes.astype(np.int64)[codes]
    if len(classes) != n:
        rule = f"the labels have {len(classes)} classes; give one column for each, or a frame whose columns they are"
        raise InvalidValue("predictions", f"of shape {values.shape}", rule)
    return values, codes


def measure(
    frame: pd.DataFrame, *, metric: Metric | None = None, cost_basis: str = AUTO, bootstrap: int = 1000
) -> pd.DataFrame:
    """How well each proxy predicts the target, from trainings that anything made.

    Args:
        frame: one row per training: `strategy`, the proxy's name (`full` is the target that others are compared with),
            `config`, the configuration's name, and `objective` (or `best_valid_accuracy`), the value of the metric.
            Optional: `dataset`, `seed`, `epochs`, `config_group`, `config_json`, `diverged`, `status` (only `finished`
            ones count), the costs `train_seconds`, `examples_seen` and `train_flops`, the optimizer `steps`, and
            `chance_objective` with `n_valid`, the objective of a constant prediction and the number of validation
            examples, by which configurations that learned nothing are recognized. A frame of MLflow's
            `search_runs` over a study is taken as well.
        metric: what `objective` is, and which way is better; None is what the runs of `search_runs` say, else an
            accuracy from 0 to 1.
        cost_basis: the cost that relative cost counts, or `auto`, see docs/how-to/reports.md.
        bootstrap: samples for the 95 % intervals, 0 for none.

    Returns:
        One row per strategy, the target first: `strategy`, `family`, `r2`, `spearman` and `spearman_all` with the ends
        of their intervals (`r2_low`, `r2_high`, …), `cost_adjusted_r2`, `relative_cost`, `steps`, `relative_examples`,
        `regret` in points for shares, else in the metric's unit, `best_recovered`, `n_pairs`, `n_missing`, and
        `n_unranked` with `r2_ranked`, `spearman_ranked` and `regret_ranked`, which leave out the pairs that the proxy
        cannot rank; docs/reference/measures.md explains each. A cell that would need a guess is nan, and
        `attrs["notes"]` says why.

    Raises:
        InvalidValue: a column is missing or holds something else, no row is of the target, or an option is none.

    Examples:
        >>> import pandas as pd
        >>> accuracy = {"full": [0.7, 0.8, 0.9, 0.6], "random:0.1": [0.5, 0.6, 0.8, 0.4]}
        >>> frame = pd.DataFrame(
        ...     [(name, f"lr={i}", value) for name, values in accuracy.items() for i, value in enumerate(values)],
        ...     columns=["strategy", "config", "objective"],
        ... )
        >>> print(measure(frame, bootstrap=0)[["strategy", "spearman_all", "regret"]].to_string(index=False))
          strategy  spearman_all  regret
              full           1.0     0.0
        random:0.1           1.0     0.0
    """
    from proxyflow.quality.options import QualityOptions  # scipy.stats, which these import, takes a second
    from proxyflow.quality.summary import measure_study
    from proxyflow.reporting.families import FAMILIES

    cost_basis = Choice((AUTO, *COSTS)).parse("cost_basis", cost_basis)
    bootstrap = int(Number(low=0, whole=True, example="1000").parse("bootstrap", bootstrap))
    trainings = _trainings(frame, metric)
    quality = measure_study(trainings, QualityOptions(cost_basis=cost_basis, bootstrap=bootstrap), FAMILIES)
    table = quality.strategies.copy()
    table.attrs["notes"] = [f"{name}: {note}" if name else note for name, note in quality.notes]
    return table


def _trainings(frame: pd.DataFrame, metric: Metric | None) -> pd.DataFrame:
    """Trainings with all columns that the measures read."""
    found = _of_search_runs(frame) if f"tags.{names.STRATEGY}" in frame else frame.copy()
    if names.OBJECTIVE not in found:
        found = found.rename(columns={f"best_{ACCURACY.name}": names.OBJECTIVE})
    for name in ("strategy", "config", names.OBJECTIVE):
        if name not in found:
            raise InvalidValue("frame", f"{', '.join(map(str, frame.columns))}", f"it has no column {name}")
    for name, default in DEFAULTS.items():
        if name not in found:
            found[name] = default
    # Of several trainings of one cell the last row counts.
    found["end_time"] = range(len(found))
    for name in (names.OBJECTIVE, names.CHANCE, "steps", *COSTS, "seed", *WHOLE_NUMBERS):
        try:
            found[name] = pd.to_numeric(found[name]) if name in found else pd.NA
        except (TypeError, ValueError):
            raise InvalidValue("frame", name, "this column must hold numbers") from None
    for name in TRUE_OR_FALSE:
        if name in found:
            found[name] = found[name].astype(str).str.lower().map({"true": True, "false": False}).astype("boolean")
    infinite = np.isinf(found[names.OBJECTIVE].astype(np.float64))
    found["diverged"] = found["diverged"].fillna(False).astype(bool) | infinite
    found[names.OBJECTIVE] = found[names.OBJECTIVE].mask(infinite)
    found = _with_metric(found, metric)
    outside = found["share"].astype(bool) & found[names.OBJECTIVE].notna() & ~found[names.OBJECTIVE].between(0, 1)
    if outside.any():
        value = found.loc[outside, names.OBJECTIVE].iloc[0]
        rule = 'shares are from 0 to 1; for another metric give metric=Metric("valid_loss", "minimize"), for example'
        raise InvalidValue(names.OBJECTIVE, value, rule)
    found = found.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))
    found["seed"] = found["seed"].fillna(0).astype(np.int64)
    text = ["strategy", "config", "dataset", "config_group"]
    found[text] = found[text].astype(str)
    found["strategy"] = found["strategy"].map({name: _one_spelling(name) for name in found["strategy"].unique()})
    if not (found["strategy"] == TARGET).any():
        rule = f"no row has the strategy {TARGET}, which proxies are compared with"
        raise InvalidValue("strategy", ", ".join(sorted(set(found["strategy"]))), rule)
    return found


def _one_spelling(strategy: str) -> str:
    """The canonical spelling of a proxy; a name of the user's own stays as it is."""
    try:
        return parse_proxy(strategy).canonical
    except UserError:
        return strategy


def _with_metric(found: pd.DataFrame, metric: Metric | None) -> pd.DataFrame:
    """The trainings with the columns that say what their objective is."""
    if metric is None and not set(METRIC_COLUMNS) - {*found.columns}:
        return found
    if metric is None and METRIC_JSON in found:
        said = [ACCURACY if pd.isna(text) else Metric.from_json(str(text)) for text in found[METRIC_JSON]]
    else:
        said = [metric or ACCURACY] * len(found)
    rows = [(each.name, each.goal, each.aggregate, each.share) for each in said]
    return found.assign(**dict(zip(METRIC_COLUMNS, map(list, zip(*rows, strict=True)), strict=True)) if rows else {})


def _of_search_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The trainings in a frame of MLflow's `search_runs`, newest last."""
    kind, status = f"tags.{names.KIND}", f"tags.{names.STATUS}"
    runs = frame[frame[kind] == "training"] if kind in frame else frame
    metrics = {name: name.removeprefix("metrics.") for name in map(str, runs.columns) if name.startswith("metrics.")}
    tags = {name: column for name, column in OF_MLFLOW.items() if name in runs}
    found = runs[[*tags, *metrics]].rename(columns=tags | metrics)
    told = runs["status"].map({"FINISHED": "finished"}).fillna("failed") if "status" in runs else "finished"
    found["status"] = runs[status].fillna(told) if status in runs else told
    return found.iloc[::-1].reset_index(drop=True)
