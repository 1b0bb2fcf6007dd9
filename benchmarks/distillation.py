"""Are synthetic images better than as many real ones, and do they rank hyperparameters?

1. Accuracy: on digits and Fashion-MNIST, 10 images per class of 28 px, a ConvNet (3 blocks, width 32) trained on random
   real images, on those images moved by `distribution-matching` (300 iterations), and on images of `gradient-steps`
   (200 iterations, which is what a core has time for), all else at their defaults; mean and standard deviation over 5
   seeds, each with images and weights of its own. The training is that of Zhao & Bilen 2023 with fewer
   epochs: 300 of SGD .01, momentum .9, weight decay 5e-4, a tenth of the rate after half, augmented. All images are as
   they are kept, in 8 bits. Digits are judged by their 500 validation examples, Fashion-MNIST by 5,000 examples that
   are put aside of its training set before anything else. Those of `gradient-steps` are judged by their own steps, too.
   Seconds per iteration are those of these runs, and of `gradient-steps` with the AlexNet on digits of 32 px.
2. Proxy quality: the 36 configurations of `grid=paper` on digits at 16 px, 2 epochs, batches of 32, on the target and
   on proxies that are shown a quarter of its examples: random ones, 10 real images per class repeated, and 10 synthetic
   ones per class of each method, made at the same size. Measures, costs and intervals are those of the report. Costs by
   examples have no interval: every pair of trainings has the same.

For orientation, published and not reproduced here (MNIST, other networks, many more iterations): Wang et al. 2018,
93.8 % by own steps from a fixed initialisation (10 images), 79.5 +- 8.1 % from random ones (100 images); Zhao & Bilen
2023, about 97 % with 10 images per class.

    python -m benchmarks.distillation [--quick] [--json PATH] [--only accuracy|quality]

The second part takes over an hour. With `--only`, the JSON that is there keeps the figures of the other part, so the
parts may run beside each other, each on a core.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.bench import parse_options, train_images, write_json
from proxyflow.core.seeds import generator, stream_seed
from proxyflow.data.catalog import load_dataset
from proxyflow.data.images.store import ImageSet
from proxyflow.data.protocol import Dataset
from proxyflow.distillation import augment, networks
from proxyflow.distillation.distill import Distillation, distill, estimate_seconds, subset_of
from proxyflow.distillation.problem import Problem
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.distillation.unrolling import Unrolling
from proxyflow.quality.objective import columns_of
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES
from proxyflow.scores.table import SelectionCost
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.metric import ACCURACY
from proxyflow.strategies import EpochPlan, Full, parse_strategy
from proxyflow.strategies.distillation_methods import GradientSteps, Method, RankAgreement, parse_method
from proxyflow.strategies.distillation_methods.distribution_matching import AUGMENTATIONS
from proxyflow.strategies.distilled import Distilled
from proxyflow.subsets import Subset, choose_subset
from proxyflow.trainers import ImageTrainer, TrainingResult, TrainingSpec
from proxyflow.trainers.devices import configure_threads, pick_device
from proxyflow.trainers.images.grids import demo_grid, paper_grid

PER_CLASS, WIDTH, DEPTH = 10, 32, 3
HELD_OUT = 5000
CPU = torch.device("cpu")
# What begins the names of a part's figures.
PARTS = {"accuracy": ("accuracy_", "minutes_", "seconds_per_iteration_", "seeds_"), "quality": ("quality_",)}
PUBLISHED = {
    "published_mnist_gradient_steps_fixed_10_images": 0.938,
    "published_mnist_gradient_steps_random_100_images": 0.795,
}


def accuracy_of(problem: Problem, pixels: np.ndarray, labels: np.ndarray, test: ImageSet, epochs: int) -> float:
    """Test accuracy of a ConvNet trained on images as Zhao & Bilen 2023 train it."""
    rng = generator(problem.seed, "judge")
    convnet = networks.ConvNet(problem.channels, WIDTH, DEPTH, problem.image_size)
    side = problem.image_size // 2**DEPTH
    drawn = torch.Generator().manual_seed(stream_seed(problem.seed, "judge"))
    weights = networks.draw_default(convnet, drawn, problem.device)
    convnet.load_state_dict(weights)
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(problem.seed, "judge", "classifier") % 2**31)
        classifier = torch.nn.Linear(WIDTH * side * side, problem.n_classes)
    network = torch.nn.Sequential(convnet, classifier)
    x, y = normalised(problem, pixels), torch.from_numpy(labels)
    sgd = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for epoch in range(epochs):
        if epoch == epochs // 2:
            sgd.param_groups[0]["lr"] *= 0.1
        loss = networks.cross_entropy(network(augment.draw_augmentation(AUGMENTATIONS["all"], rng)(x)), y)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    of_test = dataclasses.replace(problem, dataset=dataclasses.replace(problem.dataset, train=test))
    right = 0
    with torch.no_grad():
        for part in np.array_split(np.arange(len(test)), max(1, len(test) // 500)):
            right += int((network(of_test.real(part)).argmax(1) == of_test.real_labels(part)).sum())
    return right / len(test)


def normalised(problem: Problem, pixels: np.ndarray) -> torch.Tensor:
    """Kept images as a network sees them."""
    mean, std = (
        torch.tensor(each).view(1, -1, 1, 1)
        for each in (problem.dataset.preprocessing.mean, problem.dataset.preprocessing.std)
    )
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std


def with_test(name: str, held_out: int) -> tuple[Dataset, ImageSet]:
    """A data set and what it is judged by: its validation examples, or some that are put aside for that."""
    dataset = load_dataset(name, say=lambda text: None)
    if not held_out:
        return dataset, dataset.valid
    order = np.random.default_rng(0).permutation(len(dataset.train))
    rest = dataset.train.take(np.sort(order[held_out:]))
    rest = dataclasses.replace(rest, ids=np.arange(len(rest), dtype=np.int64))
    return dataclasses.replace(dataset, train=rest), dataset.train.take(np.sort(order[:held_out]))


def accuracies(
    name: str, held_out: int, methods: dict[str, Method], seeds: int, epochs: int, size: int, figures: dict[str, float]
) -> None:
    """Accuracies of networks trained on random real and on synthetic images, over seeds."""
    dataset, test = with_test(name, held_out)
    key = name.partition("@")[0].replace("-", "_")
    found: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in range(seeds):
        for label, method in methods.items():
            spec = DistillationSpec(PER_CLASS, method, size, seed)
            problem = Problem.of(dataset, spec, CPU)
            made = distill(dataset, spec, problem.device, "made")
            seconds.setdefault(label, []).append(made.cost.train_seconds)
            if label == "distribution_matching":  # what it begins with
                pixels = problem.pixels(problem.real(problem.start))
                found.setdefault("random", []).append(accuracy_of(problem, pixels, problem.labels, test, epochs))
            train = made.subset.train
            found.setdefault(label, []).append(accuracy_of(problem, train.images, train.labels, test, epochs))
            if isinstance(made.process, Unrolling):
                found.setdefault("gradient_steps_own_steps", []).append(by_own_steps(made, problem, test))
        now = {label: f"{values[-1]:.3f}" for label, values in found.items()}
        print(f"{name} seed {seed}: {now}", flush=True)
    print(f"\n{name}: {len(dataset.train):,} training examples, judged by {len(test):,}; {PER_CLASS} images per class")
    for label, values in found.items():
        mean, spread = float(np.mean(values)), float(np.std(values, ddof=1)) if seeds > 1 else 0.0
        figures |= {f"accuracy_{label}_{key}": mean, f"accuracy_std_{label}_{key}": spread}
        figures |= {f"accuracy_{label}_{key}_seed_{seed}": value for seed, value in enumerate(values)}
        took = ""
        if label in seconds:
            figures[f"minutes_{label}_{key}"] = float(np.mean(seconds[label])) / 60
            per_iteration = float(np.median(seconds[label])) / methods[label].iterations
            figures[f"seconds_per_iteration_{label}_{key}"] = per_iteration
            took = f", {figures[f'minutes_{label}_{key}']:.1f} min, {per_iteration:.2f} s per iteration"
        print(f"  {label:<26} {100 * mean:5.1f} % +- {100 * spread:.1f}{took}", flush=True)
    ahead = [moved > real for moved, real in zip(found["distribution_matching"], found["random"], strict=True)]
    figures |= {f"seeds_{key}": float(seeds), f"seeds_distribution_matching_ahead_{key}": float(sum(ahead))}
    print(f"  distribution matching is ahead of the images it began with on {sum(ahead)} of {seeds} seeds", flush=True)


def of_the_alexnet() -> dict[str, float]:
    """Seconds that an iteration takes with the network for CIFAR-10."""
    spec = DistillationSpec(PER_CLASS, GradientSteps(iterations=1, network="alexnet"), 32)
    seconds = estimate_seconds(load_dataset("digits", say=lambda text: None), spec, CPU, speed=1.0)
    print(f"\nan iteration of gradient-steps with the AlexNet and 32 px: {seconds:.1f} s", flush=True)
    return {"seconds_per_iteration_gradient_steps_alexnet_32px": seconds}


def by_own_steps(made: Distillation, problem: Problem, test: ImageSet) -> float:
    """Accuracy of the networks that the learnt steps lead to, from 5 fresh initialisations."""
    assert isinstance(made.process, Unrolling)
    of_test = dataclasses.replace(problem, dataset=dataclasses.replace(problem.dataset, train=test))
    some = np.arange(len(test))
    return made.process.accuracy(of_test.real(some), of_test.real_labels(some), draws=5)


@dataclasses.dataclass(frozen=True, eq=False)
class Contender:
    """A proxy: its name, what is trained on, how an epoch shows it, and how it was made where it was."""

    name: str
    subset: Subset
    epoch_plan: EpochPlan
    made: Distillation | None = None


def contenders(dataset: Dataset, size: int, share: float, batch: int, quick: bool) -> Iterator[Contender]:
    """The target and its proxies, each made when it is asked for."""
    yield Contender("full", choose_subset(dataset, Full(), 0), EpochPlan(1, batch))
    yield Contender(
        f"random:{share}", choose_subset(dataset, parse_strategy(f"random:{share}"), 0), EpochPlan(1, batch)
    )
    rule = Distilled(PER_CLASS, share=share)
    for name in ("distribution-matching", "gradient-steps", "rank-agreement"):
        strategy = Distilled(PER_CLASS, name, 5 if quick else 500, share=share)
        method = strategy.made_by()
        if quick and isinstance(method, RankAgreement):
            method = dataclasses.replace(method, starts=1, pilot_epochs=1)
        spec = DistillationSpec(PER_CLASS, method, size)
        result = distill(dataset, spec, CPU, strategy.canonical)
        shown = ("agreement", "chosen", "pilot_steps", "learning_rates")
        told = {key: result.summary[key] for key in shown if key in result.summary}
        print(f"{strategy.canonical}: made in {result.cost.train_seconds / 60:.1f} min {told or ''}", flush=True)
        if name == "distribution-matching":
            problem = Problem.of(dataset, spec, CPU)
            pixels = problem.pixels(problem.real(problem.start))
            real = subset_of(dataset, spec, f"real:{PER_CLASS}", pixels, problem.labels, SelectionCost())
            yield Contender(f"real:{PER_CLASS}", real, rule.epoch_plan(len(pixels), len(dataset.train), batch))
        epoch_plan = strategy.epoch_plan(len(result.subset.train), len(dataset.train), batch)
        yield Contender(strategy.canonical, result.subset, epoch_plan, result)


def label_of(strategy: str) -> str:
    """A contender in names of figures: the method that made its images, or how its examples were chosen."""
    parsed = parse_strategy(strategy) if strategy.startswith(Distilled.name) else None
    return (parsed.method if isinstance(parsed, Distilled) else strategy).replace("-", "_").replace(":", "_")


def figures_of_making(made: Distillation) -> dict[str, float]:
    """What making the images took, and of rank-agreement what it chose and by what."""
    summary: dict[str, Any] = made.summary
    figures = {"making_minutes": made.cost.train_seconds / 60}
    if "chosen" in summary:
        start, iteration = (float(number) for number in re.findall(r"\d+", summary["chosen"]))
        figures |= {"chosen_start": start, "chosen_iteration": iteration}
        taus = {f"tau_{re.sub(', | ', '_', candidate)}": tau for candidate, tau in summary["agreement"].items()}
        steps = {f"pilot_steps_{data.replace(' ', '_')}": float(n) for data, n in summary["pilot_steps"].items()}
        figures |= taus | steps
    return figures


def figures_of(found: StudyQuality) -> dict[str, float]:
    """The report's measures of each contender, with their intervals, and its costs by each unit."""
    figures: dict[str, float] = {}
    intervals = found.measures.set_index(["strategy", "measure"])
    selection = found.selection.set_index("strategy")
    for _, row in found.strategies.iterrows():
        strategy = row["strategy"]
        values = {name: row[name] for name in ("r2", "spearman", "relative_cost", "relative_examples", "regret")}
        for name in ("r2", "spearman", "relative_cost"):
            values |= {f"{name}_{end}": intervals.loc[(strategy, name), end] for end in ("low", "high")}
        values["relative_cost_with_selection"] = selection.loc[strategy, "relative_cost_with_selection"]
        figures |= {
            f"quality_{name}_{label_of(strategy)}": float(each) for name, each in values.items() if np.isfinite(each)
        }
    target = found.runs.loc[found.runs["strategy"] == TARGET, "objective"]
    ends = {"lowest": target.min(), "highest": target.max()}
    return figures | {f"quality_target_accuracy_{end}": float(each) for end, each in ends.items()}


def quality(name: str, quick: bool, figures: dict[str, float]) -> None:
    """Proxy quality over the published grid."""
    dataset = load_dataset(name, say=lambda text: None)
    grid = demo_grid()[:4] if quick else paper_grid()
    size, batch, epochs, share = (12, 32, 1, 0.25) if quick else (16, 32, 2, 0.25)
    rows = []
    begun = time.perf_counter()
    for contender in contenders(dataset, size, share, batch, quick):
        subset = contender.subset
        trainer = ImageTrainer(size, "fp32")
        shown = subset.repeated(contender.epoch_plan.passes)
        for configuration in grid:
            as_shown = configuration.replace(batch_size=contender.epoch_plan.batch_size)
            result = train_images(shown, TrainingSpec(as_shown, epochs, 0, trainer), CPU).result
            rows.append(row_of(name, contender, configuration, result))
        if contender.made is not None:
            label = label_of(contender.name)
            made = figures_of_making(contender.made)
            figures |= {f"quality_{name}_{label}": value for name, value in made.items()}
        accuracies = [row["objective"] for row in rows[-len(grid) :]]
        print(
            f"{contender.name}: {len(grid)} configurations, accuracy {min(accuracies):.3f} to {max(accuracies):.3f}, "
            f"{len(shown.train)} examples per epoch, {(time.perf_counter() - begun) / 60:.1f} min so far",
            flush=True,
        )
    found = measure_study(pd.DataFrame(rows), QualityOptions(bootstrap=100 if quick else 1000), FAMILIES)
    selection = found.selection.set_index("strategy")
    print(
        f"\n{'proxy':<52} {'r2 [95 %]':>18} {'Spearman [95 %]':>20} {'cost':>6} {'examples':>8} {'with making':>11} "
        f"{'regret':>6}"
    )
    for _, row in found.strategies.iterrows():
        whole = float(selection.loc[row["strategy"], "relative_cost_with_selection"])
        r2, rho = (f"{row[m]:.2f} [{row[m + '_low']:.2f}, {row[m + '_high']:.2f}]" for m in ("r2", "spearman"))
        print(
            f"{row['strategy']:<52} {r2:>18} {rho:>20} {row['relative_cost']:>6.3f} {row['relative_examples']:>8.3f} "
            f"{whole:>11.3f} {row['regret']:>6.1f}"
        )
    figures |= figures_of(found)
    figures |= {"quality_configurations": float(len(grid)), "quality_image_size": float(size)}
    figures |= {"quality_epochs": float(epochs), "quality_share": share}
    figures["quality_minutes"] = (time.perf_counter() - begun) / 60
    for strategy, note in found.notes:
        print(f"note: {strategy or 'study'}: {note}")


def row_of(name: str, contender: Contender, configuration: Configuration, result: TrainingResult) -> dict[str, object]:
    """A training as the tracking reader gives it."""
    cost = contender.subset.selection or SelectionCost()
    return {
        "run_id": f"{contender.name}/{configuration.name}",
        "run_key": f"{contender.name}/{configuration.name}",
        "dataset": name,
        "strategy": contender.name,
        "config": configuration.name,
        "config_group": configuration.group,
        "seed": 0,
        "status": "finished",
        "diverged": result.diverged,
        "epochs": pd.NA,
        "start_time": 0,
        "end_time": 0,
        **columns_of(ACCURACY),
        "objective": result.objective,
        "config_json": configuration.to_json(),
        "train_seconds": result.train_seconds,
        "examples_seen": float(result.examples_seen or 0),
        "train_flops": result.train_flops,
        **{f"selection_{key}": value for key, value in dataclasses.asdict(cost).items()},
    }


def kept_figures(path: Path | None, only: str) -> dict[str, float]:
    """Of the figures that are at `path` those that a run of one part leaves as they are; none where it runs all."""
    if path is None or not only or not path.exists():
        return {}
    figures: dict[str, float] = json.loads(path.read_text())["figures"]
    return {name: value for name, value in figures.items() if not name.startswith(PARTS[only])}


def main() -> None:
    options = parse_options(__doc__, only="")
    if options.only and options.only not in PARTS:
        raise SystemExit(f"--only {options.only}: a part is {' or '.join(PARTS)}")
    if pick_device().type != "cpu":
        raise SystemExit("figures are of CPUs, and this machine has a GPU: set CUDA_VISIBLE_DEVICES= to hide it")
    configure_threads()
    quick, ours = options.quick, dict(PUBLISHED)
    methods = {
        "distribution_matching": parse_method("distribution-matching", iterations=20 if quick else 300),
        "gradient_steps": parse_method("gradient-steps", iterations=8 if quick else 200),
    }
    seeds, epochs, size = (1, 30, 16) if quick else (5, 300, 28)
    if options.only != "quality":
        accuracies("digits", 0, methods, seeds, epochs, size, ours)
        fashion = "fashion-mnist@6000" if quick else "fashion-mnist"
        accuracies(fashion, 1000 if quick else HELD_OUT, methods, seeds, epochs, size, ours)
        ours |= of_the_alexnet()
    if options.only != "accuracy":
        quality("digits@400" if quick else "digits", quick, ours)
    # Read at the end: the other part may have written its own meanwhile.
    write_json(options.json, {}, kept_figures(options.json, options.only) | ours)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
