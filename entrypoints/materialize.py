"""`materialize`: a subset as a self-contained artifact."""

from __future__ import annotations

from typing import Any

import click

from entrypoints import _cli
from proxyflow.data.catalog import canonical_name
from proxyflow.errors import InvalidValue
from proxyflow.strategies import Distilled, parse_strategy


@_cli.command(
    "materialize",
    "Selects a subset of a data set by a strategy and logs it as a self-contained artifact (parquet with encoded "
    "images, a manifest with checksums, the validation set with it).",
    "--dataset digits --strategy random:0.1",
    f"{_cli.DATASETS}\n\n{_cli.STRATEGIES}",
)
@_cli.DATASET
@_cli.data_options
@click.option("--strategy", default="random:0.1", show_default=True, help=_cli.STRATEGY_HELP)
@_cli.SCORES
@_cli.SEED
@_cli.STUDY
def materialize(dataset: str, strategy: str, scores: str, seed: int, study: str, **options: Any) -> None:
    parsed = parse_strategy(strategy)
    dataset = canonical_name(dataset)
    if isinstance(parsed, Distilled):
        distill = _cli.next_command(
            "distill", dataset=dataset, method=parsed.method, images_per_class=str(parsed.count)
        )
        raise InvalidValue("strategy", parsed.canonical, f"its images are made and not chosen; write {distill}")
    lab = _cli.open_lab(study, _cli.take_data_options(options))
    from proxyflow.studies.scores import check_scores, chosen_scores
    from proxyflow.studies.subsets import make_subset

    check_scores(lab, scores, parsed)
    data = lab.dataset(dataset)
    table = chosen_scores(lab, data, scores, parsed) if parsed.needs_scores else None
    subset, run_id = make_subset(lab, data, parsed, seed, table, main=True)
    print(f"subset run {run_id}: {len(subset.train):,} examples of {dataset} by {subset.strategy}")
    print(f"use it: {_cli.next_command('train', subset=run_id)}")


if __name__ == "__main__":
    _cli.run(materialize)
