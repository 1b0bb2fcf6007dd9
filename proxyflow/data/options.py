"""Where data sets are and how strictly they are read, as one value that commands hand to every source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxyflow.core.folders import CACHE_VARIABLE, DATA_VARIABLE, absolute, cache_folder, data_folder
from proxyflow.data.evaluation import DEFAULT, EvaluationSettings

__all__ = ["CACHE_VARIABLE", "DATA_VARIABLE", "DataOptions", "absolute"]


@dataclass(frozen=True)
class DataOptions:
    """Where data sets are, and how strict their reading is.

    Attributes:
        data_dir: where downloads are looked for and kept; None is the variable PROXYFLOW_DATA_DIR, else
            `~/.cache/proxyflow`.
        skip_bad: leave out files that hold no usable example and count them.
        image_size: the largest side that will be trained at, which decides how large images are kept; None is the
            data set's own. Read by sources of images only.
        evaluation: how many examples models are validated and tested on.
    """

    data_dir: Path | None = None
    skip_bad: bool = False
    image_size: int | None = None
    evaluation: EvaluationSettings = DEFAULT

    @property
    def folder(self) -> Path:
        """The data directory."""
        return data_folder(self.data_dir)

    @property
    def cache(self) -> Path:
        """Where decoded examples are kept: the variable PROXYFLOW_CACHE_DIR, else below the data directory."""
        return cache_folder(self.data_dir)
