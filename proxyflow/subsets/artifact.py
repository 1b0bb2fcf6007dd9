"""A subset as files: parquet that common loaders read, and a manifest with checksums.

The files are data only and self-contained: a machine without the data set trains on them.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from proxyflow.checked import CHECKSUM, Entries, Fields, Items, Nullable, Numeric, Text, read_json
from proxyflow.data.augment import CROPS
from proxyflow.data.decode import BadImage, decode_image
from proxyflow.data.images import ImageSet
from proxyflow.errors import InvalidValue, UserError, one_line, shortened
from proxyflow.files import replacing, sha256_of, write_json
from proxyflow.scoring.table import SelectionCost
from proxyflow.settings import Choice
from proxyflow.strategies import parse_strategy
from proxyflow.subsets.subset import Subset
from proxyflow.tables import open_table

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
ROWS_PER_FILE = 20_000
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema([("image", IMAGE), ("label", pa.int64()), ("example_id", pa.int64()), ("score", pa.float64())])
# A row group whose images are above 2 GB cannot be read back.
ROWS_TOGETHER = 100
# Only plain names in the artifact's own folder: a manifest is somebody else's input.
FILE_NAME = re.compile(r"(train|valid)-[0-9]{5}\.parquet")
# More than any version has written; a file may have any number of row groups.
MOST_ROWS_IN_FILE = 1_000_000
MEMORY_SHARE = 0.4  # of this machine's that decoded images may take, as they are copied into one buffer in the end

COUNT = Numeric(low=0, whole=True)
MANIFEST = Fields(
    {
        "dataset": Text(4096),
        "dataset_fingerprint": CHECKSUM,
        "subset_fingerprint": CHECKSUM,
        "strategy": Text(5000),
        "seed": Numeric(low=0, high=2**31, whole=True),
        "score_run": Text(pattern=re.compile(r"[\w-]{0,64}"), like="the id of a run, or empty"),
        "class_names": Items(Text(), fewest=1, most=100_000),
        "classes": Items(COUNT, fewest=1, most=100_000),
        "class_counts": Entries(Text(), COUNT, most=100_000),
        "n_train": Numeric(low=1, whole=True),
        "n_valid": Numeric(low=1, whole=True),
        "n_source": Nullable(Numeric(low=1, whole=True)),
        "channels": Choice(("1", "3")),
        "image_size": Numeric(low=8, high=2048, whole=True),
        "crop": Choice(tuple(CROPS)),
        "mean": Items(Numeric(low=0, high=1), fewest=1, most=3),
        "std": Items(Numeric(low=0, high=1, above=True), fewest=1, most=3),
        "pillow": Text(100),
        "selection_cost": Nullable(Fields({field.name: Numeric(low=0) for field in fields(SelectionCost)})),
        "sha256": Entries(
            Text(pattern=FILE_NAME, like="a file name of a subset (train-00000.parquet, say)"), CHECKSUM, most=20_000
        ),
    },
    optional=frozenset({"pillow", "selection_cost", "n_source"}),
)


def write_subset(subset: Subset, folder: Path) -> Path:
    """Writes `manifest.json`, `train-*.parquet` and `valid-*.parquet` into `folder`.

    Returns:
        The manifest's path; it is written last, so that a folder with a manifest is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = _write_part(folder, "train", subset, subset.train, subset.scores)
    files += _write_part(folder, "valid", subset, subset.valid, None)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "dataset": subset.dataset,
        "dataset_fingerprint": subset.dataset_fingerprint,
        "subset_fingerprint": subset.fingerprint,
        "strategy": subset.strategy,
        "seed": subset.seed,
        "score_run": subset.score_run,
        "class_names": list(subset.class_names),
        "classes": list(subset.classes),
        "class_counts": subset.class_counts,
        "n_train": len(subset.train),
        "n_valid": len(subset.valid),
        "n_source": subset.n_source,
        "channels": subset.train.channels,
        "image_size": subset.image_size,
        "crop": subset.crop,
        "mean": list(subset.mean),
        "std": list(subset.std),
        "pillow": PIL.__version__,
        "selection_cost": None if subset.selection is None else asdict(subset.selection),
        "sha256": {path.name: sha256_of(path) for path in files},
    }
    path = folder / MANIFEST_FILE
    write_json(path, manifest)
    return path


def _write_part(folder: Path, part: str, subset: Subset, images: ImageSet, scores: np.ndarray | None) -> list[Path]:
    """Writes a file per `ROWS_PER_FILE` examples, a few at a time: encoded images may be larger than memory."""
    schema = SCHEMA.with_metadata(_features(subset.class_names))
    paths = []
    for number, begin in enumerate(range(0, max(1, len(images)), ROWS_PER_FILE)):
        path = folder / f"{part}-{number:05d}.parquet"
        end = min(begin + ROWS_PER_FILE, len(images))
        with replacing(path) as beside, pq.ParquetWriter(beside, schema) as writer:
            for first in range(begin, end, ROWS_TOGETHER):
                rows = slice(first, min(first + ROWS_TOGETHER, end))
                writer.write_table(pa.table(_columns(part, images, scores, rows), schema=schema))
        paths.append(path)
    return paths


def _columns(part: str, images: ImageSet, scores: np.ndarray | None, rows: slice) -> dict[str, pa.Array]:
    ids = images.example_ids[rows]
    encoded = []
    for row, example_id in zip(images.rows[rows], ids, strict=True):
        data, suffix = images.store.encoded(int(row))
        encoded.append({"bytes": data, "path": f"{part}-{example_id}{suffix}"})
    return {
        "image": pa.array(encoded, type=IMAGE),
        "label": pa.array(images.labels[rows], type=pa.int64()),
        "example_id": pa.array(ids, type=pa.int64()),
        "score": pa.array(scores[rows] if scores is not None else [None] * len(ids), type=pa.float64()),
    }


def _features(class_names: tuple[str, ...]) -> dict[str, str]:
    """The schema's metadata by which Hugging Face's `datasets` knows images and class labels."""
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(class_names), "_type": "ClassLabel"},
        "example_id": {"dtype": "int64", "_type": "Value"},
        "score": {"dtype": "float64", "_type": "Value"},
    }
    return {"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)}


def read_subset(folder: Path) -> Subset:
    """Reads what `write_subset` wrote, checking every checksum, and all that a manifest says before it is used.

    The files may come from anybody who may write to a tracking server: see docs/safety.md.

    Raises:
        UserError: a file is missing, altered or not of the stated form; the message names it.
    """
    path = folder / MANIFEST_FILE
    manifest = _read_manifest(path)
    parts = _read_parts(folder, manifest)
    (train, scores), (valid, _) = parts["train"], parts["valid"]
    cost = manifest.get("selection_cost")
    subset = Subset(
        **{name: manifest[name] for name in ("dataset", "dataset_fingerprint", "strategy", "seed", "score_run")},
        **{name: manifest[name] for name in ("class_names", "classes", "image_size", "crop", "mean", "std")},
        train=train,
        valid=valid,
        scores=scores,
        selection=None if cost is None else SelectionCost(**cost),
        n_source=manifest.get("n_source"),
    )
    stated = manifest["subset_fingerprint"]
    if subset.fingerprint != stated:
        # Original files are decoded here once more, and decoders differ by a level now and then.
        raise UserError(
            f"{path}: the images do not have the stated subset_fingerprint {stated}; materialize it again, or read it "
            f"with the Pillow that it was made with ({manifest.get('pillow', 'unknown')}; here it is {PIL.__version__})"
        )
    if subset.class_counts != manifest["class_counts"]:
        raise UserError(f"{path}: its class_counts are not those of the training examples; materialize it again")
    return subset


def checksums_of(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that a manifest in `folder` names, by their names; they need not be there yet.

    Raises:
        UserError: the manifest is not of the stated form.
    """
    return dict(_read_manifest(folder / MANIFEST_FILE)["sha256"])


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Says which file it is that something is wrong with."""
    try:
        yield
    except (InvalidValue, ValueError, OSError) as error:
        raise UserError(f"{path} is not what a subset has: {one_line(error)}; materialize it again") from None


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest, each entry by its rule and in keeping with the others."""
    with _refused(path):
        found = read_json(path)
        if not isinstance(found, dict):
            raise ValueError("it must be an object")
        version = found.get("schema_version")
        if type(version) is not int or version != SCHEMA_VERSION:
            raise ValueError(f"schema version {one_line(ValueError(version))} is not {SCHEMA_VERSION}")
        manifest = MANIFEST.parse("", found)
        manifest["channels"] = int(manifest["channels"])
        names, classes, channels = manifest["class_names"], manifest["classes"], manifest["channels"]
        parts = {FILE_NAME.fullmatch(name)[1] for name in manifest["sha256"]}  # type: ignore[index]
        if parse_strategy(manifest["strategy"]).canonical != manifest["strategy"]:
            raise InvalidValue("strategy", manifest["strategy"], "it must be in its one canonical spelling")
        for name, holds, rule in (
            ("classes", list(classes) == sorted(set(classes)), "each must be there once, in order"),
            ("classes", max(classes) < len(names), f"each must be below the number of class names, {len(names)}"),
            ("mean", len(manifest["mean"]) == channels, f"it must have a value per channel, {channels}"),
            ("std", len(manifest["std"]) == channels, f"it must have a value per channel, {channels}"),
            ("sha256", parts == {"train", "valid"}, "it must name a train and a valid file at least"),
        ):
            if not holds:
                raise InvalidValue(name, list(manifest[name]), rule)
    return manifest


def _read_parts(folder: Path, manifest: Mapping[str, Any]) -> dict[str, tuple[ImageSet, np.ndarray | None]]:
    files: dict[str, list[Path]] = {"train": [], "valid": []}
    for name, checksum in sorted(manifest["sha256"].items()):
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing from the subset; materialize it again")
        if sha256_of(path) != checksum:
            raise UserError(f"{path} does not have the checksum of its manifest; materialize it again")
        files[name.partition("-")[0]].append(path)
    room = int(MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    found = {}
    for part, paths in files.items():
        reader = _Part(manifest["channels"], manifest["classes"], room)
        for path in paths:
            with _refused(path):
                reader.add(path)
        with _refused(paths[-1]):
            found[part] = reader.whole(manifest[f"n_{part}"])
        room = reader.room
    return found


class _Part:
    """The training or validation examples of a subset, file by file.

    Args:
        channels, classes: the manifest's.
        room: bytes that decoded images may take.
    """

    def __init__(self, channels: int, classes: tuple[int, ...], room: int) -> None:
        self.channels, self.classes, self.room = channels, classes, room
        self.images: list[np.ndarray] = []
        self.columns: dict[str, list[np.ndarray]] = {"label": [], "example_id": [], "score": []}

    def add(self, path: Path) -> None:
        """Reads a file.

        Raises:
            ValueError, OSError: it is not what `write_subset` wrote.
        """
        with open_table(path, _check_schema, MOST_ROWS_IN_FILE) as table, warnings.catch_warnings():
            # Pillow warns of odd metadata; what matters is whether there are pixels.
            warnings.simplefilter("ignore")
            for batch in table.batches(["image.bytes", *self.columns], ROWS_TOGETHER):
                for data in batch["image"].field("bytes"):
                    self._decode(data.as_py())
                for name, parts in self.columns.items():
                    if name != "score" and batch[name].null_count:
                        raise ValueError(f"column {name} lacks {batch[name].null_count} of its values")
                    parts.append(batch[name].to_numpy(zero_copy_only=False))

    def _decode(self, data: bytes | None) -> None:
        place = f"image {len(self.images)}"
        if data is None:
            raise ValueError(f"{place} is null")
        try:
            image = decode_image(data, self.channels, most_pixels=self.room // self.channels)
        except BadImage as error:
            raise ValueError(f"{place} cannot be used: {error}") from None
        self.room -= image.nbytes
        self.images.append(image)

    def whole(self, stated: int) -> tuple[ImageSet, np.ndarray | None]:
        """The examples with their scores, None where they have none.

        Args:
            stated: how many there are by the manifest.

        Raises:
            ValueError: their labels, ids or scores are not those of examples.
        """
        if len(self.images) != stated:
            raise ValueError(f"there are {len(self.images):,} examples, and the manifest says {stated:,}")
        labels, ids, scores = (np.concatenate(parts) for parts in self.columns.values())
        strange = np.setdiff1d(labels, self.classes)
        if len(strange):
            raise ValueError(f"label {strange[0]} is none of the manifest's classes")
        if ids.min() < 0:
            raise ValueError(f"example_id {ids.min()} is below 0")
        if len(np.unique(ids)) < len(ids):
            raise ValueError("an example_id is there twice")
        scores = scores.astype(np.float64)
        bad = int((~np.isfinite(scores)).sum())
        if np.isnan(scores).all():
            return ImageSet.of(self.images, labels, ids), None
        if bad:
            raise ValueError(f"{bad:,} of {len(scores):,} scores are not finite; all must be, or none be there")
        return ImageSet.of(self.images, labels, ids), scores


def _check_schema(found: pa.Schema) -> None:
    if not found.equals(SCHEMA):
        raise ValueError(f"its columns are {_described(found)}; they must be {_described(SCHEMA)}")


def _described(schema: pa.Schema) -> str:
    return shortened(", ".join(f"{field.name} {field.type}" for field in schema), 300)
