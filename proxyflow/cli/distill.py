"""`distill`: synthetic images that stand for a data set, as a subset."""

from __future__ import annotations

from typing import Any

from proxyflow.cli.command import command
from proxyflow.cli.listings import DATA_SETS, METHODS
from proxyflow.cli.opening import open_context
from proxyflow.cli.options import AUTO, NONE, Topic, ruled_option, word_option
from proxyflow.cli.program import next_command
from proxyflow.cli.shared import DATASET, PRICE, SEED, STUDY, SYSTEM_METRICS, data_options, take_data_options
from proxyflow.core.settings import Choice, Number, OptionalValue, settings_of
from proxyflow.data.catalog import canonical_name
from proxyflow.strategies.distillation_methods import DEFAULT_METHOD, methods, parse_method
from proxyflow.trainers import ImageTrainer

IMAGE_SIZE = next(field for field in settings_of(ImageTrainer) if field.name == "image_size").metadata["rule"]
ITERATIONS = Number(low=1, whole=True, example="300")


@command(
    "distill",
    "Makes a few synthetic images per class of a data set and logs them as a self-contained subset, with pictures of "
    "the images during the iterations, losses and cost. After an interruption, the same command resumes.",
    "--dataset digits --images-per-class 10 --image-size 16 --iterations 100",
    METHODS,
    DATA_SETS,
)
@DATASET
@data_options
@ruled_option(
    "method",
    DEFAULT_METHOD,
    Choice(tuple(methods)),
    "how the images are made; see Methods below",
    Topic.DISTILLATION,
    common=True,
)
@ruled_option(
    "images_per_class",
    10,
    Number(low=1, whole=True, example="10"),
    "images per class; at most the number of real images of the class",
    Topic.DISTILLATION,
    common=True,
)
@ruled_option(
    "iterations",
    AUTO,
    OptionalValue(ITERATIONS, AUTO),
    "iterations of the method; auto is its default",
    Topic.DISTILLATION,
    common=True,
)
@word_option(
    "settings",
    NONE,
    "Settings of the method that differ from its defaults, separated by commas (width=64,real_per_class=256).",
    Topic.DISTILLATION,
)
@ruled_option(
    "image_size",
    AUTO,
    IMAGE_SIZE,
    "side of the images in pixels; auto is the training size of the data set",
    Topic.DISTILLATION,
    common=True,
)
@SEED
@PRICE
@SYSTEM_METRICS
@STUDY
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
    written = "" if settings == NONE else settings
    chosen = parse_method(method, written, iterations or 0)
    dataset = canonical_name(dataset)
    where = take_data_options(options, image_size)
    context = open_context(study, where, price_per_hour, system_metrics=system_metrics)
    from proxyflow.distillation.spec import DistillationSpec
    from proxyflow.studies.distillations import check_distillation, make_distillation  # imports mlflow

    spec, data = DistillationSpec(images_per_class, chosen, image_size, seed), context.dataset(dataset)
    check_distillation(context, data, spec)
    subset, run_id = make_distillation(context, data, spec, main=True)
    print(f"distillation run {run_id}: {len(subset.train):,} images of {dataset} by {chosen.canonical}")

    def train(strategy: str | None = None) -> str:
        given = {"subset": run_id, "strategy": strategy, "price_per_hour": price_per_hour}
        return next_command("train", context.writer.study, context.data, **given)

    print(f"use it: {train()}")
    print(f"with as many examples per epoch as the real data: {train(f'{subset.strategy},share=1.0')}")
