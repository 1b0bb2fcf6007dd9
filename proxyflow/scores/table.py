"""The results of a score run: a row of scores per training example, embeddings, and a confusion matrix."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue, UserError, one_line
from proxyflow.core.files import atomic_write, sha256_of, write_json
from proxyflow.core.parquet import CheckedTable, open_table
from proxyflow.core.settings import Choice
from proxyflow.core.validation import CHECKSUM, SHA256, Entries, Fields, Nullable, Numeric, read_json
from proxyflow.scores import AT_EPOCH, NEEDS, known_scores, score_of
from proxyflow.scores.apply import CORRECT

KEYS = ("example_id", "content_hash", "label")

# What strategies may need from a score run besides columns of its table.
EMBEDDINGS, CONFUSION = "embeddings", "confusion"

TABLE_FILE, SUMMARY_FILE = "scores.parquet", "summary.json"
EMBEDDINGS_FILE, CONFUSION_FILE = "embeddings.safetensors", "confusion.csv"

# Text is read in few rows at a time (see core.parquet), and in fewer still from a large row group.
ROWS_TOGETHER = 20_000
LARGEST_CONFUSION = 2**26  # bytes, some 1,500 classes
MOST_DIMENSIONS = 2**16  # of an embedding
TEXT = (pa.string(), pa.large_string())


@dataclass(frozen=True)
class SelectionCost:
    """What was spent before a subset could be chosen, in the units by which trainings are compared.

    A number that is not known is nan, and so is every sum with it.

    Attributes:
        train_seconds: of the scoring models' trainings, the passes that computed scores, and the choice itself.
        examples_seen: training examples that scoring models processed.
        train_flops: floating-point operations of those.
    """

    train_seconds: float = 0.0
    examples_seen: float = 0.0
    train_flops: float = 0.0

    def __add__(self, other: SelectionCost) -> SelectionCost:
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return SelectionCost(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def to_json(self) -> dict[str, float | None]:
        """Its numbers by name; None where not known."""
        return {name: None if math.isnan(value) else value for name, value in dataclasses.asdict(self).items()}

    @staticmethod
    def from_json(entries: Mapping[str, float | None]) -> SelectionCost:
        """The reverse of `to_json`, of entries that `COST` has validated."""
        return SelectionCost(**{name: math.nan if value is None else value for name, value in entries.items()})


@dataclass(frozen=True, eq=False)
class ExampleScores:
    """Scores of every example of one training set.

    Attributes:
        frame: columns `example_id` int64, `content_hash` str, `label` int64, then one float64 column per
            score, and `correct` (share of the scoring models that classify the example correctly).
        run_id: the score run that the table came from, empty before it is logged.
        embeddings: `(n, d) float16` in the frame's order, of the first scoring model; None where not loaded or kept.
        confusion: `(classes, classes) float64`, row c the mean predicted probabilities of examples of class c;
            None where not kept.
        cost: of the models that all scores but the held-out one need, and of the folds that this one needs as well;
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
        """The columns that hold scores; after each early score those of its epochs."""
        order = list(known_scores)
        found = [(order.index(_base(str(c))), str(c)) for c in self.frame.columns if score_of(str(c)) is not None]
        return [name for _, name in sorted(found, key=lambda each: (each[0], _epoch(each[1])))]

    @property
    def holds(self) -> list[str]:
        """All that strategies can use."""
        others = {EMBEDDINGS: self.embeddings, CONFUSION: self.confusion}
        found = {name: self.frame[name].to_numpy() for name in self.names}
        found |= {name: value for name, value in others.items() if value is not None}
        # Older runs may hold values that are not finite, which strategies refuse.
        return [name for name, value in found.items() if np.isfinite(value).all()]

    def cost_of(self, needs: Iterable[str]) -> SelectionCost | None:
        """What scoring cost a strategy with these needs; folds are charged only to strategies that use them."""
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
            score = score_of(need)
            hint = f"; it needs {NEEDS[score.needs]}, which that run did not keep, so score again" if score else ""
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
        """Writes the table, embeddings and confusion matrix, and `about` with the cost as the summary."""
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / TABLE_FILE) as beside:
            self.frame.to_parquet(beside, index=False, row_group_size=ROWS_TOGETHER)
        if self.embeddings is not None:
            from safetensors.numpy import save_file  # imports safetensors

            with atomic_write(folder / EMBEDDINGS_FILE) as beside:
                save_file({EMBEDDINGS: self.embeddings}, beside)
        if self.confusion is not None:
            with atomic_write(folder / CONFUSION_FILE) as beside:
                pd.DataFrame(self.confusion).to_csv(beside, index_label="label", float_format="%.17g")
        models, folds = self.cost or (None, None)
        costs = {"models": models, "folds": folds}
        kept = {name: cost.to_json() for name, cost in costs.items() if cost is not None}
        written = (name for name in (TABLE_FILE, EMBEDDINGS_FILE, CONFUSION_FILE) if (folder / name).exists())
        checksums = {name: sha256_of(folder / name) for name in written}
        write_json(folder / SUMMARY_FILE, about | {"cost": kept, "sha256": checksums})

    @staticmethod
    def load(folder: Path, run_id: str = "") -> ExampleScores:
        """Reads what `save` wrote, or the files of it that are present.

        The files may come from anybody who may write to a tracking server: see docs/explanation/safety.md. Columns of
        the table that are not scores of this version are left out.

        Raises:
            UserError: a file is missing or not of the stated form; the message names it.
        """
        path = folder / TABLE_FILE
        try:
            with open_table(path, _check_columns) as table:
                frame = _frame_of(table)
            path = folder / SUMMARY_FILE
            kept = SUMMARY.parse("", read_json(path)).get("cost") if path.exists() else None
            cost = (SelectionCost.from_json(kept["models"]), SelectionCost.from_json(kept["folds"])) if kept else None
            path = folder / CONFUSION_FILE
            confusion = _load_confusion(path, int(frame["label"].max()) + 1) if path.exists() else None
            path = folder / EMBEDDINGS_FILE
            embeddings = _load_embeddings(path, len(frame)) if path.exists() else None
        except (OSError, ValueError, InvalidValue) as error:
            raise UserError(
                f"{path.name} of score run {run_id} cannot be read ({one_line(error)}); score again"
            ) from None
        return ExampleScores(frame, run_id, embeddings, confusion, cost)


COST = Fields({field.name: Nullable(Numeric(low=0)) for field in dataclasses.fields(SelectionCost)})


@dataclass(frozen=True)
class _Costs(Fields):
    """The costs of a summary; older ones have none."""

    def parse(self, name: str, value: object) -> dict[str, Any]:
        return super().parse(name, value) if value != {} else {}


SUMMARY = Fields(
    {
        "cost": Nullable(_Costs({"models": COST, "folds": COST})),
        "sha256": Entries(Choice((TABLE_FILE, EMBEDDINGS_FILE, CONFUSION_FILE)), CHECKSUM),
    },
    optional=frozenset({"cost", "sha256"}),  # older runs have neither
)


def checksums_of(folder: Path) -> dict[str, str]:
    """SHA-256 of a score run's other files by their names, as the summary in `folder` has them.

    Raises:
        UserError: the summary is not of the stated form.
    """
    path = folder / SUMMARY_FILE
    try:
        return dict(SUMMARY.parse("", read_json(path)).get("sha256", {})) if path.exists() else {}
    except (OSError, ValueError, InvalidValue) as error:
        raise UserError(f"{SUMMARY_FILE} of a score run cannot be read ({one_line(error)}); score again") from None


def _held(schema: pa.Schema) -> list[str]:
    """The columns of numbers that are read besides the keys."""
    return [name for name in schema.names if name == CORRECT or score_of(name) is not None]


def _check_columns(schema: pa.Schema) -> None:
    wanted = {"example_id": (pa.int64(),), "content_hash": TEXT, "label": (pa.int64(),)}
    wanted |= {name: (pa.float64(),) for name in _held(schema)}
    for name, types in wanted.items():
        number = schema.names.count(name)
        if number != 1:
            raise ValueError(f"column {name} occurs {number} times; it must occur once")
        if schema.field(name).type not in types:
            raise ValueError(f"column {name} is of type {schema.field(name).type}; it must be {types[0]}")


def _frame_of(table: CheckedTable) -> pd.DataFrame:
    if not table.rows:
        raise ValueError("it has no rows")
    numbers = ["example_id", "label", *_held(table.schema)]
    read = pa.Table.from_batches(table.batches(numbers))
    lacking = [name for name in ("example_id", "label") if read[name].null_count]
    if lacking:
        raise ValueError(f"column {lacking[0]} lacks {read[lacking[0]].null_count:,} of its values")
    columns = {name: read[name].to_numpy() for name in numbers}
    hashes: list[str] = []
    for batch in table.batches(["content_hash"]):
        for value in batch["content_hash"]:
            # Sized before it becomes text of Python's, as it may be of any length.
            if not value.is_valid or value.as_buffer().size != 64 or not SHA256.fullmatch(value.as_py()):
                raise ValueError(f"content_hash of row {len(hashes):,} is not a SHA-256 in 64 hexadecimal digits")
            hashes.append(value.as_py())
    for name in ("example_id", "label"):
        if columns[name].min() < 0:
            raise ValueError(f"{name} {columns[name].min()} is below 0")
    if len(np.unique(columns["example_id"])) < table.rows:
        raise ValueError("an example_id occurs twice")
    everything = {**columns, "content_hash": hashes}
    return pd.DataFrame({name: everything[name] for name in table.schema.names if name in everything})


def _load_confusion(path: Path, fewest: int) -> NDArray[np.float64]:
    """The confusion of so many classes at least."""
    size = path.stat().st_size
    if size > LARGEST_CONFUSION:
        raise ValueError(f"it has {size:,} bytes; at most {LARGEST_CONFUSION:,} are read")
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    if len(lines) < fewest:
        raise ValueError(f"it has {len(lines):,} rows; it must have one for each class, {fewest:,} at least")
    rows = np.loadtxt(lines, dtype=np.float64, delimiter=",", comments=None, ndmin=2)
    if rows.shape != (len(lines), len(lines) + 1) or not np.array_equal(rows[:, 0], np.arange(len(lines))):
        raise ValueError(f"its shape is {rows.shape}; it must have a row and a column for each class, and the labels")
    return rows[:, 1:].copy()


def _load_embeddings(path: Path, n: int) -> NDArray[np.float16]:
    from safetensors import SafetensorError, safe_open  # imports safetensors

    try:
        with safe_open(path, framework="numpy") as file:
            kept = file.get_slice(EMBEDDINGS)
            shape, kind = tuple(kept.get_shape()), kept.get_dtype()
            if kind != "F16" or len(shape) != 2 or shape[0] != n or not 0 < shape[1] <= MOST_DIMENSIONS:
                raise ValueError(
                    f"its shape is {shape} of type {kind}, for {n} examples; it must be (n, d) of type F16"
                )
            return np.asarray(file.get_tensor(EMBEDDINGS))
    except SafetensorError as error:
        raise ValueError(one_line(error)) from None


def need_folds(needs: Iterable[str]) -> bool:
    """Whether any of these needs comes from held-out folds."""
    found = map(score_of, needs)
    return any(score is not None and score.needs == "folds" for score in found)


def _base(column: str) -> str:
    match = AT_EPOCH.fullmatch(column)
    return match["name"] if match else column


def _epoch(column: str) -> int:
    match = AT_EPOCH.fullmatch(column)
    return int(match["epoch"]) if match else 0
