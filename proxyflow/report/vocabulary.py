"""What the names in a study mean: strategies by their registry, configurations by the hyperparameters' own rules."""

from __future__ import annotations

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
VOCABULARY = Vocabulary(family_of, is_synthetic, settings_by_name)
