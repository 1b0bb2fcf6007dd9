"""The table of example scores: one row per training example, as logged in `scores/scores.parquet`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from proxyflow.errors import UserError
from proxyflow.files import replacing
from proxyflow.scoring.measures import measures

KEYS = ("example_id", "content_hash", "label")


@dataclass(frozen=True, eq=False)
class ExampleScores:
    """Scores of every example of one training set.

    Attributes:
        frame: columns `example_id` int64, `content_hash` str, `label` int64, then one float64 column per
            measure, and `correct` (share of the scoring models that classify the example rightly).
        run_id: the score run that the table came from, empty before it is logged.
    """

    frame: pd.DataFrame
    run_id: str = ""

    def __post_init__(self) -> None:
        missing = [name for name in (*KEYS, "loss", "margin") if name not in self.frame.columns]
        if missing:
            raise UserError(f"the score table{self._origin} lacks the columns {', '.join(missing)}")

    @property
    def _origin(self) -> str:
        return f" of run {self.run_id}" if self.run_id else ""

    @property
    def names(self) -> list[str]:
        """The measures that the table holds."""
        return [name for name in measures if name in self.frame.columns]

    def check_ranks(self, name: str) -> None:
        """Refuses to rank by a column that is absent or not finite.

        Raises:
            UserError: with what to do instead.
        """
        if name not in self.frame.columns:
            raise UserError(
                f"by={name} is not in the score table{self._origin}: it holds {', '.join(self.names)}"
                + ("; score with holdout_folds=5 to get it" if name == "heldout_loss" else "")
            )
        bad = int((~np.isfinite(self.frame[name].to_numpy(dtype=np.float64))).sum())
        if bad:
            raise UserError(
                f"by={name}: {bad} of {len(self.frame)} scores{self._origin} are not finite, so they cannot be "
                "ranked (the scoring model diverged); score again with another seed or fewer epochs"
            )

    def save(self, path: Path) -> None:
        """Writes the table as parquet."""
        with replacing(path) as beside:
            self.frame.to_parquet(beside, index=False)

    @staticmethod
    def load(path: Path, run_id: str = "") -> ExampleScores:
        """Reads a table written by `save`."""
        try:
            return ExampleScores(pd.read_parquet(path), run_id)
        except (OSError, ValueError) as error:  # Arrow's own errors are ValueErrors
            raise UserError(f"{path.name} of score run {run_id} cannot be read ({error}); score again") from None
