"""The folder `{data}`: the examples of a training as files in the layout that programs for such data read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from proxyflow.core.files import write_json, write_text
from proxyflow.core.validation import read_json
from proxyflow.data.modality import Part, modalities
from proxyflow.subsets import Subset
from proxyflow.trainers.workspace import subset_folder

MANIFEST = "manifest.json"
PARTS: Sequence[Part] = ("train", "valid")
FORMAT = 2  # of the folder
FILES_CHECKED = 100


@dataclass(frozen=True)
class DataFolder:
    """The files of a subset.

    Attributes:
        folder: what `{data}` stands for.
        train, valid: the file or folder inside it with the examples of each part.
    """

    folder: Path
    train: Path
    valid: Path


def subset_files(subset: Subset, workspace: Path) -> DataFolder:
    """The files of a subset, written where they are not there yet or were deleted since."""
    folder = subset_folder(subset, workspace, write_subset_files, f"{FORMAT} {subset.dataset}", _is_whole)
    places = read_json(folder / MANIFEST)["parts"]
    return DataFolder(folder, *(folder / places[part] for part in PARTS))


def write_subset_files(subset: Subset, folder: Path) -> None:
    """Writes the examples, `train_ids.txt`, `valid_ids.txt` and, last, `manifest.json`, to an empty folder."""
    modality, places = modalities[subset.modality], {}
    for part, examples in zip(PARTS, (subset.train, subset.valid), strict=True):
        written = modality.write_files(part, examples, subset.class_names, folder)
        places[part] = written.relative_to(folder).as_posix()
        ids = "".join(f"{' '.join(str(each).split())}\n" for each in modality.identifiers(examples))
        write_text(folder / f"{part}_ids.txt", ids)
    _align_folders(*(folder / place for place in places.values()))
    manifest = {
        "dataset": subset.dataset,
        "dataset_fingerprint": subset.dataset_fingerprint,
        "subset_fingerprint": subset.fingerprint,
        "strategy": subset.strategy,
        "class_names": list(subset.class_names),
        "classes": [subset.class_names[label] for label in subset.classes],
        "n_train": len(subset.train),
        "n_valid": len(subset.valid),
        "parts": places,
    }
    write_json(folder / MANIFEST, manifest)


def _align_folders(*parts: Path) -> None:
    """Gives all parts the same sub-folders.

    Programs number classes by the folders that they find: a class without training examples must not shift the others.
    """
    if all(part.is_dir() for part in parts):
        for name in {path.name for part in parts for path in part.iterdir() if path.is_dir()}:
            for part in parts:
                (part / name).mkdir(exist_ok=True)


def _is_whole(folder: Path) -> bool:
    """Whether the folder is complete; of the links to original files, which may have been moved, it looks at a few."""
    files = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return (folder / MANIFEST).is_file() and all(path.exists() for path in islice(files, FILES_CHECKED))
