"""The two rules that cut a trial short: curves prune, races drop. Pure functions of plain numbers.

Both compare with the incumbent: the best trial with all its replicates when the slot was claimed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FIRST_RACE_Z = 1.75
RACE_Z = 1.6
CURVE_Z = 2.5
CURVE_WINDOW = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Incumbent:
    """The trial to beat: losses (nats) by replicate, and the deviations of paired differences to it.

    The deviations are None until enough trials have finished; until then nothing is cut short.
    """

    score_losses: tuple[float, ...]
    stop_losses: tuple[float, ...]
    score_deviation: float | None
    stop_deviation: float | None

    @property
    def mean(self) -> float:
        """Mean score loss."""
        return sum(self.score_losses) / len(self.score_losses)


def mean_difference(incumbent: Incumbent, score_losses: Mapping[int, float]) -> float:
    """Mean paired difference of score losses, given by replicate; positive where the incumbent is better."""
    return sum(loss - incumbent.score_losses[r] for r, loss in score_losses.items()) / len(score_losses)


def race_is_lost(incumbent: Incumbent, score_losses: Mapping[int, float]) -> bool:
    """Whether the replicates so far put the trial behind the incumbent by more than z standard errors.

    A single replicate must be further behind than several: it is the look that most trials are decided by.
    """
    if incumbent.score_deviation is None or not score_losses:
        return False
    z = FIRST_RACE_Z if len(score_losses) == 1 else RACE_Z
    return mean_difference(incumbent, score_losses) > z * incumbent.score_deviation / math.sqrt(len(score_losses))


def raced_value(incumbent: Incumbent, score_losses: Mapping[int, float]) -> float:
    """A raced-out trial's estimated loss: the incumbent's mean plus the mean paired difference."""
    return incumbent.mean + mean_difference(incumbent, score_losses)


def curve_is_hopeless(incumbent: Incumbent, replicate: int, curve: Sequence[float], max_epochs: int) -> bool:
    """Whether even a straight line through the last epochs ends above the incumbent's stop loss.

    Learning curves are convex in the main, so the line is an optimistic forecast of the best loss at `max_epochs`.
    """
    if incumbent.stop_deviation is None or len(curve) <= CURVE_WINDOW:
        return False
    best = min(curve)
    gain = min(curve[:-CURVE_WINDOW]) - best
    forecast = best - gain / CURVE_WINDOW * (max_epochs - len(curve))
    return forecast > incumbent.stop_losses[replicate] + CURVE_Z * incumbent.stop_deviation
