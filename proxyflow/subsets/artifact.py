"""A subset as files: Parquet that common loaders read, and a manifest with checksums.

The files are data only and self-contained: a machine without the data set trains on them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue, UserError, one_line, shortened
from proxyflow.core.files import atomic_write, sha256_of, write_json
from proxyflow.core.parquet import open_table
from proxyflow.core.settings import Rule
from proxyflow.core.validation import CHECKSUM, Entries, Fields, Items, Nullable, Numeric, Text, read_json
from proxyflow.data.catalog import DataOptions  # and with it the modalities that come with the package
from proxyflow.data.modality import KEYS, Codec, Reader, modalities
from proxyflow.data.protocol import Examples
from proxyflow.proxies import parse_proxy
from proxyflow.scores.table import COST, SelectionCost
from proxyflow.subsets.subset import Subset

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
ROWS_PER_FILE = 20_000
# Only plain names in the artifact's own folder: a manifest is untrusted input.
FILE_NAME = re.compile(r"(train|valid|test)-[0-9]{5}\.parquet")
# More than any version has written; a file may have any number of row groups.
MOST_ROWS_IN_FILE = 1_000_000
# Columns of every modality, after its own.
COLUMNS = dict(zip(KEYS, (pa.int64(), pa.int64(), pa.float64()), strict=True))
# Of manifests without an entry: all that were written before there were others.
FIRST_MODALITY = "images"

COUNT = Numeric(low=0, whole=True)
RULES: dict[str, Rule] = {
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
    "n_test": Numeric(low=1, whole=True),
    "n_source": Nullable(Numeric(low=1, whole=True)),
    "selection_cost": Nullable(COST),
    "sha256": Entries(
        Text(pattern=FILE_NAME, like="a file name of a subset (train-00000.parquet, say)"), CHECKSUM, most=20_000
    ),
}
OPTIONAL = frozenset({"selection_cost", "n_source", "n_test"})


def write_subset(subset: Subset, folder: Path) -> Path:
    """Writes `manifest.json`, `train-*.parquet`, `valid-*.parquet` and, where there are any, `test-*.parquet`.

    Returns:
        The manifest's path; it is written last, so that a folder with a manifest is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    codec = modalities[subset.modality].codec_of(subset.train, subset.valid, subset.preprocessing)
    files = _write_part(codec, folder, "train", subset, subset.train, subset.scores)
    files += _write_part(codec, folder, "valid", subset, subset.valid, None)
    if subset.test is not None:
        files += _write_part(codec, folder, "test", subset, subset.test, None)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        # Readers of earlier versions do not know these two, and need not where they have nothing to say.
        **({} if subset.modality == FIRST_MODALITY else {"modality": subset.modality}),
        **({} if subset.test is None else {"n_test": len(subset.test)}),
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
        **codec.entries,
        "selection_cost": None if subset.selection is None else subset.selection.to_json(),
        "sha256": {path.name: sha256_of(path) for path in files},
    }
    path = folder / MANIFEST_FILE
    write_json(path, manifest)
    return path


def _write_part(
    codec: Codec, folder: Path, part: str, subset: Subset, examples: Examples, scores: NDArray[np.float64] | None
) -> list[Path]:
    """Writes a file per `ROWS_PER_FILE` examples, a few at a time: encoded examples may be larger than memory."""
    schema = _schema_of(codec).with_metadata(_features(codec, subset.class_names))
    paths = []
    for number, begin in enumerate(range(0, max(1, len(examples)), ROWS_PER_FILE)):
        path = folder / f"{part}-{number:05d}.parquet"
        end = min(begin + ROWS_PER_FILE, len(examples))
        with atomic_write(path) as beside, pq.ParquetWriter(beside, schema) as writer:
            for first in range(begin, end, codec.rows_together):
                rows = slice(first, min(first + codec.rows_together, end))
                values = {
                    "label": examples.labels[rows],
                    "example_id": examples.ids[rows],
                    "score": [None] * (rows.stop - first) if scores is None else scores[rows],
                }
                columns = {name: pa.array(values[name], type=kind) for name, kind in COLUMNS.items()}
                writer.write_table(pa.table(codec.columns(part, examples, rows) | columns, schema=schema))
        paths.append(path)
    return paths


def _schema_of(codec: Codec) -> pa.Schema:
    return pa.schema([*codec.schema, *COLUMNS.items()])


def _features(codec: Codec, class_names: tuple[str, ...]) -> dict[str, str]:
    """The schema's metadata by which Hugging Face's `datasets` knows the columns."""
    features = {
        **codec.features,
        "label": {"names": list(class_names), "_type": "ClassLabel"},
        "example_id": {"dtype": "int64", "_type": "Value"},
        "score": {"dtype": "float64", "_type": "Value"},
    }
    return {"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)}


def read_subset(folder: Path, options: DataOptions | None = None) -> Subset:
    """Reads what `write_subset` wrote, checking every checksum, and every entry of the manifest before it is used.

    The files may come from anybody who may write to a tracking server: see docs/explanation/safety.md.

    Args:
        options: how the data set would be loaded, as examples are kept as they would be then: with an `image_size`,
            images are reduced for trainings up to this size.

    Raises:
        UserError: a file is missing, altered or not of the stated form; the message names it.
    """
    path, options = folder / MANIFEST_FILE, options or DataOptions()
    manifest, codec = _read_manifest(path)
    parts = _read_parts(folder, manifest, codec, codec.reader(options))
    (train, scores), (valid, _) = parts["train"], parts["valid"]
    cost = manifest.get("selection_cost")
    subset = Subset(
        **{name: manifest[name] for name in ("dataset", "dataset_fingerprint", "strategy", "seed", "score_run")},
        **{name: manifest[name] for name in ("class_names", "classes")},
        train=train,
        valid=valid,
        test=parts["test"][0] if "test" in parts else None,
        scores=scores,
        preprocessing=codec.preprocessing(valid, options),
        selection=None if cost is None else SelectionCost.from_json(cost),
        n_source=manifest.get("n_source"),
        ranked=scores is not None and parse_proxy(manifest["strategy"]).data.ranks,
    )
    stated = manifest["subset_fingerprint"]
    if subset.fingerprint != stated:
        remedies = ", or ".join(filter(None, ("materialize it again", codec.written_by)))
        raise UserError(f"{path}: the examples do not have the stated subset_fingerprint {stated}; {remedies}")
    if subset.class_counts != manifest["class_counts"]:
        raise UserError(f"{path}: its class_counts are not those of the training examples; materialize it again")
    return subset


def checksums_of(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that a manifest in `folder` names, by their names; they need not be there yet.

    Raises:
        UserError: the manifest is not of the stated form.
    """
    return dict(_read_manifest(folder / MANIFEST_FILE)[0]["sha256"])


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Names the file in errors."""
    try:
        yield
    except (InvalidValue, ValueError, OSError) as error:
        raise UserError(f"{path} is not valid in a subset: {one_line(error)}; materialize it again") from None


def _read_manifest(path: Path) -> tuple[dict[str, Any], Codec]:
    """The manifest, each entry by its rule and consistent with the others, and the codec of its modality."""
    with _refused(path):
        found = read_json(path)
        if not isinstance(found, dict):
            raise ValueError("it must be an object")
        version = found.get("schema_version")
        if type(version) is not int or version != SCHEMA_VERSION:
            raise ValueError(f"schema version {shortened(one_line(ValueError(version)))} is not {SCHEMA_VERSION}")
        modality = modalities[Text(100).parse("modality", found.get("modality", FIRST_MODALITY))]
        manifest = Fields(RULES, optional=OPTIONAL).parse("", found)
        names, classes = manifest["class_names"], manifest["classes"]
        parts = {FILE_NAME.fullmatch(name)[1] for name in manifest["sha256"]}  # type: ignore[index]
        expected = {"train", "valid", *(("test",) if "n_test" in manifest else ())}
        if parse_proxy(manifest["strategy"]).canonical != manifest["strategy"]:
            raise InvalidValue("strategy", manifest["strategy"], "it must be in its one canonical spelling")
        for name, holds, rule in (
            ("classes", list(classes) == sorted(set(classes)), "each must occur once, in order"),
            ("classes", max(classes) < len(names), f"each must be below the number of class names, {len(names)}"),
            ("sha256", parts == expected, f"its files must be those of {', '.join(sorted(expected))}"),
        ):
            if not holds:
                raise InvalidValue(name, list(manifest[name]), rule)
        return manifest, modality.codec_from(found)


def _read_parts(
    folder: Path, manifest: Mapping[str, Any], codec: Codec, reader: Reader
) -> dict[str, tuple[Examples, NDArray[np.float64] | None]]:
    files: dict[str, list[Path]] = {}
    for name, checksum in sorted(manifest["sha256"].items()):
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing from the subset; materialize it again")
        if sha256_of(path) != checksum:
            raise UserError(f"{path} does not have the checksum of its manifest; materialize it again")
        files.setdefault(name.partition("-")[0], []).append(path)
    found = {}
    for part, paths in files.items():
        columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        for path in paths:
            with _refused(path):
                _read_file(path, codec, reader, columns)
        with _refused(paths[-1]):
            values = {name: np.concatenate(arrays) for name, arrays in columns.items()}
            _check_keys(values["label"], values["example_id"], manifest["classes"], manifest[f"n_{part}"])
            scores = _scores_of(values["score"].astype(np.float64))
            found[part] = reader.examples(values["label"], values["example_id"]), scores
    return found


def _read_file(path: Path, codec: Codec, reader: Reader, columns: dict[str, list[np.ndarray]]) -> None:
    """Reads a file.

    Raises:
        ValueError, OSError: it is not what `write_subset` wrote.
    """
    schema = _schema_of(codec)

    def check(found: pa.Schema) -> None:
        if not found.equals(schema):
            raise ValueError(f"its columns are {_described(found)}; they must be {_described(schema)}")

    with open_table(path, check, MOST_ROWS_IN_FILE) as table:
        for batch in table.batches([*codec.leaves, *COLUMNS], codec.rows_together):
            reader.add(batch)
            for name, arrays in columns.items():
                if name != "score" and batch[name].null_count:
                    raise ValueError(f"column {name} lacks {batch[name].null_count} of its values")
                arrays.append(batch[name].to_numpy(zero_copy_only=False))


def _check_keys(labels: np.ndarray, ids: np.ndarray, classes: tuple[int, ...], stated: int) -> None:
    """Checks labels and ids.

    Args:
        stated: how many examples there are by the manifest.
    """
    if len(labels) != stated:
        raise ValueError(f"there are {len(labels):,} examples, and the manifest says {stated:,}")
    strange = np.setdiff1d(labels, classes)
    if len(strange):
        raise ValueError(f"label {strange[0]} is not among the manifest's classes")
    if ids.min() < 0:
        raise ValueError(f"example_id {ids.min()} is below 0")
    if len(np.unique(ids)) < len(ids):
        raise ValueError("an example_id occurs twice")


def _scores_of(scores: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The scores, None where there are none."""
    if np.isnan(scores).all():
        return None
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise ValueError(f"{bad:,} of {len(scores):,} scores are not finite; all must be, or none may be present")
    return scores


def _described(schema: pa.Schema) -> str:
    return shortened(", ".join(f"{field.name} {field.type}" for field in schema), 300)
