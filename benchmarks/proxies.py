"""What does each kind of proxy cost next to the target, and does the forecast of a dry run say so before?

For each data set the target and one proxy of every kind are trained with one configuration: XResNet18 of a quarter of
the width, batches of 64, 32 px, and scores that are made up, as selection is not what is measured here. Of each:
seconds of training with validation, examples, steps and FLOPs, each also as a share of the target's, and the seconds
that a dry run would state beforehand, from a few steps of the same kind. Trainings alternate in rounds, and medians
are shown. `ratios.measured_over_forecast_DATA_PROXY` should be within 0.85 and 1.15. One thread; on a machine that
does other work, seconds mean little.

    python -m benchmarks.proxies [--quick] [--json PATH]
"""

from __future__ import annotations

import statistics
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import torch

from benchmarks.bench import parse_options, write_json
from proxyflow.data.catalog import DataOptions, Dataset, load_dataset
from proxyflow.proxies import parse_proxy
from proxyflow.scores import known_scores
from proxyflow.scores.table import ExampleScores
from proxyflow.studies.context import StudyContext
from proxyflow.studies.estimate import Sizes, Speed, calibrate, speed_group
from proxyflow.studies.plan import PlannedTraining, training_spec
from proxyflow.studies.trainings import apply_budget
from proxyflow.subsets import choose_subset
from proxyflow.trainers import ImageTrainer, Job, TrainingResult
from proxyflow.trainers.images.space import image_configuration

DATA, QUICK_DATA = {"digits": 12, "fashion-mnist@4000": 8}, {"digits": 4}  # epochs of the target
ROUNDS = 3
PROXIES = (
    "full",
    "random:0.25",
    "easiest:0.25",
    "coverage:0.25",
    "epochs:2",
    "size:16",
    "width:0.5",
    "batch:16",
    "random:0.25+batch:16",
    "curriculum:0.25",
    "curriculum:0.25,order=random",
    "random:0.5+epochs:2+size:16+width:0.5",
)
CPU = torch.device("cpu")


def made_up_scores(dataset: Dataset) -> ExampleScores:
    """Scores without a model: what is selected does not change what a training costs."""
    train, rng = dataset.train, np.random.default_rng(0)
    frame = pd.DataFrame({"example_id": train.ids, "content_hash": train.content_hashes, "label": train.labels})
    return ExampleScores(frame.assign(**{name: rng.random(len(train)) for name in known_scores}), "")


def planned_of(dataset: str, epochs: int, text: str) -> PlannedTraining:
    configuration = image_configuration(arch="xresnet18-w16")
    trainer = ImageTrainer(image_size=32, precision="fp32")
    return PlannedTraining(dataset, training_spec(configuration, epochs, 0, trainer, parse_proxy(text)))


def forecast_seconds(context: StudyContext, planned: PlannedTraining, speeds: dict[str, Speed]) -> float:
    """As a dry run estimates it, from a few steps of the same size, width and batch."""
    group = speed_group(planned.strategy)
    if group not in speeds:
        speeds[group] = calibrate(context, context.dataset(planned.dataset), planned)
    return speeds[group].seconds(Sizes(context).of(planned))


def train(planned: PlannedTraining, dataset: Dataset, scores: ExampleScores) -> TrainingResult:
    subset = choose_subset(dataset, planned.strategy.subset_strategy, 0, scores)
    used, spec, _ = apply_budget(planned, subset)
    return spec.trainer.train(Job(spec, used, CPU)).result


def main() -> None:
    options = parse_options(__doc__)
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for name, epochs in (QUICK_DATA if options.quick else DATA).items():
        dataset = load_dataset(name, DataOptions(), lambda text: None)
        context = cast(StudyContext, SimpleNamespace(device=CPU, dataset=lambda _, data=dataset: data))
        scores = made_up_scores(dataset)
        plans = {text: planned_of(name, epochs, text) for text in PROXIES}
        results: dict[str, list[TrainingResult]] = {text: [] for text in PROXIES}
        forecasts: dict[str, list[float]] = {text: [] for text in PROXIES}
        for _ in range(1 if options.quick else ROUNDS):
            # Each round has a forecast of its own, next to what it foretells.
            speeds: dict[str, Speed] = {}
            for text, planned in plans.items():
                forecasts[text].append(forecast_seconds(context, planned, speeds))
                results[text].append(train(planned, dataset, scores))
        print(f"{name}, {epochs} epochs of the target, {len(dataset.valid):,} validation images")
        print(
            f"{'proxy':<40} {'seconds':>8} {'share':>6} {'forecast':>8} {'ratio':>6} {'examples':>9} {'steps':>6} "
            f"{'GFLOPs':>8} {'share':>6}"
        )
        seconds = {text: statistics.median(each.train_seconds for each in found) for text, found in results.items()}
        flops = {text: float(found[0].train_flops or 0) for text, found in results.items()}
        for text, found in results.items():
            ratio = statistics.median(
                each.train_seconds / stated for each, stated in zip(found, forecasts[text], strict=True)
            )
            key = f"{name}_{text}"
            ratios[f"measured_over_forecast_{key}"] = ratio
            ratios[f"seconds_over_full_{key}"] = seconds[text] / seconds["full"]
            ratios[f"flops_over_full_{key}"] = flops[text] / flops["full"]
            figures |= {
                f"seconds_{key}": seconds[text],
                f"examples_{key}": float(found[0].examples_seen or 0),
                f"steps_{key}": float(found[0].steps or 0),
                f"gflops_{key}": flops[text] / 1e9,
            }
            print(
                f"{text:<40} {seconds[text]:>8.2f} {seconds[text] / seconds['full']:>6.3f} "
                f"{statistics.median(forecasts[text]):>8.2f} {ratio:>6.2f} {found[0].examples_seen:>9,} "
                f"{found[0].steps:>6,} {flops[text] / 1e9:>8,.1f} {flops[text] / flops['full']:>6.3f}"
            )
        print()
    write_json(options.json, ratios, figures)


if __name__ == "__main__":
    main()
