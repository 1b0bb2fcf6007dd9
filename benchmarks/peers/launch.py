"""Starts a search in an environment with its package alone, as no two of these packages agree on their dependencies.

python -m benchmarks.peers.launch optuna_tpe --box digits.npz --replicates 0:20 --budget 18 --out tpe.jsonl
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.__main__ import add_arguments

ROOT = Path(__file__).parents[2]
PYTHON = "3.11"  # the newest that all of the packages support
NUMPY = "numpy>=2.2,<3"
_OPTUNA = ("optuna==5.0.*", NUMPY)
# huggingface_hub is imported by Syne Tune, but only its largest extra asks for it.
_SYNE_TUNE = ("syne-tune==0.16.*", "huggingface_hub", NUMPY)
PEERS: dict[str, tuple[str, ...]] = {
    "random_search": (NUMPY,),
    "halving": (NUMPY,),
    "screen": (NUMPY,),
    "optuna_tpe": _OPTUNA,
    "optuna_hyperband": _OPTUNA,
    "syne_tune_asha": _SYNE_TUNE,
    "syne_tune_cqr": _SYNE_TUNE,
    "syne_tune_bohb": _SYNE_TUNE,
    "smac_multifidelity": ("smac==2.4.*", NUMPY),
    "neps_priorband": ("neural-pipeline-search==0.17.*", NUMPY),
    # BlendSearch needs Optuna, and does not know newer ones.
    "flaml_samples": ("flaml[blendsearch]==2.7.*", "optuna==3.6.1", NUMPY),
}
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}


class CannotLaunch(Exception):
    """There is no such search, no uv, or its package cannot be had."""


def command_of(name: str) -> list[str]:
    """What runs Python with a search's package.

    Raises:
        CannotLaunch: there is no such search, or no uv.
    """
    if name not in PEERS:
        raise CannotLaunch(f"there is no search {name}: there are {', '.join(PEERS)}")
    uv = shutil.which("uv")
    if uv is None:
        raise CannotLaunch("uv makes the environments of other packages, and is not on the PATH: install uv")
    wanted = [part for spec in PEERS[name] for part in ("--with", spec)]
    return [uv, "run", "--quiet", "--no-project", "--python", PYTHON, *wanted, "python"]


def launch(
    name: str,
    box: Path,
    out: Path,
    replicates: range = range(20),
    budget: float = 18.0,
    ladder: Sequence[str] = (),
    part: float = 1.0,
) -> None:
    """Runs replicates of a search, and returns when they are done.

    Args:
        name: one of `PEERS`.
        box: the `.npz` file that `export` writes.
        out: a file of JSON lines, which is added to; replicates that it has are left out.
        replicates: their numbers, one after the other.
        budget: in full trainings.
        ladder: proxies from cheap to full; none for the search's own rungs.
        part: share of the configurations that a replicate may choose from.

    Raises:
        CannotLaunch: there is no such search, no uv, or its package cannot be had.
        RuntimeError: the search failed.
    """
    command = command_of(name)
    environment = {**os.environ, **THREADS, "PYTHONPATH": str(ROOT)}
    # Asked first, so that a package that cannot be had is not taken for a search that failed.
    there = subprocess.run([*command, "-c", "import numpy"], env=environment, capture_output=True, text=True)
    if there.returncode:
        why = there.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise CannotLaunch(f"uv cannot make an environment with {', '.join(PEERS[name])}: {why[0]}")
    rungs = ["--rungs", "ladder", "--ladder", ",".join(ladder)] if ladder else []
    asked = ["--box", str(box), "--out", str(out), "--budget", str(budget), "--part", str(part), *rungs]
    asked += ["--replicates", f"{replicates.start}:{replicates.stop}"]
    done = subprocess.run([*command, "-m", "benchmarks.peers", name, *asked], env=environment)
    if done.returncode:
        raise RuntimeError(f"{name} ended with exit status {done.returncode}: its messages are above")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.launch", description=__doc__.splitlines()[0])
    parser.add_argument("name", help=f"one of {', '.join(PEERS)}")
    add_arguments(parser)
    asked = parser.parse_args(arguments)
    ladder = asked.ladder if asked.rungs == "ladder" else ()
    try:
        launch(asked.name, asked.box, asked.out, asked.replicates, asked.budget, ladder, asked.part)
    except (CannotLaunch, RuntimeError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
