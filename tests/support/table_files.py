"""Small files of tables: one frame in every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

CLASSES = ("bad", "fine", "good")


def made_up_frame(n: int = 240, seed: int = 0) -> pd.DataFrame:
    """Rows of all types that every format has, each with another text."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    return pd.DataFrame(
        {
            "id": [f"r{number:03d}" for number in range(n)],
            "text": [
                f'{"very " * (number % 4)}{CLASSES[label]}, "so {number}"\nend ü' for number, label in enumerate(labels)
            ],
            "x": rng.normal(labels, 0.5).round(4),
            "count": rng.integers(0, 9, n),
            "label": np.array(CLASSES)[labels],
        }
    )


def write_jsonl(frame: pd.DataFrame, path: Path) -> None:
    frame.to_json(path, orient="records", lines=True, force_ascii=False, double_precision=15)


WRITE: Mapping[str, Callable[[pd.DataFrame, Path], object]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
    ".jsonl": write_jsonl,
    ".jsonl.zst": write_jsonl,
}


def write(frame: pd.DataFrame, path: Path) -> Path:
    """Writes a frame in the format of the path's suffixes."""
    suffix = "".join(path.suffixes)
    if suffix == ".jsonl.zst":
        import pyarrow as pa

        plain = path.with_suffix("")
        write_jsonl(frame, plain)
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(plain.read_bytes())
        return path
    WRITE[suffix](frame, path)
    return path
