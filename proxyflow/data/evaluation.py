"""What models are evaluated on: the validation examples of a data set, and test examples that no training uses.

Both come from the data set's own validation split, or are split off its training examples where it has none. The
choice depends on the content alone, so every run of every study of a data set has the same examples. Of each class's
fixed order validation takes the front and test the back: a larger set of either contains the smaller ones, unless a
class has too few for both. Such a class is shared in proportion to their sizes. Groups are kept together (see
`groups`), so that sizes are as near as whole groups allow, and sets of different sizes need not be nested.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Number, OptionalValue, setting, validate_settings
from proxyflow.data.groups import Inseparable
from proxyflow.data.protocol import Contents, Examples, content_ranks, numbered
from proxyflow.data.splits import (
    AVAILABLE_SHARE,
    VALIDATION_EXAMPLES,
    even_quotas,
    front_and_back,
    shared_quotas,
    split_off_examples,
    split_off_room,
)

AUTO = "auto"
VALID, TEST = "valid_examples", "test_examples"

# Test examples that leave fewer validation examples, or a smaller share of those of `auto`, cause a warning.
FEW_EXAMPLES = 100
SMALL_SHARE = 1 / 5
TYPICAL_ACCURACY = 0.9


@dataclass(frozen=True)
class EvaluationSettings:
    """How many examples a data set's models are validated and tested on."""

    valid_examples: int | None = setting(
        None,
        OptionalValue(Number(low=1, whole=True, example="2000"), AUTO),
        "validation examples of each data set, as balanced over classes as possible; auto: 500 for imagenette and "
        "imagewoof, else the whole validation split, up to a fifth of the training examples but at least 500; without "
        "a split, a tenth of the examples but at least 500",
        word=AUTO,
    )
    test_examples: int = setting(
        0,
        Number(low=0, whole=True, example="1000"),
        "examples to hold out, of the validation split or, without one, of the training examples; no training uses "
        "them, and the metric test_accuracy is computed on them once, at the end",
    )

    def __post_init__(self) -> None:
        validate_settings(self)


DEFAULT = EvaluationSettings()


@dataclass(frozen=True, eq=False)
class Split:
    """A data set's examples, none in two parts, and no group in two.

    Attributes:
        test: None where none were requested.
        warnings: what its user should know, for people.
    """

    train: Examples
    valid: Examples
    test: Examples | None
    warnings: tuple[str, ...] = ()


def split(name: str, contents: Contents, settings: EvaluationSettings, part: int | None) -> Split:
    """Chooses the validation and test examples of a data set.

    Args:
        name: the data set's, for messages.
        contents: what its source holds.
        part: how many training examples will be kept, None for all.

    Raises:
        InvalidValue: there are not that many examples, a class would be without, or groups cannot be kept together.
    """
    _check_classes(name, contents)
    try:
        if contents.valid is None:
            return _split_off(name, contents.train, settings, part)
        _check_groups(name, contents.train, contents.valid)
        return _split_own(name, contents.train, contents.valid, settings, contents.valid_examples, part)
    except Inseparable as error:
        groups = (contents.train if contents.valid is None else contents.valid).groups
        assert groups is not None
        named = ", ".join(str(group) for group in groups[error.members[:3]])
        raise InvalidValue(
            "group",
            named,
            f"a group stays on one side of a split, and all examples of class {contents.class_names[error.label]} of "
            f"{name} are in {len(error.members)} group(s), too few for every side; divide a group, or leave out this "
            "class or the groups",
        ) from None


def _check_classes(name: str, contents: Contents) -> None:
    sets = {"training": contents.train, "validation": contents.valid}
    for what, examples in sets.items():
        if examples is not None:
            counts = np.bincount(examples.labels, minlength=len(contents.class_names))
            empty = [contents.class_names[label] for label in np.flatnonzero(counts == 0)]
            if empty:
                rule = f"it has no {what} example of {', '.join(empty[:5])}{', ...' if len(empty) > 5 else ''}"
                raise InvalidValue(
                    "dataset", name, f"{rule}; every class needs at least one for training and one for validation"
                )


def _check_groups(name: str, train: Examples, valid: Examples) -> None:
    if train.groups is None or valid.groups is None:
        return
    shared = set(train.groups.tolist()) & set(valid.groups.tolist())
    if shared:
        raise InvalidValue(
            "group",
            min(shared, key=str),
            f"{name} has examples of it, and of {len(shared) - 1:,} other groups, both in its training and in its "
            "validation split; a group stays on one side: move its examples, or leave out the split or the groups",
        )


def _split_own(
    name: str, train: Examples, candidates: Examples, settings: EvaluationSettings, auto: int | None, part: int | None
) -> Split:
    """Chooses from the data set's own validation split; the training examples stay.

    Args:
        candidates: all of the split.
        auto: validation examples of `valid_examples=auto`; None goes by the training examples.
    """
    wanted = settings.valid_examples or auto or _automatic(len(train) if part is None else part)
    room = np.bincount(candidates.labels, minlength=int(train.labels.max()) + 1)
    front, back = _quotas(name, room, settings, wanted)
    valid, test = front_and_back(candidates.labels, content_ranks(candidates), front, back, candidates.groups)
    warnings = _too_small(name, settings, min(wanted, int(room.sum())), int(front.sum()))
    return _chosen(train, candidates, valid, test, settings, warnings)


def _split_off(name: str, everything: Examples, settings: EvaluationSettings, part: int | None) -> Split:
    """Chooses from a data set's only examples, most of which are trained on."""
    labels, content, groups = everything.labels, content_ranks(everything), everything.groups
    eligible, room = split_off_room(labels, content, groups)
    wanted = settings.valid_examples or split_off_examples(len(everything))
    front, back = _quotas(name, room, settings, wanted)
    valid, test = front_and_back(labels, content, front, back, groups, eligible)
    warnings = _too_small(name, settings, min(wanted, int(room.sum())), int(front.sum()))
    found = _chosen(numbered(everything.take(~(valid | test))), everything, valid, test, settings, warnings)
    most = len(found.valid) if part is None else max(_automatic(part), len(room))
    if settings != DEFAULT or most >= len(found.valid):
        return found
    pool = found.valid
    quotas = even_quotas(np.bincount(pool.labels), most)
    fewer, _ = front_and_back(pool.labels, content_ranks(pool), quotas, np.zeros_like(quotas), pool.groups)
    return dataclasses.replace(found, valid=numbered(pool.take(fewer)))


def _automatic(n_train: int) -> int:
    return max(VALIDATION_EXAMPLES, int(n_train * AVAILABLE_SHARE))


def _quotas(
    name: str, room: NDArray[np.int64], settings: EvaluationSettings, wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Validation and test examples of each class.

    Args:
        room: `(classes,)` how many examples either may be chosen from.
        wanted: validation examples; fewer where there are fewer and no number was requested.
    """
    classes, n_test = len(room), settings.test_examples
    for option, value in ((VALID, settings.valid_examples), (TEST, n_test or None)):
        if value is not None and value < classes:
            rule = f"{name} has {classes} classes, and each needs one of these examples; give at least {classes}"
            raise InvalidValue(option, value, rule)
    spare = np.maximum(room - 1, 0)
    if n_test and (n_test > spare.sum() or not spare.all()):
        rule = f"{name} has {int(room.sum()):,} examples to choose from, and one of each class validates"
        half = f"; give at most half of them, {int(room.sum()) // 2:,}, so that as many validate"
        raise InvalidValue(TEST, n_test, rule + (half if spare.all() else "; a class has only one"))
    front, back = shared_quotas(room, max(wanted, classes), n_test)
    if settings.valid_examples is not None and front.sum() < settings.valid_examples:
        beside = f" beside test_examples={n_test}" if n_test else ""
        raise InvalidValue(
            VALID,
            settings.valid_examples,
            f"{name} has {int((room - back).sum()):,} validation examples{beside}; give at most as many, or {AUTO}",
        )
    return front, back


def _too_small(name: str, settings: EvaluationSettings, auto: int, n_valid: int) -> tuple[str, ...]:
    """A warning where test examples leave few validation examples of those that `auto` would have without them."""
    taken = settings.valid_examples is None and n_valid < auto
    if not taken or (n_valid >= FEW_EXAMPLES and n_valid >= SMALL_SHARE * auto):
        return ()
    error = 100 * math.sqrt(TYPICAL_ACCURACY * (1 - TYPICAL_ACCURACY) / n_valid)
    return (
        f"warning: test_examples={settings.test_examples} leaves {n_valid:,} validation examples of {name}, {auto:,} "
        f"without it: the standard error of an accuracy of {TYPICAL_ACCURACY:g} over them is {error:.1f} points; give "
        "fewer test_examples",
    )


def _chosen(
    train: Examples,
    pool: Examples,
    valid: NDArray[np.bool_],
    test: NDArray[np.bool_],
    settings: EvaluationSettings,
    warnings: tuple[str, ...],
) -> Split:
    held_back = numbered(pool.take(test)) if settings.test_examples else None
    return Split(train, numbered(pool.take(valid)), held_back, warnings)
