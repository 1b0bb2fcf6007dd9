"""The rungs of a search: proxies from cheap to expensive, and the target as the last one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from proxyflow.core.errors import InvalidValue
from proxyflow.proxies import Proxy, parse_proxies


@dataclass(frozen=True)
class Rung:
    """One rung.

    Attributes:
        proxy: what is trained; the target on the last rung.
        trust: how far its values are expected to correlate with the target's, before any are seen; 1 for the target.
    """

    proxy: Proxy
    trust: float


@dataclass(frozen=True)
class Ladder:
    """Rungs from cheap to expensive.

    Attributes:
        rungs: the last one is the target.

    Raises:
        InvalidValue: it does not end in `full`, or a rung is there twice.
    """

    rungs: tuple[Rung, ...]

    def __post_init__(self) -> None:
        spellings = [each.proxy.canonical for each in self.rungs]
        if not self.rungs or not self.rungs[-1].proxy.is_target:
            raise InvalidValue("ladder", ",".join(spellings), "its last rung must be full, which the search is about")
        for number, spelling in enumerate(spellings):
            if spelling in spellings[:number]:
                raise InvalidValue("ladder", spelling, "it is there twice; give each rung once")

    def __len__(self) -> int:
        return len(self.rungs)

    @property
    def target(self) -> int:
        """The number of the last rung."""
        return len(self.rungs) - 1

    @classmethod
    def of(cls, proxies: Sequence[Proxy], steps: Sequence[float]) -> Ladder:
        """The ladder of some proxies.

        Args:
            proxies: from cheap to expensive, the target last.
            steps: optimizer steps of each, relative to the target's.
        """
        return cls(
            tuple(Rung(proxy, expected_trust(proxy, share)) for proxy, share in zip(proxies, steps, strict=True))
        )


SMALLEST_BATCH = 8


def auto_ladder(fidelities: Collection[str], epochs: int, batch_size: int | None = None) -> tuple[Proxy, ...]:
    """The rungs of `ladder=auto`, from cheap to expensive.

    A quarter of the epochs, with half of the width first where the trainer can: of all proxies that were measured on
    lookup tables, these keep the most of the ranking for their cost. Without widths, the first rung is a tenth of the
    examples in batches of a quarter of the size, which keeps four tenths of the optimizer steps; where batches are not
    known, two fifths of the examples for a quarter of the epochs, which keep a tenth. With fewer steps, as of a
    sixteenth, a search of a text classifier was misled. Without epochs to reduce, a tenth and a quarter of the
    examples.

    Args:
        fidelities: what the trainer can reduce.
        epochs: of the target.
        batch_size: the usual one, where it is known.

    Example:
        >>> [proxy.canonical for proxy in auto_ladder({"data", "epochs", "batch", "width"}, 20, 64)]
        ['epochs:5+width:0.5', 'epochs:5', 'full']
        >>> [proxy.canonical for proxy in auto_ladder({"data", "epochs", "batch"}, 20, 64)]
        ['random:0.1+batch:16', 'epochs:5', 'full']
        >>> [proxy.canonical for proxy in auto_ladder({"data", "epochs"}, 20)]
        ['random:0.4+epochs:5', 'epochs:5', 'full']
        >>> [proxy.canonical for proxy in auto_ladder({"data"}, 1)]
        ['random:0.1', 'random:0.25', 'full']
    """
    if "epochs" not in fidelities or epochs < 2:
        return parse_proxies("random:0.1 random:0.25 full")
    quarter = f"epochs:{max(1, round(epochs / 4))}"
    if "width" in fidelities:
        first = f"{quarter}+width:0.5"
    elif "batch" in fidelities and batch_size is not None and batch_size >= 2 * SMALLEST_BATCH:
        first = f"random:0.1+batch:{max(SMALLEST_BATCH, batch_size // 4)}"
    else:
        first = f"random:0.4+{quarter}"
    return parse_proxies(f"{first} {quarter} full")


# Correlation of a proxy with all steps, and how it falls with the share of the steps.
TRUST, PER_STEPS = 0.97, 0.12


def expected_trust(proxy: Proxy, steps: float) -> float:
    """How far a proxy is expected to agree with the target: the more, the more optimizer steps it keeps.

    Args:
        proxy: the proxy.
        steps: its optimizer steps, relative to the target's.
    """
    if proxy.is_target:
        return 1.0
    return float(TRUST * min(1.0, max(steps, 1e-3)) ** PER_STEPS)
