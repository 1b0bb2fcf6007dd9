"""Image files that a column of a table names: `index:FILE[image=path]`."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np

from proxyflow.core.errors import InvalidValue
from proxyflow.data.images.listing import Found, Listing, files_signature
from proxyflow.data.images.origin import Origin
from proxyflow.data.images.sources.base import ImageSource
from proxyflow.data.options import DataOptions
from proxyflow.data.protocol import Contents, Say
from proxyflow.data.table.sources import Index, file_columns

ROLE = "image"


class ListedImages:
    """Images by their paths, relative to the folder of the table."""

    def load(self, name: str, index: Index, options: DataOptions, say: Say) -> Contents:
        """See `table.sources.FileColumn`."""
        return _OneIndex(index).load(name, index.name.file, options, say)


class _OneIndex(ImageSource):
    """The images of one table.

    The order of the table does not matter: training order is by label and content, as with folders.
    """

    description = "the images of a table"

    def __init__(self, index: Index) -> None:
        self.index = index

    def find(self, path: str, data_dir: Path) -> Found:
        # Delayed for start-up time: they take pyarrow.
        from proxyflow.data.table.columns import text_of
        from proxyflow.data.table.contents import Place, find_roles, left_out, read_roles

        index, root = self.index, Path(path).parent
        place = Place(path, f"{index.kind}:{path}[{ROLE}={index.name.named[ROLE]},{{}}]")
        roles = find_roles(index.table.column_names, index.name.named, place)
        found = read_roles(index.table, roles, place)
        kept, notes = left_out(found.split, path)
        rows = np.arange(len(found.labels)) if kept is None else kept
        files = text_of(index.table, roles[ROLE])[rows].tolist()
        if "" in files:
            row = place.row(int(rows[files.index("")]))
            raise InvalidValue(ROLE, "(missing)", f"{row} has no path in column {roles[ROLE]}; each row needs one")
        labels, split = found.labels[rows], None if found.split is None else found.split[rows]
        ids, groups = (
            text_of(index.table, roles[role])[rows].astype(str) if role in roles else None for role in ("id", "group")
        )
        given = (rows, labels, split, ids, groups)
        columns = [list(found.class_names), *(None if each is None else each.tolist() for each in given)]
        stated = hashlib.sha256(json.dumps(columns).encode()).hexdigest()
        listing = partial(
            Listing.of_files,
            found.class_names,
            root,
            files,
            labels,
            None if split is None else split == "valid",
            Origin(rows, ids, groups),
        )
        return Found(f"{files_signature(root, files)} {stated}", listing, notes=notes, own_split=split is not None)


file_columns.add(ROLE, ListedImages())
