"""Successive halving and Hyperband, asynchronous: a trial goes on past a rung while it is among the best third there.

Li et al. 2018, arXiv:1810.05934 (its variant that stops trials and never resumes one). A rung's threshold is that of
the trials known when the slot was claimed, so trainers need no database. Trials compare by the stop loss of their first
replicate, which every trial trains: one comparison for each rung, however many replicates follow.
"""

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

REDUCTION = 3
"""One in so many trials goes on past a rung; each rung has so many times the epochs of the one before."""
FIRST_EPOCHS = 10
"""No rung comes earlier: a curve's first epochs tell the learning rate more than the loss it leads to."""
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Rung:
    """After `epochs`, a first replicate whose best stop loss exceeds `threshold` ends its trial."""

    epochs: int
    threshold: float


def rung_epochs(max_epochs: int) -> tuple[int, ...]:
    """Epochs of the rungs, ascending: a third, a ninth, ... of the most, as far as there is anything to see."""
    rungs = []
    epochs = max_epochs // REDUCTION
    while epochs >= FIRST_EPOCHS:
        rungs.append(epochs)
        epochs //= REDUCTION
    return tuple(reversed(rungs))


def rungs_skipped(slot: int, rungs: int) -> int:
    """How many of so many rungs Hyperband spares this slot's trial; its bracket (Li et al. 2018, arXiv:1603.06560).

    Brackets are drawn in Hyperband's shares, in an even sequence that needs no state.
    """
    shares = [REDUCTION**left / (left + 1) for left in range(rungs, -1, -1)]
    place = slot * GOLDEN % 1 * sum(shares)
    return sum(bound <= place for bound in list(accumulate(shares))[:-1])


def is_behind(rungs: Sequence[Rung], curve: Sequence[float]) -> bool:
    """Whether the curve of a first replicate has just come to a rung and is too high there."""
    return any(len(curve) == rung.epochs and min(curve) > rung.threshold for rung in rungs)


class Rungs:
    """The best stop losses that trials had at each rung; brackets share them, as each is as good a comparison."""

    def __init__(self, epochs: Sequence[int]) -> None:
        self._losses: dict[int, list[float]] = {epoch: [] for epoch in epochs}

    def add(self, curve: Sequence[float], *, ended: bool) -> None:
        """Take in a first replicate; `ended` where its training was over, so that it counts at later rungs too."""
        for epochs, losses in self._losses.items():
            if curve and (ended or len(curve) >= epochs):
                insort(losses, min(curve[:epochs]))

    def thresholds(self) -> tuple[Rung, ...]:
        """The rungs that enough trials have come to."""
        return tuple(
            Rung(epochs, losses[math.ceil(len(losses) / REDUCTION) - 1])
            for epochs, losses in self._losses.items()
            if len(losses) >= REDUCTION
        )
