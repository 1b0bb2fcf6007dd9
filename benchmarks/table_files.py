"""How long does a table of a million rows take to load, split and fingerprint, and how much memory?

1,000,000 rows of 6 columns (an id, a text of seven words, a number, a count, a label and a group), about 100 bytes a
row as CSV, as CSV, Parquet and JSON lines, each with and without groups. Each is loaded in a fresh process on one core:
what is timed begins once the modules are imported. Memory is that of the whole process.

CPU seconds are quoted beside wall seconds: on a machine that is shared, they are what the work itself takes.

    python -m benchmarks.table_files [--quick] [--json PATH]
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent
ROWS, QUICK_ROWS, ROUNDS = 1_000_000, 100_000, 5
SUFFIXES = ("csv", "parquet", "jsonl")
MODES = {"": "", "_grouped": "[group=who]"}
Measured = tuple[float, float, float, str]  # wall seconds, CPU seconds, peak MB, fingerprint


def write_files(folder: Path, n: int) -> None:
    """The same rows in each format."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(5000)])
    frame = pd.DataFrame(
        {
            "id": [f"u{number:07d}" for number in range(n)],
            "text": [" ".join(row) for row in words[rng.integers(0, len(words), (n, 7))]],
            "x": rng.normal(size=n).round(9),
            "count": rng.integers(0, 1000, n),
            "label": rng.choice(["a", "b", "c", "d"], n),
            "who": [f"g{number}" for number in rng.integers(0, n // 5, n)],
        }
    )
    frame.to_csv(folder / "rows.csv", index=False)
    frame.to_parquet(folder / "rows.parquet", index=False)
    frame.to_json(folder / "rows.jsonl", orient="records", lines=True, double_precision=15)


def load(name: str) -> Measured:
    """Loads a data set in this process, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet  # noqa: F401

    from proxyflow.data.catalog import load_dataset

    begun, used = time.perf_counter(), time.process_time()
    fingerprint = load_dataset(name, say=lambda line: None).fingerprint
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    return seconds, cpu, peak_megabytes(), fingerprint


def peak_megabytes() -> float:
    """The most that this process has held in memory; `ru_maxrss` would count what its parent held when it began."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(name: str) -> Measured:
    """`load` in a fresh process on one core."""
    # Without what the benchmark itself imports.
    code = f"from benchmarks.table_files import load; print(*load({name!r}))"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{name}: {ended.stderr[-2000:]}")
    wall, cpu, peak, fingerprint = ended.stdout.split()
    return float(wall), float(cpu), float(peak), fingerprint


def main() -> None:
    from benchmarks.bench import alternate, parse_options, write_json  # imports torch

    options = parse_options(__doc__)
    n = QUICK_ROWS if options.quick else ROWS
    found: dict[str, list[Measured]] = {f"{suffix}{mode}": [] for suffix in SUFFIXES for mode in MODES}
    with tempfile.TemporaryDirectory() as name:
        write_files(Path(name), n)
        figures: dict[str, float] = {"rows": n, "megabytes_csv": (Path(name) / "rows.csv").stat().st_size / 1e6}

        def measure(key: str) -> float:
            suffix, _, mode = key.partition("_")
            found[key].append(child(f"table:{name}/rows.{suffix}{MODES[f'_{mode}' if mode else '']}"))
            return found[key][-1][0]

        alternate({key: lambda key=key: measure(key) for key in found}, 2 if options.quick else ROUNDS)  # type: ignore[misc]
    fingerprints = {each[3] for key, measured in found.items() for each in measured if "_grouped" not in key}
    if len(fingerprints) > 1:
        raise SystemExit("the formats have different fingerprints")
    print(f"{n:,} rows{'':<12} {'wall s':>8} {'low':>7} {'high':>7} {'CPU s':>7} {'peak MB':>8}")
    for key, measured in found.items():
        wall, cpu = [each[0] for each in measured], [each[1] for each in measured]
        peak = max(each[2] for each in measured)
        values = statistics.median(wall), min(wall), max(wall), statistics.median(cpu), peak
        names = ("seconds", "lowest_seconds", "highest_seconds", "cpu_seconds", "peak_memory_mb")
        figures |= {f"{name}_{key}": value for name, value in zip(names, values, strict=True)}
        print(f"{key:<20} {values[0]:>8.2f} {values[1]:>7.2f} {values[2]:>7.2f} {values[3]:>7.2f} {values[4]:>8.0f}")
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    main()
