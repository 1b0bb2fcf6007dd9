"""Syne Tune's BOHB, the best known search that combines rungs with a model.

Its model needs seven to eight trials for each hyperparameter; before that it is ASHA, choice by choice.
"""

from __future__ import annotations

from syne_tune.optimizer.baselines import BOHB

from benchmarks.peers.blackbox import Replay
from benchmarks.peers.syne_tune_asha import run_scheduler


def run(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """Replays it until the budget is spent, on the target's epochs or on the given proxies."""
    run_scheduler(BOHB, replay, seed, rungs)
