"""A subset as files: parquet that common loaders read, and a manifest with checksums.

The files are data only and self-contained: a machine without the data set trains on them.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from proxyflow.data.augment import CROPS
from proxyflow.data.decode import BadImage, decode_image
from proxyflow.data.images import ImageSet
from proxyflow.errors import UserError
from proxyflow.files import replacing, sha256_of, write_json
from proxyflow.scoring.table import SelectionCost
from proxyflow.subsets.subset import Subset

SCHEMA_VERSION = 1
ROWS_PER_FILE = 20_000
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema([("image", IMAGE), ("label", pa.int64()), ("example_id", pa.int64()), ("score", pa.float64())])
# A row group whose images are above 2 GB cannot be read back.
ROWS_TOGETHER = 100
# Only plain names in the artifact's own folder: a manifest is somebody else's input.
FILE_NAME = re.compile(r"(train|valid)-[0-9]{5}\.parquet")


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
    path = folder / "manifest.json"
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
    """Reads what `write_subset` wrote, checking every checksum.

    Raises:
        UserError: a file is missing, altered or not of the stated form; the message names it.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a subset's manifest ({error}); materialize it again") from None
    try:
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise UserError(
                f"{path}: schema version {manifest['schema_version']} is not {SCHEMA_VERSION}; materialize it again"
            )
        parts = _read_parts(folder, manifest["sha256"], int(manifest["channels"]))
        train, scores = parts["train"]
        valid, _ = parts["valid"]
        subset = Subset(
            dataset=str(manifest["dataset"]),
            dataset_fingerprint=str(manifest["dataset_fingerprint"]),
            strategy=str(manifest["strategy"]),
            seed=int(manifest["seed"]),
            class_names=tuple(str(name) for name in manifest["class_names"]),
            classes=tuple(int(c) for c in manifest["classes"]),
            train=train,
            valid=valid,
            scores=scores,
            score_run=str(manifest["score_run"]),
            image_size=int(manifest["image_size"]),
            crop=_known_crop(manifest["crop"]),
            mean=tuple(float(value) for value in manifest["mean"]),
            std=tuple(float(value) for value in manifest["std"]),
            selection=_cost_of(manifest.get("selection_cost")),
            n_source=None if manifest.get("n_source") is None else int(manifest["n_source"]),
        )
        stated = manifest["subset_fingerprint"]
    except BadImage as error:
        raise UserError(f"{folder} has an image that cannot be used: {error}; materialize it again") from None
    except (KeyError, TypeError, ValueError, AttributeError, OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path} is not a whole subset manifest ({type(error).__name__}: {error}); materialize it again"
        ) from None
    if subset.fingerprint != stated:
        # Original files are decoded here once more, and decoders differ by a level now and then.
        raise UserError(
            f"{path}: the images do not have the stated subset_fingerprint {stated}; materialize it again, or read it "
            f"with the Pillow that it was made with ({manifest.get('pillow', 'unknown')}; here it is {PIL.__version__})"
        )
    return subset


def _cost_of(kept: Any) -> SelectionCost | None:
    return None if kept is None else SelectionCost(**{name: float(value) for name, value in kept.items()})


def _known_crop(name: object) -> str:
    if name not in CROPS:
        raise ValueError(f"crop={name} is none of {', '.join(CROPS)}")
    return str(name)


def _read_parts(
    folder: Path, checksums: dict[str, str], channels: int
) -> dict[str, tuple[ImageSet, np.ndarray | None]]:
    files: dict[str, list[Path]] = {"train": [], "valid": []}
    for name, checksum in sorted(checksums.items()):
        match = FILE_NAME.fullmatch(name)
        if not match:
            raise UserError(
                f"{folder / 'manifest.json'}: {name!r} is not a file name of a subset (train-00000.parquet, say)"
            )
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing from the subset; materialize it again")
        if sha256_of(path) != checksum:
            raise UserError(f"{path} does not have the checksum of its manifest; materialize it again")
        files[match[1]].append(path)
    return {part: _images_of(paths, channels) for part, paths in files.items()}


def _images_of(paths: list[Path], channels: int) -> tuple[ImageSet, np.ndarray | None]:
    images: list[np.ndarray] = []
    columns: dict[str, list[np.ndarray]] = {"label": [], "example_id": [], "score": []}
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_TOGETHER, columns=SCHEMA.names):
                images += [decode_image(row["bytes"], channels) for row in batch["image"].to_pylist()]
                for name, parts in columns.items():
                    parts.append(batch[name].to_numpy(zero_copy_only=False))
    labels, ids = (np.concatenate(columns[name]).astype(np.int64) for name in ("label", "example_id"))
    scores = np.concatenate(columns["score"]).astype(np.float64)
    return ImageSet.of(images, labels, ids), None if np.isnan(scores).all() else scores
