"""What the names in a study mean: strategies by their registry, configurations by the hyperparameters' own rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from proxyflow.errors import UserError
from proxyflow.quality.options import Setting, Vocabulary
from proxyflow.report.families import family_of, is_synthetic
from proxyflow.settings import settings_of
from proxyflow.training.hyperparameters import Hyperparameters


def settings_by_name(config: str) -> tuple[Setting, ...]:
    """All hyperparameters of a configuration by its name; none where this version does not know the name."""
    try:
        found = Hyperparameters.from_name(config)
    except UserError:
        return ()
    return tuple(
        Setting(field.name, str(getattr(found, field.name)), field.name in found.differences)
        for field in settings_of(Hyperparameters)
    )


def default_of(configs: Iterable[str]) -> str | None:
    """The configuration that a grid varies: the default, or its network with all else at the defaults.

    A grid for other networks than the published has none with the default's name.
    """
    found = {}
    for config in configs:
        with suppress(UserError):
            found[config] = Hyperparameters.from_name(config)
    default = Hyperparameters().name
    if default in found:
        return default
    archs = Counter(each.arch for each in found.values())
    bases = [config for config, each in found.items() if set(each.differences) == {"arch"}]
    # Networks that are varied themselves, with all else alike, are in fewer configurations.
    return max(bases, key=lambda config: archs[found[config].arch], default=None)


def setting_label(name: str) -> str:
    """A hyperparameter's name as people read it: `learning rate`."""
    return "architecture" if name == "arch" else name.replace("_", " ")


def _labels() -> dict[str, str]:
    labels: dict[str, str] = {}
    for field in settings_of(Hyperparameters):
        # The two stem widths are one hyperparameter in a configuration's name.
        labels.setdefault(field.metadata["label"], setting_label(field.name).removesuffix(" 1"))
    return labels


# What stands for a hyperparameter in a configuration's name (`lr`), in that order, to what people call it.
HYPERPARAMETERS = _labels()
VOCABULARY = Vocabulary(family_of, is_synthetic, default_of, settings_by_name)
