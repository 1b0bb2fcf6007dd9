"""What scoring leaves for others: a row of scores per training example, embeddings, the confusion of the classes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.errors import UserError
from proxyflow.files import replacing, write_json
from proxyflow.scoring.measures import AT_EPOCH, NEEDS, measure_of, measures

KEYS = ("example_id", "content_hash", "label")

# What strategies may need of a score run besides columns of its table.
EMBEDDINGS, CONFUSION = "embeddings", "confusion"

TABLE_FILE, SUMMARY_FILE = "scores.parquet", "summary.json"
EMBEDDINGS_FILE, CONFUSION_FILE = "embeddings.safetensors", "confusion.csv"


@dataclass(frozen=True)
class SelectionCost:
    """What had to be spent before a subset could be chosen, in the units that trainings are compared by.

    Attributes:
        train_seconds: of the scoring models' trainings, the passes that took scores, and the choice itself.
        examples_seen: training examples that were pushed through scoring models.
        train_flops: floating-point operations of those.
    """

    train_seconds: float = 0.0
    examples_seen: float = 0.0
    train_flops: float = 0.0

    def __add__(self, other: SelectionCost) -> SelectionCost:
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return SelectionCost(*(a + b for a, b in zip(mine, theirs, strict=True)))


@dataclass(frozen=True, eq=False)
class ExampleScores:
    """Scores of every example of one training set.

    Attributes:
        frame: columns `example_id` int64, `content_hash` str, `label` int64, then one float64 column per
            measure, and `correct` (share of the scoring models that classify the example rightly).
        run_id: the score run that the table came from, empty before it is logged.
        embeddings: `(n, d) float16` in the frame's order, of the first scoring model; None where not loaded or kept.
        confusion: `(classes, classes) float64`, row c the mean probabilities that models give to examples of class c;
            None where not kept.
        cost: of the models that all measures but the held-out one need, and of the folds that this one needs as well;
            None where it is not known.
    """

    frame: pd.DataFrame
    run_id: str = ""
    embeddings: NDArray[np.float16] | None = None
    confusion: NDArray[np.float64] | None = None
    cost: tuple[SelectionCost, SelectionCost] | None = None

    def __post_init__(self) -> None:
        missing = [name for name in (*KEYS, "loss", "margin") if name not in self.frame.columns]
        if missing:
            raise UserError(f"the score table{self._origin} lacks the columns {', '.join(missing)}")

    @property
    def _origin(self) -> str:
        return f" of run {self.run_id}" if self.run_id else ""

    @property
    def names(self) -> list[str]:
        """The columns that hold scores; after each early measure those of its epochs."""
        order = list(measures)
        found = [(order.index(_base(str(c))), str(c)) for c in self.frame.columns if measure_of(str(c)) is not None]
        return [name for _, name in sorted(found, key=lambda each: (each[0], _epoch(each[1])))]

    @property
    def holds(self) -> list[str]:
        """All that strategies can find here."""
        others = {EMBEDDINGS: self.embeddings, CONFUSION: self.confusion}
        found = {name: self.frame[name].to_numpy() for name in self.names}
        found |= {name: value for name, value in others.items() if value is not None}
        # What is not finite would be refused, and an older run may have it.
        return [name for name, value in found.items() if np.isfinite(value).all()]

    def cost_of(self, needs: Iterable[str]) -> SelectionCost | None:
        """What scoring cost a strategy with these needs; folds are charged to those alone that rank by them."""
        if self.cost is None:
            return None
        models, folds = self.cost
        needs = set(needs)
        # Where there are folds, the confusion of the classes is theirs.
        return models + folds if CONFUSION in needs or need_folds(needs) else models

    def check(self, need: str) -> None:
        """Refuses to choose by something that is absent or not finite.

        Raises:
            UserError: with what to do instead.
        """
        others = {EMBEDDINGS: self.embeddings, CONFUSION: self.confusion}
        values = others[need] if need in others else self.frame.get(need)
        if values is None and need in others:
            raise UserError(f"score run {self.run_id or '(unlogged)'} kept no {need}: score again, or name another run")
        if values is None:
            measure = measure_of(need)
            hint = f"; it needs {NEEDS[measure.needs]}, which that run did not keep, so score again" if measure else ""
            if AT_EPOCH.fullmatch(need):
                hint = f"; score with early_epochs={_epoch(need)} to get it"
            raise UserError(
                f"by={need} is not in the score table{self._origin}: it holds {', '.join(self.names)}{hint}"
            )
        bad = int((~np.isfinite(np.asarray(values, dtype=np.float64))).sum())
        if bad:
            what = (
                f"{need}: {bad} of {np.size(values)} values"
                if need in others
                else f"by={need}: {bad} of {len(values)} scores"
            )
            raise UserError(
                f"{what}{self._origin} are not finite, so they cannot be ranked (the scoring model diverged); score "
                "again with another seed or fewer epochs"
            )

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Writes the table, what goes with it, and `about` with the cost as its summary."""
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / TABLE_FILE) as beside:
            self.frame.to_parquet(beside, index=False)
        if self.embeddings is not None:
            from safetensors.numpy import save_file

            with replacing(folder / EMBEDDINGS_FILE) as beside:
                save_file({EMBEDDINGS: self.embeddings}, beside)
        if self.confusion is not None:
            with replacing(folder / CONFUSION_FILE) as beside:
                pd.DataFrame(self.confusion).to_csv(beside, index_label="label", float_format="%.17g")
        models, folds = self.cost or (None, None)
        costs = {"models": models, "folds": folds}
        kept = {name: dataclasses.asdict(cost) for name, cost in costs.items() if cost is not None}
        write_json(folder / SUMMARY_FILE, about | {"cost": kept})

    @staticmethod
    def load(folder: Path, run_id: str = "") -> ExampleScores:
        """Reads what `save` wrote, or the part of it that is there."""
        path = folder / TABLE_FILE
        try:
            frame = pd.read_parquet(path)
            path = folder / SUMMARY_FILE
            kept = json.loads(path.read_text(encoding="utf-8")).get("cost") if path.exists() else None
            cost = (SelectionCost(**kept["models"]), SelectionCost(**kept["folds"])) if kept else None
            path = folder / CONFUSION_FILE
            confusion = pd.read_csv(path, index_col="label").to_numpy(np.float64) if path.exists() else None
            path = folder / EMBEDDINGS_FILE
            embeddings = _load_embeddings(path, len(frame)) if path.exists() else None
        # Arrow's own errors are ValueErrors; a file that is none of safetensors' raises an error of its own.
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path.name} of score run {run_id} cannot be read ({error}); score again") from None
        return ExampleScores(frame, run_id, embeddings, confusion, cost)


def _load_embeddings(path: Path, n: int) -> NDArray[np.float16]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        embeddings = load_file(path)[EMBEDDINGS]
    except SafetensorError as error:
        raise ValueError(error) from None
    if embeddings.ndim != 2 or len(embeddings) != n:
        raise ValueError(f"its shape is {embeddings.shape}, for {n} examples")
    return np.asarray(embeddings, dtype=np.float16)


def need_folds(needs: Iterable[str]) -> bool:
    """Whether something that is needed of a score run comes from held-out folds."""
    found = map(measure_of, needs)
    return any(measure is not None and measure.needs == "folds" for measure in found)


def _base(column: str) -> str:
    match = AT_EPOCH.fullmatch(column)
    return match["name"] if match else column


def _epoch(column: str) -> int:
    match = AT_EPOCH.fullmatch(column)
    return int(match["epoch"]) if match else 0
