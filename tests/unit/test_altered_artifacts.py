"""Whoever may write to a tracking server may alter what others read there: it is read, or refused in one clear line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from altered import ESCAPES, HOSTILE, IMAGES, as_json, edited, edits, encoded, json_edits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import noise_dataset, random_images, random_scores

from proxyflow.core.errors import UserError, printable
from proxyflow.data.images.artifact import IMAGE
from proxyflow.data.images.store import ImageSet
from proxyflow.data.protocol import Dataset
from proxyflow.data.table.contents import contents_of
from proxyflow.data.table.store import rows_of
from proxyflow.scores.table import CONFUSION_FILE, EMBEDDINGS_FILE, SUMMARY_FILE, TABLE_FILE, ExampleScores
from proxyflow.strategies import parse_strategy
from proxyflow.subsets.artifact import read_subset, write_subset
from proxyflow.subsets.subset import Subset, choose_subset
from proxyflow.trainers.checkpoints import DESCRIPTION, TENSORS, readable_checkpoints
from proxyflow.trainers.images.checkpoints import TrainingCheckpoint
from proxyflow.trainers.images.engine import TrainingState
from proxyflow.trainers.results import EpochRecord

T = TypeVar("T")
Files = dict[str, bytes]
TRAIN, VALID, MANIFEST = "train-00000.parquet", "valid-00000.parquet", "manifest.json"
MEMORY_MB = 700  # that reading all of them may add, at its peak


def thorough(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """So many examples, whatever their size and speed; fixtures here are the same for all of a test's examples."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, suppress_health_check=quiet)


@pytest.fixture(scope="module", autouse=True)
def bounded_memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEMORY_MB


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in a folder, so that what climbs out of it is seen."""
    place = tmp_path_factory.mktemp("altered") / "outer" / "inner"
    place.mkdir(parents=True)
    (place.parent / "x.parquet").write_bytes(b"secret")
    return place


def files_of(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def saved(save: Callable[[Path], object], tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("original")
    save(folder)
    return files_of(folder)


@pytest.fixture(scope="module")
def subset(tmp_path_factory: pytest.TempPathFactory) -> Files:
    dataset = noise_dataset([0, 1, 2, 3] * 5, [0, 1, 2, 3] * 2, n_classes=4)
    chosen = choose_subset(dataset, parse_strategy("easiest:0.5"), 7, random_scores(dataset.train))
    return saved(lambda folder: write_subset(chosen, folder), tmp_path_factory)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A subset of a table, with columns of every type."""
    columns: dict[str, list[Any]] = {
        "text": [f"row {number}" for number in range(60)],
        "x": [number / 7 for number in range(60)],
        "vector": [[number, 1.5] for number in range(60)],
        "flag": [True, None] * 30,
    }
    contents = contents_of(list("abc") * 20, columns, ["train", "train", "train", "valid", "valid", "valid"] * 10)
    assert contents.valid is not None
    dataset = Dataset("rows", contents.class_names, contents.train, contents.valid, None)
    chosen = choose_subset(dataset, parse_strategy("random:0.5"), 7)
    return saved(lambda folder: write_subset(chosen, folder), tmp_path_factory)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return saved(lambda folder: random_scores(random_images([0, 1, 2, 0, 1])).save(folder, {}), tmp_path_factory)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Files:
    tensors = {"model.weight": torch.ones(4, 3), "optimizer.last": torch.tensor(0.1, dtype=torch.float64)}
    values = {"train_loss": 0.3, "valid_loss": 0.1, "valid_accuracy": 0.7, "epoch_seconds": 1.5}
    state = TrainingState(tensors, tuple(EpochRecord(n, values) for n in (1, 2)), 3.25, 0.75, 0.5, 640)
    return saved(TrainingCheckpoint(state, "key", 9.5).save, tmp_path_factory)


def lay(place: Path, files: Files) -> Path:
    """Puts files into a new folder at `place`."""
    folder = place / "artifact"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def everything_below(place: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in place.parent.parent.rglob("*")}


def read_or_refused(place: Path, files: Files, read: Callable[[Path], T], names: str = "artifact") -> T | str:
    """What a reader gives, or its refusal: one printable line that names a file; nothing is written anywhere."""
    folder = lay(place, files)
    before = everything_below(place)
    try:
        return read(folder)
    except UserError as error:
        message = str(error)
        assert message == printable(message)
        assert len(message) < 1500
        assert names in message
        return message
    finally:
        assert everything_below(place) == before


def consistent(subset: Subset | str, manifest: bytes) -> None:
    """What is read is what its manifest says, and can be trained on."""
    if isinstance(subset, str):
        return
    told = json.loads(manifest)
    assert subset.fingerprint == told["subset_fingerprint"]
    assert (len(subset.train), len(subset.valid)) == (told["n_train"], told["n_valid"])
    assert subset.class_counts == told["class_counts"]
    for part in (subset.train, subset.valid):
        assert set(part.labels) <= set(subset.classes) <= set(range(len(subset.class_names)))
        assert len(set(part.ids)) == len(part)
        if isinstance(part, ImageSet):
            assert part.channels == len(subset.preprocessing.mean) == len(subset.preprocessing.std)
            assert np.isfinite([*subset.preprocessing.mean, *subset.preprocessing.std]).all()
            assert min(subset.preprocessing.std) > 0
        else:
            table = rows_of(part)
            assert set(table.store.roles.values()) | set(table.store.content) <= set(table.table.column_names)
            assert len(table.identifiers) == len(table.positions) == len(part)
    assert subset.scores is None or np.isfinite(subset.scores).all()
    for text in (subset.dataset, subset.strategy, subset.score_run, *subset.class_names):
        assert text == printable(text)
    assert parse_strategy(subset.strategy).canonical == subset.strategy


def forged(files: Files, changed: Files, fingerprint: bool = False, **more: Any) -> Files:
    """Changed files with the checksums of what they are now, as whoever means harm would write them."""
    manifest = json.loads(files[MANIFEST])
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in changed.items()}
    return {**files, **changed, MANIFEST: as_json({**manifest, **more, "sha256": manifest["sha256"] | sums})}


@thorough(500)
@given(data=st.data())
def test_manifests_with_other_values(place: Path, subset: Files, data: st.DataObject) -> None:
    manifest = as_json(data.draw(json_edits(json.loads(subset[MANIFEST]))))
    consistent(read_or_refused(place, {**subset, MANIFEST: manifest}, read_subset), manifest)


@thorough(100)
@given(changes=edits)
def test_manifests_with_other_bytes(place: Path, subset: Files, changes: Any) -> None:
    manifest = edited(subset[MANIFEST], changes)
    consistent(read_or_refused(place, {**subset, MANIFEST: manifest}, read_subset), manifest)


@thorough(400)
@given(name=st.sampled_from([TRAIN, VALID]), changes=edits)
def test_tables_with_other_bytes(place: Path, subset: Files, name: str, changes: Any) -> None:
    files = forged(subset, {name: edited(subset[name], changes)})
    consistent(read_or_refused(place, files, read_subset), files[MANIFEST])


@thorough(400)
@given(data=st.data())
def test_manifests_of_rows_with_other_values(place: Path, rows: Files, data: st.DataObject) -> None:
    manifest = as_json(data.draw(json_edits(json.loads(rows[MANIFEST]))))
    consistent(read_or_refused(place, {**rows, MANIFEST: manifest}, read_subset), manifest)


@thorough(300)
@given(name=st.sampled_from([TRAIN, VALID]), changes=edits)
def test_tables_of_rows_with_other_bytes(place: Path, rows: Files, name: str, changes: Any) -> None:
    files = forged(rows, {name: edited(rows[name], changes)})
    consistent(read_or_refused(place, files, read_subset), files[MANIFEST])


def written(table: pa.Table, place: Path, **options: Any) -> bytes:
    path = place / "written"
    pq.write_table(table, path, **options)
    data = path.read_bytes()
    path.unlink()
    return data


def table_of(data: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(data))


columns = st.sampled_from(
    [
        pa.array([0] * 10, pa.int32()),
        pa.array([None] * 10, pa.int64()),
        pa.array([-1, *range(1, 10)], pa.int64()),
        pa.array([2**63 - 1, *range(9)], pa.int64()),
        pa.array([2, 2, *range(8)], pa.int64()),
        pa.array([0.5] * 10, pa.float32()),
        pa.array([float("nan"), *map(float, range(9))], pa.float64()),
        pa.array([float("inf")] * 10, pa.float64()),
        pa.array([None, *map(float, range(9))], pa.float64()),
        pa.array([[1, 2]] * 10, pa.list_(pa.int64())),
        pa.array([{"a": {"b": 1}}] * 10),
        pa.array(["../../x.parquet"] * 10),
        pa.array(["x"] * 10).dictionary_encode(),
        pa.array([b"\xff\xfe"] * 10, pa.large_binary()),
        pa.array([True] * 10),
        pa.array([0] * 10, pa.timestamp("us")),
        pa.array([{"bytes": b"x" * 1000, "path": "../x"}] * 10, IMAGE),
        pa.array([{"bytes": None, "path": None}] * 10, IMAGE),
        pa.array([None] * 10, IMAGE),
        pa.nulls(10),
    ]
)


@thorough(100)
@given(
    name=st.sampled_from(["image", "label", "example_id", "score", "other"]),
    how=st.sampled_from(["replace", "twice", "drop", "reorder", "repeat", "empty"]),
    column=columns,
    codec=st.sampled_from(["snappy", "snappy", "none", "zstd", "gzip"]),
    group=st.sampled_from([1, 3, 1000]),
)
def test_tables_with_other_columns(
    place: Path, subset: Files, name: str, how: str, column: pa.Array, codec: str, group: int
) -> None:
    table = table_of(subset[TRAIN])
    index = table.schema.get_field_index(name)
    if how == "replace" and index >= 0:
        table = table.set_column(index, name, column)
    elif how == "drop" and index >= 0:
        table = table.remove_column(index)
    elif how == "reorder":
        table = table.select(table.schema.names[::-1])
    elif how == "repeat":
        table = pa.concat_tables([table, table])
    elif how == "empty":
        table = table.slice(0, 0)
    else:
        table = table.append_column(name, column)
    data = written(table, place, compression=codec, row_group_size=group)
    files = forged(subset, {TRAIN: data}, n_train=table.num_rows)
    consistent(read_or_refused(place, files, read_subset), files[MANIFEST])


@thorough(100)
@given(name=st.sampled_from(["text", "x", "vector", "flag", "row", "label_", "other"]), column=columns)
def test_tables_of_rows_with_other_columns(place: Path, rows: Files, name: str, column: pa.Array) -> None:
    table = table_of(rows[TRAIN]).slice(0, 10)
    index = table.schema.get_field_index(name)
    table = table.append_column(name, column) if index < 0 else table.set_column(index, name, column)
    files = forged(rows, {TRAIN: written(table, place)}, n_train=10)
    consistent(read_or_refused(place, files, read_subset), files[MANIFEST])


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_every_kind(
    place: Path, subset: Files, kind: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    # Ghostscript is what Pillow would hand an EPS to.
    monkeypatch.setattr("subprocess.Popen", run)
    monkeypatch.setattr("os.system", run)
    files = with_image(place, subset, IMAGES[kind](), channels)
    consistent(found := read_or_refused(place, files, read_subset), files[MANIFEST])
    # Whatever can be read has another fingerprint than the one that the manifest states.
    assert isinstance(found, str)
    known = ("gif", "tiff", "bmp", "webp", "jpeg", "cmyk", "16 bits", "palette", "transparent", "one pixel", "line")
    assert ("subset_fingerprint" in found) == any(word in kind for word in known), found


def with_image(place: Path, subset: Files, image: bytes | None, channels: int) -> Files:
    table = table_of(subset[TRAIN])
    images = [{"bytes": image, "path": None}, *table["image"].to_pylist()[1:]]
    data = written(table.set_column(0, "image", pa.array(images, IMAGE)), place)
    statistics = {"mean": [0.5] * channels, "std": [0.5] * channels, "channels": channels}
    return forged(subset, {TRAIN: data}, **statistics)


@thorough(130)
@given(
    kind=st.sampled_from(["png", "jpeg", "gif", "tiff", "bmp", "webp"]), changes=edits, channels=st.sampled_from([1, 3])
)
def test_images_with_other_bytes(place: Path, subset: Files, kind: str, changes: Any, channels: int) -> None:
    image = encoded("L", "PNG") if kind == "png" else IMAGES[kind]()
    assert image is not None
    files = with_image(place, subset, edited(image, changes), channels)
    consistent(read_or_refused(place, files, read_subset), files[MANIFEST])


def refusal(place: Path, files: Files) -> str:
    found = read_or_refused(place, files, read_subset)
    assert isinstance(found, str)
    return found


def test_many_small_images_cannot_decode_to_more_than_there_is_memory_for(
    place: Path, subset: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxyflow.data.images.artifact.total_memory", lambda: 1000)
    # The ten training images and one more are 396 bytes, of 400 that are free for them.
    found = refusal(place, subset)
    assert VALID in found
    assert "image 1 cannot be used: its 6 x 6 pixels need more memory than there is" in found


def test_a_value_that_many_rows_share_is_read_in_few_rows_at_a_time(
    place: Path, subset: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dictionary or a common beginning makes a small file of many copies of one long value."""
    monkeypatch.setattr("proxyflow.core.parquet.BATCH_BYTES", 2**20)
    taken: list[int] = []
    batches = pq.ParquetFile.iter_batches

    def spied(self: Any, rows: int, **options: Any) -> Any:
        taken.append(rows)
        return batches(self, rows, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spied)
    long = encoded("L", "PNG") + b"\0" * 3_000_000
    table = table_of(subset[TRAIN])
    images = pa.array([{"bytes": long, "path": ""}] * table.num_rows, IMAGE)
    data = written(table.set_column(0, "image", images), place)
    assert len(data) < 300_000
    found = refusal(place, forged(subset, {TRAIN: data}))
    assert "subset_fingerprint" in found
    assert taken[0] <= 2**20 * table.num_rows / (3_000_000 / 22)
    assert taken[0] == 1 or len(long) * taken[0] <= 2**20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": float("inf")}, "seed=inf is not accepted: it must be a whole number of at least 0"),
        ({"seed": "7"}, "seed=7 is not accepted"),
        ({"image_size": 10**9}, "image_size=1000000000 is not accepted"),
        ({"channels": 2}, "channels=2 is not accepted: it must be one of 1, 3"),
        ({"std": [0]}, "std[0]=0 is not accepted: it must be a number above 0"),
        ({"mean": [0.5] * 3}, "it must have a value per channel, 1"),
        ({"classes": [0, 0, 1, 2, 3]}, "each must occur once, in order"),
        ({"classes": [0, 1, 2, 3, 4]}, "each must be below the number of class names, 4"),
        ({"classes": [0, 1]}, "not among the manifest's classes"),
        ({"n_train": 11}, "there are 10 examples, and the manifest says 11"),
        ({"n_valid": 0}, "n_valid=0 is not accepted"),
        ({"class_names": ["a", f"b{ESCAPES}", "c", "d"]}, r"class_names[1]=b\x1b[2J"),
        ({"class_names": ["a", "b\nc", "d", "e"]}, r"class_names[1]=b\nc is not accepted"),
        ({"class_counts": {}}, "class_counts are not those"),
        ({"strategy": "os.system('x')"}, "known: full, random"),
        ({"strategy": "random:.50"}, "it must be in its one canonical spelling"),
        ({"selection_cost": {"train_seconds": -1}}, "selection_cost.train_seconds=-1"),
        ({"score_run": "../../x"}, "score_run=../../x is not accepted"),
        ({"sha256": {"../../x.parquet": "0" * 64}}, "a key of sha256=../../x.parquet is not accepted"),
        ({"sha256": {TRAIN: "0" * 64}}, "its files must be those of train, valid"),
    ],
)
def test_a_refusal_names_the_value_and_the_rule(place: Path, subset: Files, change: dict[str, Any], said: str) -> None:
    manifest = as_json({**json.loads(subset[MANIFEST]), **change})
    assert said in refusal(place, {**subset, MANIFEST: manifest})


def test_a_manifest_is_bounded_in_depth_and_size(place: Path, subset: Files) -> None:
    assert "nested too deeply" in refusal(place, {**subset, MANIFEST: b"[" * 100_000})
    assert "larger than 8 MiB" in refusal(place, {**subset, MANIFEST: b" " * (8 * 2**20 + 1)})


def test_files_beside_those_of_the_manifest_are_not_looked_at(place: Path, subset: Files) -> None:
    evil = {
        name: b"import os; os.abort()" for name in ("evil.pkl", "__init__.py", "sitecustomize.py", "train-1.parquet")
    }
    found = read_or_refused(place, {**subset, **evil}, read_subset)
    assert isinstance(found, Subset)
    consistent(found, subset[MANIFEST])


def read_scores(folder: Path) -> ExampleScores:
    return ExampleScores.load(folder, "run")


def usable(found: ExampleScores | str) -> None:
    """What is read can be ranked by, or says why not."""
    if isinstance(found, str):
        return
    frame = found.frame
    assert frame["content_hash"].str.fullmatch("[0-9a-f]{64}").all()
    assert frame["example_id"].is_unique
    assert frame["label"].min() >= 0
    assert found.embeddings is None or len(found.embeddings) == len(frame)
    assert found.confusion is None or len(found.confusion) > frame["label"].max()
    for name in (*found.names, "embeddings", "confusion"):
        with contextlib.suppress(UserError):
            found.check(name)
    if found.cost is not None:
        numbers = np.array([list(vars(cost).values()) for cost in found.cost])
        assert (np.isnan(numbers) | (np.isfinite(numbers) & (numbers >= 0))).all()  # nan is unknown


SCORE_FILES = (TABLE_FILE, EMBEDDINGS_FILE, CONFUSION_FILE, SUMMARY_FILE)


@thorough(300)
@given(name=st.sampled_from([TABLE_FILE, TABLE_FILE, TABLE_FILE, *SCORE_FILES]), changes=edits)
def test_scores_with_other_bytes(place: Path, scores: Files, name: str, changes: Any) -> None:
    usable(read_or_refused(place, {**scores, name: edited(scores[name], changes)}, read_scores, "score"))


@thorough(100)
@given(data=st.data())
def test_summaries_of_scores_with_other_values(place: Path, scores: Files, data: st.DataObject) -> None:
    summary = as_json(data.draw(json_edits(json.loads(scores[SUMMARY_FILE]))))
    usable(read_or_refused(place, {**scores, SUMMARY_FILE: summary}, read_scores, "score"))


@thorough(60)
@given(
    name=st.sampled_from(["example_id", "content_hash", "label", "loss", "el2n_epoch_5", "no measure"]),
    how=st.sampled_from(["replace", "drop", "add", "repeat", "empty"]),
    column=columns,
    codec=st.sampled_from(["snappy", "snappy", "none", "zstd"]),
)
def test_scores_with_other_columns(
    place: Path, scores: Files, name: str, how: str, column: pa.Array, codec: str
) -> None:
    table = table_of(scores[TABLE_FILE])
    index = table.schema.get_field_index(name)
    if how == "repeat":
        table = pa.concat_tables([table, table])
    elif how == "empty":
        table = table.slice(0, 0)
    elif how == "drop" and index >= 0:
        table = table.remove_column(index)
    elif how == "replace" and index >= 0:
        table = table.set_column(index, name, column.slice(0, table.num_rows))
    else:
        table = table.append_column(name, column.slice(0, table.num_rows))
    files = {**scores, TABLE_FILE: written(table, place, compression=codec)}
    usable(read_or_refused(place, files, read_scores, "score"))


def read_checkpoint(folder: Path) -> TrainingCheckpoint | None:
    return next(readable_checkpoints([folder], TrainingCheckpoint.load), None)


def whole(found: TrainingCheckpoint | str | None) -> None:
    """A checkpoint is given back only where a training could go on from it."""
    assert not isinstance(found, str)
    if found is not None:
        assert [record.epoch for record in found.state.records] == list(range(1, found.done + 1))
        numbers = [found.wall_seconds, found.state.train_seconds, found.state.setup_seconds, found.state.examples_seen]
        numbers += [value for record in found.state.records for value in record.values.values()]
        assert np.isfinite(np.array(numbers, dtype=np.float64)).all()


@thorough(160)
@given(data=st.data())
def test_checkpoints_with_other_values(place: Path, checkpoint: Files, data: st.DataObject) -> None:
    description = as_json(data.draw(json_edits(json.loads(checkpoint[DESCRIPTION]))))
    whole(read_or_refused(place, {**checkpoint, DESCRIPTION: description}, read_checkpoint))


@thorough(100)
@given(changes=edits)
def test_checkpoints_with_other_bytes(place: Path, checkpoint: Files, changes: Any) -> None:
    tensors = edited(checkpoint[TENSORS], changes)
    told = {**json.loads(checkpoint[DESCRIPTION]), "sha256": hashlib.sha256(tensors).hexdigest()}
    whole(read_or_refused(place, {TENSORS: tensors, DESCRIPTION: as_json(told)}, read_checkpoint))


def test_what_was_not_altered_is_read(place: Path, subset: Files, scores: Files, checkpoint: Files) -> None:
    """Else all of the above would pass with readers that refuse everything."""
    assert isinstance(read_or_refused(place, subset, read_subset), Subset)
    assert isinstance(read_or_refused(place, scores, read_scores), ExampleScores)
    assert isinstance(read_or_refused(place, checkpoint, read_checkpoint), TrainingCheckpoint)
    assert len(HOSTILE) > 40
