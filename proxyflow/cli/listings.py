"""What the long help lists at its end: the plug-ins of a kind, each with what it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from proxyflow.cli.help import Section
from proxyflow.cli.training import syntax_of_trainer
from proxyflow.core.registry import Registry
from proxyflow.core.settings import Choice, settings_of
from proxyflow.core.spelling import syntax_of
from proxyflow.data.catalog import syntax_of as dataset_spelling
from proxyflow.data.images.sources import datasets
from proxyflow.proxies import Reduction, reductions
from proxyflow.scores import Score, known_scores
from proxyflow.searching.samplers import samplers
from proxyflow.strategies import Strategy, strategies
from proxyflow.strategies.distillation_methods import Method, methods
from proxyflow.studies.executors import executors
from proxyflow.trainers import Trainer, trainers

T = TypeVar("T")


def plain(title: str, *lines: str) -> Section:
    """A section with these lines as they are."""

    def write(formatter: click.HelpFormatter) -> None:
        formatter.write("".join(f"{'':>{formatter.current_indent}}{line}\n" for line in lines))

    return Section(title, write)


def _listing(
    title: str,
    registry: Registry[T],
    written: Callable[[str, T], str],
    described: Callable[[T], Iterable[str]],
    use: str = "",
) -> Section:
    """A section with the items of a registry, each with paragraphs that describe it.

    Args:
        use: how they are used, above them.
    """

    def write(formatter: click.HelpFormatter) -> None:
        if use:
            formatter.write_text(use)
        for name, item in registry.items():
            origin = registry.origin(name)
            head = f"{written(name, item)}  (from {origin})" if origin else written(name, item)
            formatter.write(f"{'':>{formatter.current_indent}}{head}\n")
            with formatter.indentation():
                for paragraph in described(item):
                    formatter.write_text(paragraph)

    return Section(title, write)


def _name(name: str, item: object) -> str:
    return name


def _reduces(cls: type[Strategy] | type[Reduction]) -> Iterable[str]:
    return filter(None, (cls.summary, cls.helps))


def _score(score: Score) -> Iterable[str]:
    return [f"{score.description}; {'higher' if score.higher_is_harder else 'lower'} is harder"]


def _method(cls: type[Method]) -> Iterable[str]:
    return [cls.summary, *(f"{field.name}={field.default}: {_described(field)}" for field in settings_of(cls))]


def _trainer(cls: type[Trainer]) -> Iterable[str]:
    trainer = cls()
    metric = trainer.metric
    named = hasattr(trainer, "reported")
    judged = "--metric names its metric" if named else f"{metric.goal}s {metric.name} ({metric.aggregate} epoch)"
    return [f"{trainer.description}; {judged}"]


def _described(field: dataclasses.Field[Any]) -> str:
    rule = field.metadata["rule"]
    return f"{field.metadata['help']} ({rule.accepted})" if isinstance(rule, Choice) else str(field.metadata["help"])


DATA_SETS = _listing("Data sets", datasets, dataset_spelling, lambda source: [source.description])
STRATEGIES = _listing("Strategies", strategies, lambda name, cls: syntax_of(cls), _reduces)
REDUCTIONS = _listing(
    "Reductions",
    reductions,
    lambda name, cls: syntax_of(cls),
    _reduces,
    "Alone, or joined to a strategy with +: random:0.25+epochs:5+size:16.",
)
SCORES = _listing("Scores", known_scores, _name, _score, "Strategies select by them with by=NAME.")
SAMPLERS = _listing("Samplers", samplers, _name, lambda sampler: [sampler.description])
EXECUTORS = _listing("Executors", executors, _name, lambda executor: [executor.description])
TRAINERS = _listing("Trainers", trainers, syntax_of_trainer, _trainer)
METHODS = _listing("Methods", methods, _name, _method, "Each with its settings and their defaults.")
