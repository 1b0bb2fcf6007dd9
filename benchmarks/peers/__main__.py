"""Runs one search in the environment of its package, a line of JSON for each replicate.

    python -m benchmarks.peers syne_tune_asha --box digits.npz --replicates 0:20 --budget 18 --out asha.jsonl

`launch` makes the environment. Replicates that the file has are left out, so that a run goes on where it was ended.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers import simple
from benchmarks.peers.blackbox import Blackbox, Replay

SIMPLE: dict[str, Callable[..., None]] = {
    "random_search": simple.random_search,
    "halving": simple.halving,
    "screen": simple.screen,
}
# They only train in full, and would be the same search under another name with proxies.
WITHOUT_RUNGS = ("random_search", "optuna_tpe")


def search_of(policy: str) -> Callable[[Replay, int, tuple[str, ...]], None]:
    """The `run` of a search's module; only then its package is imported."""
    if policy in SIMPLE:
        return SIMPLE[policy]
    run: Callable[[Replay, int, tuple[str, ...]], None] = import_module(f"benchmarks.peers.{policy}").run
    return run


def replicate_of(
    policy: str, box: Blackbox, replicate: int, budget: float, rungs: tuple[str, ...], share: float = 1.0
) -> dict[str, Any]:
    """One search from its start to the end of its budget; its seed is the number of the replicate.

    Args:
        share: of the configurations, that it may choose from, see `Blackbox.part_of`; the trace has their own numbers.
    """
    part = box.part_of(replicate, share) if share < 1 else range(len(box))
    replay = box.part(part).replay(replicate, budget)
    started = time.perf_counter()
    search_of(policy)(replay, replicate, rungs)
    return {
        "policy": policy,
        "table": box.table,
        "replicate": replicate,
        "rungs": "ladder" if rungs else "own",
        "ladder": list(rungs),
        "budget": budget,
        "cost": replay.cost,
        "trace": [(cost, part[configuration]) for cost, configuration in replay.trace],
        "seconds": round(time.perf_counter() - started, 3),
    }


def done_in(path: Path, of: tuple[Any, ...]) -> set[int]:
    """Replicates that a file has of this policy, table, rungs and budget; what a crash left half written is none."""
    found = set()
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if (line["policy"], line["table"], tuple(line["ladder"]), line["budget"]) == of:
            found.add(line["replicate"])
    return found


def end_last_line(path: Path) -> None:
    """Ends the line that a crash left half written, so that the next one does not become a part of it."""
    if path.is_file() and (text := path.read_bytes()) and not text.endswith(b"\n"):
        path.write_bytes(text + b"\n")


def main(arguments: list[str] | None = None) -> None:
    asked = parser().parse_args(arguments)
    if asked.rungs == "ladder" and not asked.ladder:
        raise SystemExit("--rungs ladder needs --ladder with proxies from cheap to full, such as epochs:1,full")
    if asked.rungs == "ladder" and asked.policy in WITHOUT_RUNGS:
        raise SystemExit(f"{asked.policy} trains in full and has no rungs: leave --rungs out")
    rungs = tuple(asked.ladder) if asked.rungs == "ladder" else ()
    box = Blackbox.load(asked.box)
    if unknown := [proxy for proxy in rungs if proxy not in box.proxies]:
        raise SystemExit(f"{box.table} has no proxy {', '.join(unknown)}: it has {', '.join(box.proxies)}")
    done = done_in(asked.out, (asked.policy, box.table, rungs, asked.budget))
    end_last_line(asked.out)
    with asked.out.open("a", encoding="utf-8") as file:
        for replicate in asked.replicates:
            if replicate not in done:
                file.write(
                    json.dumps(replicate_of(asked.policy, box, replicate, asked.budget, rungs, asked.part)) + "\n"
                )
                file.flush()


def parser() -> argparse.ArgumentParser:
    """The command's arguments, which `launch` passes on."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    found.add_argument("policy", help="the name of a search")
    add_arguments(found)
    return found


def add_arguments(found: argparse.ArgumentParser) -> None:
    """Those that say what to replay."""
    found.add_argument("--box", type=Path, required=True, help="the .npz file that export writes")
    found.add_argument("--replicates", type=_numbers, default=range(20), help="first:end, without the end (0:20)")
    found.add_argument("--budget", type=float, default=18.0, help="in full trainings (18)")
    found.add_argument("--rungs", choices=["own", "ladder"], default="own", help="the search's own rungs, or proxies")
    found.add_argument("--ladder", type=_proxies, default=[], help="from cheap to full: epochs:1,random:0.25,full")
    found.add_argument("--part", type=float, default=1.0, help="share of the configurations that a replicate sees (1)")
    found.add_argument("--out", type=Path, required=True, help="a file of JSON lines, which is added to")


def _numbers(text: str) -> range:
    first, _, end = text.partition(":")
    return range(int(first), int(end)) if end else range(int(first), int(first) + 1)


def _proxies(text: str) -> list[str]:
    """Proxies of a list. A proxy may have commas itself: what has no spelling of its own belongs to the one before."""
    found: list[str] = []
    for part in text.split(","):
        if found and "=" in part:
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


if __name__ == "__main__":
    # A search must not take the cores of those beside it; set before its package is imported.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        os.environ.setdefault(name, "1")
    main()
