"""Curves of ended runs on disk, since they no longer change: a repeated report queries new runs only.

The cache only saves time, so one that cannot be read or written is ignored without an error.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from proxyflow.core.errors import UserError
from proxyflow.core.files import atomic_write, digest
from proxyflow.data.catalog import CACHE_VARIABLE, DataOptions
from proxyflow.tracking.queries.histories import METRICS

VERSION = 3
SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("end_time", pa.int64()),
        ("epoch", pa.int64()),
        *((metric, pa.float64()) for metric in METRICS),
    ]
)


def path_of(server: str, study: str) -> Path | None:
    """The file of a study, None where this user has no place for one.

    Args:
        server: its address, without credentials.
    """
    options = DataOptions()
    try:
        folder = options.cache if os.environ.get(CACHE_VARIABLE) else options.folder
    except UserError:
        return None
    return folder / "curves" / f"{digest([VERSION, server, study])[:32]}.parquet"


def load(path: Path | None) -> pd.DataFrame:
    """What the file holds, with the columns of `SCHEMA`; no rows where there is none, or it is damaged."""
    table = SCHEMA.empty_table()
    if path is not None:
        with suppress(OSError, ValueError, pa.ArrowException):
            read = pq.read_table(path, page_checksum_verification=True)
            table = read if read.schema.equals(SCHEMA) else table
    frame: pd.DataFrame = table.to_pandas()
    return frame


def save(path: Path | None, curves: pd.DataFrame) -> None:
    """Adds curves to the file, in the place of older ones of the same runs.

    Args:
        curves: the columns of `SCHEMA`; of runs that have ended.
    """
    if path is None:
        return
    # Read once more, since another process may have added to it meanwhile; what is lost in a race is queried again.
    others = load(path)
    frame = pd.concat([others[~others["run_id"].isin(curves["run_id"])], curves], ignore_index=True)
    table = pa.Table.from_pandas(frame[SCHEMA.names], schema=SCHEMA, preserve_index=False).replace_schema_metadata()
    with suppress(OSError), atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
