"""Whether tuning on a proxy is safe, in the same words for a check and for a report."""

from __future__ import annotations

from collections.abc import Callable

from proxyflow.quality.bootstrap import Estimate


def safety_verdict(
    subject: str,
    loss: Estimate,
    tolerance: float,
    unit: str,
    amount: Callable[[float], str] = "{:.2f}".format,
    than: str = "",
    origin: str = "",
) -> str:
    """Whether a way to tune is safe, that is whether the whole interval of what it loses is within the tolerance.

    Args:
        subject: the way to tune, to begin a sentence.
        loss: what it is expected to lose.
        tolerance: up to which a loss is safe.
        unit: of the loss, to follow its number.
        amount: writes a loss.
        than: what the loss is counted from, unless from the best configuration.
        origin: where the tolerance comes from, where it is not what the user gave.

    Example:
        >>> safety_verdict("Tuning on random:0.1", Estimate(0.2, 0.0, 0.4), 0.5, "points")
        'Tuning on random:0.1 is safe: it is expected to lose 0.20 points [0.00, 0.40], at most 0.5.'
        >>> safety_verdict("Tuning on epochs:1", Estimate(0.9, 0.6, 1.5), 0.5, "points")
        'Tuning on epochs:1 is not safe: it is expected to lose 0.90 points [0.60, 1.50], and up to 0.5 is accepted.'
    """
    interval = f" [{amount(loss.low)}, {amount(loss.high)}]" if loss.has_interval else ""
    told = f"it is expected to lose {amount(loss.value)} {unit}{interval}{than}"
    if loss.high <= tolerance:
        return f"{subject} is safe: {told}, at most {tolerance:.3g}{origin}."
    known = "is not safe" if loss.low > tolerance else "is not shown to be safe"
    return f"{subject} {known}: {told}, and up to {tolerance:.3g}{origin} is accepted."
