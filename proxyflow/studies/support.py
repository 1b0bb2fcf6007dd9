"""Checks which strategies the data of a study support, before anything trains; strategies define the rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from proxyflow.core.errors import UserError, shortened
from proxyflow.data.protocol import Dataset
from proxyflow.proxies import Proxy
from proxyflow.spaces.grids import Grid
from proxyflow.studies.context import StudyContext
from proxyflow.studies.plan import AUTO, LATEST, StudySpec, unsupported_reason
from proxyflow.subsets import Subset
from proxyflow.trainers.model_access import ModelAccess
from proxyflow.trainers.protocol import Trainer

LONGEST_NAME = 60  # of a strategy or a data set in a message


@dataclass(frozen=True)
class UnsupportedPair:
    """A strategy on a data set that does not support it.

    Attributes:
        reason: what is missing, and the remedy.
    """

    dataset: str
    strategy: Proxy
    reason: str

    def __str__(self) -> str:
        strategy, dataset = (shortened(name, LONGEST_NAME) for name in (self.strategy.canonical, self.dataset))
        return f"{strategy} on {dataset}: {self.reason}"


class Unsupported(UserError):
    """Data sets do not support some strategies.

    Attributes:
        found: all unsupported pairs.
    """

    def __init__(self, found: Iterable[UnsupportedPair]) -> None:
        self.found = tuple(found)
        pairs = "; ".join(map(str, self.found))
        super().__init__(f"these cannot be trained: {pairs}")


def trains_scores(scores: str, trainer: Trainer) -> bool:
    """Whether missing scores would be made by models that are trained for it.

    Args:
        scores: as of `StudySpec`.
    """
    return scores in (AUTO, LATEST) and isinstance(trainer, ModelAccess)


def unsupported(context: StudyContext, spec: StudySpec) -> tuple[UnsupportedPair, ...]:
    """The pairs of a study that are not supported."""
    trained = trains_scores(spec.scores, spec.trainer)
    pairs = (
        UnsupportedPair(name, proxy, _reason(context.dataset(name), proxy, trained, spec.trainer, spec.grid))
        for name in spec.datasets
        for proxy in spec.strategies
    )
    return tuple(each for each in pairs if each.reason)


def _reason(dataset: Dataset, proxy: Proxy, trained: bool, trainer: Trainer, configurations: Grid) -> str:
    """Why a proxy cannot be trained: the data do not support its choice of examples, or its reductions do not fit."""
    return unsupported_reason(dataset, proxy.data, trained) or trainer.unsupported(proxy, dataset, configurations)


def check_support(context: StudyContext, spec: StudySpec) -> None:
    """Checks that all data sets of a study support all its strategies.

    Raises:
        Unsupported: names all pairs that are not supported.
    """
    if found := unsupported(context, spec):
        raise Unsupported(found)


def check_strategy(
    context: StudyContext, dataset: str, proxy: Proxy, scores: str, trainer: Trainer, configurations: Grid = ()
) -> None:
    """Checks that a data set and a trainer support a proxy, before a model trains for its scores.

    Args:
        scores: the score run that a user named, or `latest`.
        configurations: what is to be trained on it; empty if nothing is.

    Raises:
        Unsupported: it does not.
    """
    if reason := _reason(context.dataset(dataset), proxy, trains_scores(scores, trainer), trainer, configurations):
        raise Unsupported([UnsupportedPair(dataset, proxy, reason)])


def check_trainable(proxy: Proxy, subset: Subset, trainer: Trainer, configurations: Grid) -> None:
    """Checks that a trainer supports a proxy on a subset that is there.

    Raises:
        Unsupported: it does not.
    """
    if reason := trainer.unsupported(proxy, subset, configurations):
        raise Unsupported([UnsupportedPair(subset.dataset, proxy, reason)])


def only_supported(context: StudyContext, spec: StudySpec) -> StudySpec:
    """The study without unsupported strategies; prints a status line for each.

    Raises:
        Unsupported: the target is not supported, or no strategy is left.
    """
    found = unsupported(context, spec)
    skipped = {each.strategy for each in found}
    kept = tuple(strategy for strategy in spec.strategies if strategy not in skipped)
    if not kept or any(proxy.is_target for proxy in skipped):
        raise Unsupported(found)
    for each in found:
        context.say(f"skipped: {each}")
    return dataclasses.replace(spec, strategies=kept)
