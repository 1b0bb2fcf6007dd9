"""What help lists at its end: the plug-ins of a kind, each with what it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

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


def data_sets() -> str:
    return _section("Data sets", datasets, dataset_spelling, lambda source: source.description)


def strategy_list() -> str:
    chosen = _section("Strategies", strategies, lambda name, cls: syntax_of(cls), _reduces)
    also = _section(
        "Further reductions, alone or joined with + (random:0.25+epochs:5+size:16)",
        reductions,
        lambda name, cls: syntax_of(cls),
        _reduces,
    )
    return f"{chosen}\n\n{also}"


def _reduces(cls: type[Strategy] | type[Reduction]) -> str:
    return "\n      ".join(filter(None, (cls.summary, cls.helps)))


def score_list() -> str:
    return _section("Scores (by=NAME)", known_scores, _name, _score)


def sampler_list() -> str:
    return _section("Samplers", samplers, _name, lambda sampler: sampler.description)


def executor_list() -> str:
    return _section("Executors", executors, _name, lambda executor: executor.description)


def trainer_list() -> str:
    return _section("Trainers", trainers, syntax_of_trainer, _trainer)


def method_list() -> str:
    return _section("Methods, with their settings and defaults", methods, _name, _method)


def _name(name: str, item: object) -> str:
    return name


def _score(score: Score) -> str:
    return f"{score.description}; {'higher' if score.higher_is_harder else 'lower'} is harder"


def _method(cls: type[Method]) -> str:
    lines = (f"{field.name}={field.default}: {_described(field)}" for field in settings_of(cls))
    return "\n      ".join([cls.summary, *lines])


def _trainer(cls: type[Trainer]) -> str:
    trainer = cls()
    metric = trainer.metric
    named = hasattr(trainer, "reported")
    return trainer.description + (
        "; --metric names its metric" if named else f"; {metric.goal}s {metric.name} ({metric.aggregate} epoch)"
    )


def _described(field: dataclasses.Field[Any]) -> str:
    rule = field.metadata["rule"]
    return f"{field.metadata['help']} ({rule.accepted})" if isinstance(rule, Choice) else str(field.metadata["help"])


def _section(title: str, registry: Registry[T], written: Callable[[str, T], str], described: Callable[[T], str]) -> str:
    lines = [f"\b\n{title}:"]  # a paragraph that begins with \b keeps its lines
    for name, item in registry.items():
        origin = registry.origin(name)
        lines += [f"  {written(name, item)}" + (f"  (from {origin})" if origin else ""), f"      {described(item)}"]
    return "\n".join(lines)
