"""CSV files of numbers and text, read to the last digit by every version of pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd


def read_csv(path: str | Path) -> pd.DataFrame:
    """A table whose empty cells are missing and whose other cells mean what they say: `NA` is text.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no CSV, or no UTF-8.
    """
    # Versions from 3 on do so by themselves.
    exact: dict[str, Any] = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}
    table: pd.DataFrame = pd.read_csv(path, keep_default_na=False, na_values=[""], **exact)
    return table
