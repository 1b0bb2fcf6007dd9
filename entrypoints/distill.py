"""`distill`: synthetic images that stand for a data set, as a subset."""

from __future__ import annotations

from typing import Any

import click

from entrypoints import _cli
from proxyflow.data.catalog import canonical_name
from proxyflow.distillation.methods import DEFAULT_METHOD, methods, parse_method
from proxyflow.settings import Choice, Number, OptionalValue, settings_of
from proxyflow.training.hyperparameters import TrainingSettings

IMAGE_SIZE = next(field for field in settings_of(TrainingSettings) if field.name == "image_size").metadata["rule"]
ITERATIONS = Number(low=1, whole=True, example="300")


@_cli.command(
    "distill",
    "Makes a few synthetic images per class of a data set and logs them as a self-contained subset, with pictures of "
    "them as they change, losses and cost. The same command after an interruption goes on where it stood.",
    "--dataset digits --images-per-class 10 --image-size 16 --iterations 100",
    f"{_cli.METHODS}\n\n{_cli.DATASETS}",
)
@_cli.DATASET
@_cli.data_options
@_cli.ruled_option("method", DEFAULT_METHOD, Choice(tuple(methods)), "how the images are made; see Methods below")
@_cli.ruled_option(
    "images_per_class",
    10,
    Number(low=1, whole=True, example="10"),
    "images of each class; of a class with fewer real ones, as many as it has",
)
@_cli.ruled_option(
    "iterations", _cli.AUTO, OptionalValue(ITERATIONS, _cli.AUTO), "of the method; auto is its own default"
)
@click.option(
    "--settings",
    default=_cli.NONE,
    show_default=True,
    help="Settings of the method that differ from its defaults, separated by commas (width=64,real_per_class=256).",
)
@_cli.ruled_option(
    "image_size", _cli.AUTO, IMAGE_SIZE, "side in pixels of the images; auto is what the data set is trained on at"
)
@_cli.SEED
@_cli.PRICE
@_cli.SYSTEM_METRICS
@_cli.STUDY
def distill(
    dataset: str,
    method: str,
    images_per_class: int,
    iterations: int | None,
    settings: str,
    image_size: int | None,
    seed: int,
    price_per_hour: float | None,
    system_metrics: bool | None,
    study: str,
    **options: Any,
) -> None:
    written = "" if settings == _cli.NONE else settings
    chosen = parse_method(method, written, iterations or 0)
    dataset = canonical_name(dataset)
    data_options = _cli.take_data_options(options)
    lab = _cli.open_lab(study, data_options, price_per_hour, system_metrics=system_metrics)
    from proxyflow.distillation.spec import DistillationSpec
    from proxyflow.studies.distillations import check_distillation, make_distillation

    spec, data = DistillationSpec(images_per_class, chosen, image_size, seed), lab.dataset(dataset)
    check_distillation(lab, data, spec)
    subset, run_id = make_distillation(lab, data, spec, main=True)
    print(f"distillation run {run_id}: {len(subset.train):,} images of {dataset} by {chosen.canonical}")
    print(f"use it: {_cli.next_command('train', subset=run_id)}")
    whole = _cli.next_command("train", subset=run_id, strategy=f"{subset.strategy},share=1.0")
    print(f"showing as many examples as the real data have: {whole}")


if __name__ == "__main__":
    _cli.run(distill)
