"""What a reduction is: one way to make a training cheaper that leaves its examples as they are."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from proxyflow.core.registry import Registry, class_problem
from proxyflow.core.settings import settings_of
from proxyflow.core.spelling import Spelled


@dataclass(frozen=True)
class Reduction(Spelled, ABC):
    """One way to make a training cheaper, beside the choice of its examples; a subclass is spelled as `Spelled` says.

    The name is also that of the fidelity that a trainer must be able to reduce (`Trainer.fidelities`).

    Attributes:
        summary: what it does, in one line of `--help`.
        helps: what it costs and when it helps, in one or two sentences of the documentation.
        family: the group of proxies that figures show it with.
        source: where it comes from: paper and section.
    """

    kind: ClassVar[str] = "strategy"  # the option that users write it in
    summary: ClassVar[str]
    helps: ClassVar[str]
    family: ClassVar[str]
    source: ClassVar[str]

    @property
    def value(self) -> Any:
        """The argument, as trainers hand it to the user's code."""
        return getattr(self, settings_of(self)[0].name)

    @property
    def changes_nothing(self) -> bool:
        """Whether it leaves every training as it is (`width:1.0`)."""
        return False

    def epochs(self, full_epochs: int) -> int:
        """How many epochs to train for where the target trains `full_epochs`."""
        return full_epochs

    def too_long(self, full_epochs: int) -> str:
        """Why it is no reduction of a target that trains `full_epochs`; empty where it is one."""
        return ""


reductions: Registry[type[Reduction]] = Registry(
    "reduction",
    "proxyflow.reductions",
    partial(class_problem, base=Reduction, texts=("name", "summary", "helps", "family", "source")),
)


def register_reduction(cls: type[Reduction]) -> type[Reduction]:
    """Class decorator: registers a reduction under its own name."""
    return reductions.add(cls.name, cls)
