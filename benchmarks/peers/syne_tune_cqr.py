"""Syne Tune's ASHA with conformal quantile regression, which its authors found the best of its searches."""

from __future__ import annotations

from syne_tune.optimizer.baselines import ASHACQR

from benchmarks.peers.blackbox import Replay
from benchmarks.peers.syne_tune_asha import run_scheduler


def run(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """Replays it until the budget is spent, on the target's epochs or on the given proxies."""
    run_scheduler(ASHACQR, replay, seed, rungs)
