"""A subset is handed to other machines as files, so what comes back must be the same or refused by name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import noise_dataset, random_images, random_scores

from proxyflow.core.errors import UserError, printable
from proxyflow.data.images.artifact import IMAGE
from proxyflow.data.images.decode import decode_image
from proxyflow.data.protocol import fingerprint
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import artifact
from proxyflow.subsets.artifact import read_subset, write_subset
from proxyflow.subsets.subset import Subset, choose_subset


def made_up_subset(strategy: str = "easiest:0.5", channels: int = 1) -> Subset:
    dataset = noise_dataset(train=[0, 1, 2, 3] * 10, valid=[0, 1, 2, 3] * 2, n_classes=4, channels=channels)
    return choose_subset(dataset, parse_strategy(strategy), 7, random_scores(dataset.train))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_subset(made_up_subset(), tmp_path / "subset")
    return tmp_path / "subset"


@pytest.mark.parametrize("strategy", ["full", "random:0.3", "half-classes:0.5", "easiest:0.5,by=el2n", "hardest:0.1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_written_comes_back_equal(tmp_path: Path, strategy: str, channels: int) -> None:
    subset = made_up_subset(strategy, channels)
    write_subset(subset, tmp_path)
    found = read_subset(tmp_path)
    assert found.fingerprint == subset.fingerprint
    for part in ("train", "valid"):
        ours, theirs = getattr(subset, part), getattr(found, part)
        assert np.array_equal(theirs.images, ours.images)
        assert np.array_equal(theirs.labels, ours.labels)
        assert np.array_equal(theirs.ids, ours.ids)
    if subset.scores is None:
        assert found.scores is None
    else:
        assert np.array_equal(found.scores, subset.scores)
    rest = ["dataset", "dataset_fingerprint", "strategy", "seed", "class_names", "classes", "score_run"]
    for name in (*rest, "preprocessing", "class_counts"):
        assert getattr(found, name) == getattr(subset, name), name


def test_a_large_subset_is_several_files_that_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "ROWS_PER_FILE", 7)
    subset = made_up_subset()
    write_subset(subset, tmp_path)
    names = sorted(path.name for path in tmp_path.glob("*.parquet"))
    assert names == ["train-00000.parquet", "train-00001.parquet", "train-00002.parquet"] + [
        f"valid-0000{number}.parquet" for number in (0, 1)
    ]
    found = read_subset(tmp_path)
    assert np.array_equal(found.train.ids, subset.train.ids)
    assert found.fingerprint == subset.fingerprint


def test_the_parquet_files_have_the_layout_that_other_loaders_read(folder: Path) -> None:
    subset = made_up_subset()
    for part, images in (("train", subset.train), ("valid", subset.valid)):
        table = pq.read_table(folder / f"{part}-00000.parquet")
        assert table.schema.field("image").type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        assert [table.schema.field(name).type for name in ("label", "example_id")] == [pa.int64()] * 2
        assert table.schema.field("score").type == pa.float64()
        rows = table.to_pylist()
        assert [row["label"] for row in rows] == images.labels.tolist()
        assert np.array_equal(decode_image(rows[3]["image"]["bytes"], 1), images.images[3])
        assert len({row["image"]["path"] for row in rows}) == len(rows)
    assert pq.read_table(folder / "valid-00000.parquet")["score"].null_count == len(subset.valid)


def test_the_manifest_says_what_the_subset_is_and_has_every_checksum(tmp_path: Path) -> None:
    subset = made_up_subset()
    path = write_subset(subset, tmp_path)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert path == tmp_path / "manifest.json"
    assert manifest["schema_version"] == 1
    assert (manifest["dataset"], manifest["dataset_fingerprint"]) == ("noise", subset.dataset_fingerprint)
    assert (manifest["strategy"], manifest["seed"], manifest["score_run"]) == ("easiest:0.5", 7, "score-run")
    assert manifest["class_counts"] == subset.class_counts
    assert (manifest["n_train"], manifest["n_valid"], manifest["channels"]) == (20, 8, 1)
    assert manifest["sha256"] == {
        found.name: hashlib.sha256(found.read_bytes()).hexdigest() for found in tmp_path.glob("*.parquet")
    }


def test_test_examples_travel_with_a_subset(tmp_path: Path) -> None:
    subset = made_up_subset()
    tested = dataclasses.replace(subset, test=random_images([0, 1] * 4, seed=9))
    assert tested.fingerprint != subset.fingerprint
    manifest = json.loads(write_subset(tested, tmp_path / "tested").read_text(encoding="utf-8"))
    assert manifest["n_test"] == 8
    found = read_subset(tmp_path / "tested")
    assert tested.test is not None
    assert found.test is not None
    assert found.fingerprint == tested.fingerprint
    assert fingerprint(found.test) == fingerprint(tested.test)
    assert np.array_equal(found.test.ids, tested.test.ids)
    manifest = json.loads(write_subset(subset, tmp_path / "untested").read_text(encoding="utf-8"))
    assert "n_test" not in manifest, "older versions refuse what they do not know"
    assert read_subset(tmp_path / "untested").test is None


@pytest.mark.parametrize("change", ["no files", "no number", "another number", "a file is missing"])
def test_test_examples_are_all_there_or_none(change: str, tmp_path: Path) -> None:
    path = write_subset(dataclasses.replace(made_up_subset(), test=random_images([0, 1] * 4, seed=9)), tmp_path)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if change == "no files":
        del manifest["sha256"]["test-00000.parquet"]
    elif change == "no number":
        del manifest["n_test"]
    elif change == "another number":
        manifest["n_test"] = 7
    else:
        (tmp_path / "test-00000.parquet").unlink()
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert str(tmp_path) in refusal(tmp_path)


def test_equal_subsets_give_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_subset(made_up_subset(), tmp_path / name)
    one, two = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("one", "two"))
    # How long the choice took is told with them, and is never the same.
    assert one.pop("selection_cost").keys() == two.pop("selection_cost").keys()
    assert one == two


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_subset(folder)
    message = str(caught.value)
    assert "materialize it again" in message
    assert "\n" not in message
    return message


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def forge(folder: Path, name: str, data: bytes) -> None:
    """Replaces a file and its checksum alike, as a program with a fault of its own would."""
    (folder / name).write_bytes(data)
    edit(folder, lambda manifest: manifest["sha256"].update({name: hashlib.sha256(data).hexdigest()}))


@pytest.mark.parametrize("name", ["train-00000.parquet", "valid-00000.parquet"])
@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_one_altered_byte_is_noticed_and_the_file_named(folder: Path, name: str, place: float) -> None:
    data = bytearray((folder / name).read_bytes())
    data[int(place * len(data)) if place > 0 else int(place)] ^= 1
    (folder / name).write_bytes(data)
    message = refusal(folder)
    assert str(folder / name) in message
    assert "checksum" in message


@pytest.mark.parametrize("name", ["train-00000.parquet", "valid-00000.parquet"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    message = refusal(folder)
    assert str(folder / name) in message
    assert "missing" in message


def test_a_truncated_file_is_noticed_and_named(folder: Path) -> None:
    path = folder / "train-00000.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in refusal(folder)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    assert "manifest.json" in refusal(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "not JSON", '{"schema_version": 1', "\xff\xfe", "[]", "3", "null", '"text"', "{}"]
)
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    assert "manifest.json" in refusal(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_refused_with_both_versions(folder: Path, version: object) -> None:
    edit(folder, lambda manifest: manifest.update(schema_version=version))
    message = refusal(folder)
    assert f"schema version {version} is not 1" in message


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "../train-00000.parquet",
        "/etc/passwd",
        "sub/train-00000.parquet",
        "train-00000.parquet/../x",
        "train-00000.parquet\n",
        "other-00000.parquet",
        "",
    ],
)
def test_a_manifest_cannot_name_files_elsewhere(folder: Path, name: str) -> None:
    (folder.parent / "x").write_bytes(b"secret")
    (folder.parent / "train-00000.parquet").write_bytes((folder / "train-00000.parquet").read_bytes())
    edit(folder, lambda manifest: manifest["sha256"].update({name: hashlib.sha256(b"secret").hexdigest()}))
    message = refusal(folder)
    said = f"a key of sha256={printable(name)} is not accepted" if name else "a key of sha256 is missing"
    assert f"{said}: it must be a file name of a subset" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "key",
    [
        "sha256",
        "channels",
        "dataset",
        "strategy",
        "seed",
        "class_names",
        "classes",
        "mean",
        "std",
        "subset_fingerprint",
    ],
)
def test_a_manifest_that_lacks_an_entry_is_refused_by_its_name(folder: Path, key: str) -> None:
    edit(folder, lambda manifest: manifest.pop(key))
    assert key in refusal(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": []},
        {"sha256": None},
        {"sha256": {}},
        {"seed": "abc"},
        {"mean": 0.5},
        {"classes": "abc"},
        {"channels": None},
        {"image_size": [8]},
    ],
)
def test_a_manifest_with_an_entry_of_the_wrong_kind_is_refused(folder: Path, change: dict[str, object]) -> None:
    edit(folder, lambda manifest: manifest.update(change))
    assert "manifest.json" in refusal(folder)


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_manifest_without_one_of_the_parts_is_refused(folder: Path, part: str) -> None:
    edit(folder, lambda manifest: manifest["sha256"].pop(f"{part}-00000.parquet"))
    assert "manifest.json" in refusal(folder)


def test_files_that_are_not_those_of_the_fingerprint_are_refused(folder: Path) -> None:
    edit(folder, lambda manifest: manifest.update(subset_fingerprint="0" * 64))
    assert "subset_fingerprint" in refusal(folder)


def test_labels_that_were_changed_with_their_checksum_do_not_have_the_fingerprint(folder: Path) -> None:
    table = pq.read_table(folder / "train-00000.parquet")
    labels = pa.array([(label + 1) % 4 for label in table["label"].to_pylist()], type=pa.int64())
    forged = folder / "forged"
    pq.write_table(table.set_column(table.schema.get_field_index("label"), "label", labels), forged)
    forge(folder, "train-00000.parquet", forged.read_bytes())
    assert "fingerprint" in refusal(folder)


@pytest.mark.parametrize("kept", [0, 3, 200, -1, -100])
def test_a_truncated_file_with_the_checksum_of_what_is_left_is_refused(folder: Path, kept: int) -> None:
    forge(folder, "train-00000.parquet", (folder / "train-00000.parquet").read_bytes()[:kept])
    refusal(folder)


def test_a_file_with_damaged_pages_and_their_checksum_is_refused(folder: Path) -> None:
    data = bytearray((folder / "train-00000.parquet").read_bytes())
    data[4:40] = b"\xff" * 36
    forge(folder, "train-00000.parquet", bytes(data))
    refusal(folder)


def replace_images(folder: Path, encode: Callable[[bytes], bytes | None]) -> None:
    table = pq.read_table(folder / "train-00000.parquet")
    images = [{"bytes": encode(row["bytes"]), "path": row["path"]} for row in table["image"].to_pylist()]
    forged = folder / "forged"
    pq.write_table(table.set_column(0, "image", pa.array(images, type=IMAGE)), forged)
    forge(folder, "train-00000.parquet", forged.read_bytes())


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda data: b"no image", id="no image"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: None, id="null"),
        pytest.param(lambda data: data[: len(data) // 2], id="half an image"),
        pytest.param(lambda data: data[:-25] + b"\x00" * 25, id="damaged end"),
    ],
)
def test_images_that_cannot_be_decoded_are_refused(folder: Path, encode: Callable[[bytes], bytes | None]) -> None:
    replace_images(folder, encode)
    refusal(folder)


@pytest.mark.parametrize("column", ["image", "label", "example_id", "score"])
def test_a_file_without_one_of_the_columns_is_refused(folder: Path, column: str) -> None:
    table = pq.read_table(folder / "train-00000.parquet")
    forged = folder / "forged"
    pq.write_table(table.drop_columns([column]), forged)
    forge(folder, "train-00000.parquet", forged.read_bytes())
    assert column in refusal(folder)
