"""How much a measure or a decision depends on one configuration: what it would be without each.

One configuration that fails on both the proxy and the target can raise a correlation, and one that fails on one side
alone can lower it, so both directions are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.quality.bootstrap import Draws
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.strategy_measures import MEASURES, StrategyMeasures

INFLUENCE_COLUMNS = ["strategy", "measure", "value", "direction", "config", "without", "n_pairs"]
LOWER, HIGHER = "lower", "higher"
# A cost is not about how well a proxy ranks, and whether the best is recovered depends on one by definition.
LEFT_OUT = ("relative_cost", "best_recovered")
# A decision without a configuration uses the bootstrap samples that lack it; there must be at least this many.
LEAST_SAMPLES = 50


def influence_table(
    measured: Mapping[str, StrategyMeasures],
    options: QualityOptions,
    suffixed: Mapping[str, Mapping[str, StrategyMeasures]],
) -> pd.DataFrame:
    """The configuration without which each measure would be lowest, and that without which it would be highest.

    A configuration is left out on every data set and under every seed.

    Args:
        measured: strategy to its measures.
        suffixed: the end of a measure's name to further measures by strategy, such as those over means over seeds.

    Returns:
        Columns `INFLUENCE_COLUMNS`: `direction` is where the measure goes `without` the configuration; a row is missing
        where no configuration moves it there.
    """
    rows: list[tuple[object, ...]] = []
    for suffix, by_strategy in (("", measured), *suffixed.items()):
        for strategy, each in by_strategy.items():
            if strategy != TARGET and len(each.pairs.frame):
                rows += _rows(strategy, suffix, each, options)
    return pd.DataFrame(rows, columns=INFLUENCE_COLUMNS)


def _rows(strategy: str, suffix: str, measured: StrategyMeasures, options: QualityOptions) -> list[tuple[object, ...]]:
    configs, weights = measured.pairs.without_each
    rows: list[tuple[object, ...]] = []
    for name, estimate in measured.estimates.items():
        if name in LEFT_OUT or not np.isfinite(estimate.value):
            continue
        signed = MEASURES[name].signed
        value, _ = measured.signed(name)
        without = signed(MEASURES[name].formula(measured.pairs, weights, options))
        for direction, sign in ((LOWER, -1.0), (HIGHER, 1.0)):
            moved = np.where(np.isfinite(without), sign * (without - value), -np.inf)
            at = int(moved.argmax())
            if moved[at] > 0:
                # The value as in the other tables, where r2 has no sign.
                shown = estimate.value if value >= 0 else value
                n = len(measured.pairs.frame)
                rows.append((strategy, f"{name}{suffix}", shown, direction, configs[at], float(without[at]), n))
    return rows


def decisive_configurations(
    draws: Draws, runs: pd.DataFrame, decide: Callable[[NDArray[np.bool_]], object]
) -> list[str]:
    """Configurations without which a decision that is based on bootstrap samples would differ.

    The samples that lack a configuration are a bootstrap of the study without it (the jackknife after the bootstrap,
    Efron 1992).

    Args:
        draws: the samples.
        runs: `config` and its number `cluster`, of runs or of pairs.
        decide: from which samples are used, `(samples,)`, to the decision.
    """
    used = np.ones(len(draws.counts), dtype=bool)
    decision = decide(used)
    found = []
    known = runs[["config", "cluster"]].drop_duplicates().sort_values("config")
    for config, number in zip(known["config"], known["cluster"].to_numpy(dtype=np.int64), strict=True):
        lacking = draws.counts[:, number] == 0
        if lacking.sum() >= LEAST_SAMPLES and decide(lacking) != decision:
            found.append(str(config))
    return found


def centre(samples: NDArray[np.float64], used: NDArray[np.bool_], value: float) -> float:
    """The centre of an interval over some bootstrap samples: the value, or the median where not all are used."""
    found = samples[used][np.isfinite(samples[used])]
    return value if used.all() or not len(found) else float(np.median(found))
