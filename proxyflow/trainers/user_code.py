"""Settings of all trainers that run the user's code: the metric that it reports, and the files that belong to it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from proxyflow.core.errors import InvalidValue
from proxyflow.core.settings import Choice, OptionalValue, Rule, TrueFalse, setting, validate_settings
from proxyflow.spaces.metric import ACCURACY, Metric

AUTO, NO_WATCH = "auto", "none"
MISMATCH_REMEDY = (
    "its files were changed while the study ran, or differ there: run the command again. What a program writes belongs "
    "in {output}; a file that its command names counts as an input"
)
# Words of a metric's name that leave no doubt about its direction.
LESS_IS_BETTER = {
    "loss", "error", "err", "mse", "rmse", "mae", "mape", "nll", "perplexity", "ppl", "wer", "cer", "fid", "brier",
}  # fmt: skip
MORE_IS_BETTER = {
    "accuracy", "acc", "auc", "auroc", "auprc", "f1", "precision", "recall", "r2", "bleu", "rouge", "map", "iou",
    "miou", "dice", "score", "ndcg", "mcc", "kappa", "top1", "top5",
}  # fmt: skip
TURNED = {"neg", "negative", "minus"}  # neg_log_loss: the direction is the other one, or the word is part of a name
# Words that are taken for a slip in one of these.
SHORTEST_SLIP, ALIKE = 3, 0.8
SHARES = {"accuracy", "acc", "top1", "top5"}


@dataclass(frozen=True)
class _MetricName:
    """The name of a metric."""

    accepted = "the name under which the training reports its metric, for example valid_loss"

    def parse(self, name: str, value: object) -> str:
        return Metric(str(value)).name


_NAME: Rule = _MetricName()


@dataclass(frozen=True)
class Patterns:
    """Patterns of files, separated by commas."""

    accepted = f"{NO_WATCH}, or patterns of files separated by commas, such as src/**/*.py,configs/*.yaml"

    def parse(self, name: str, value: object) -> tuple[str, ...]:
        parts = value if isinstance(value, Sequence) and not isinstance(value, str) else str(value).split(",")
        patterns = tuple(dict.fromkeys(str(part).strip() for part in parts))
        return tuple(each for each in patterns if each and each != NO_WATCH)


@dataclass(frozen=True)
class UserCodeSettings:
    """What proxyflow has to know of the user's code.

    Example:
        >>> UserCodeSettings("eval/loss").resolve()
        Metric(name='eval/loss', goal='minimize', aggregate='best', share=False)
    """

    metric: str = setting(
        ACCURACY.name,
        _NAME,
        "the metric that the user's program or function reports after each epoch, by which configurations are compared",
    )
    goal: Literal["maximize", "minimize"] | None = setting(
        None,
        OptionalValue(Choice(("maximize", "minimize")), AUTO),
        "whether more or less of the metric is better; auto goes by its name (loss, rmse, accuracy, auc, f1, ...)",
        word=AUTO,
    )
    aggregate: Literal["best", "last"] = setting(
        "best", Choice(("best", "last")), "which epoch's value of the metric is the result of a training"
    )
    share: bool | None = setting(
        None,
        OptionalValue(TrueFalse(), AUTO),
        "whether the metric is a share of the validation examples from 0 to 1, whose noise is binomial and whose "
        "differences are shown in points; auto is true for an accuracy",
        word=AUTO,
    )
    watch: tuple[str, ...] = setting(
        (),
        Patterns(),
        "patterns of files that belong to the user's code beside its script and the modules that this imports; after "
        "an edit of any of them, trainings are new experiments",
        word=NO_WATCH,
    )

    def __post_init__(self) -> None:
        validate_settings(self)

    def resolve(self) -> Metric:
        """The metric.

        Raises:
            InvalidValue: `goal` is auto, and the name of the metric does not tell.
        """
        words = set(re.split(r"[^a-z0-9]+", self.metric.lower()))
        goal = self.goal
        if goal is None:
            less, more = words & LESS_IS_BETTER, words & MORE_IS_BETTER
            if bool(less) == bool(more) or words & TURNED:
                rule = "the name does not tell which way is better; give goal=maximize or goal=minimize with it"
                known = LESS_IS_BETTER | MORE_IS_BETTER
                others = [word for word in sorted(words - known) if len(word) >= SHORTEST_SLIP]
                close = [(word, each) for word in others for each in difflib.get_close_matches(word, known, 1, ALIKE)]
                if close and not words & TURNED:
                    word, meant = close[0]
                    name = re.sub(rf"(?<![a-z0-9]){word}(?![a-z0-9])", meant, self.metric.lower())
                    rule += f" (or did you mean {name}?)"
                raise InvalidValue("metric", self.metric, rule)
            goal = "minimize" if less else "maximize"
        share = bool(words & SHARES) and goal == "maximize" if self.share is None else self.share
        return Metric(self.metric, goal, self.aggregate, share)
