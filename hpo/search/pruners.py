"""The two rules that compare a trial with the incumbent: curves prune, races drop. Pure functions of plain numbers.

The incumbent is the best trial with all its replicates when the slot was claimed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FIRST_RACE_Z = 1.9
RACE_Z = 1.7
LEAST_Z, MOST_Z = 0.5, 3.0
COST_Z = 1.0
"""How much less z a trial is given that costs ten times as much. A mean that is z standard errors behind promises an
improvement of phi(z) - z Phi(-z) standard errors (Mockus 1975); around z = 2 that falls tenfold for one unit of z, so
this asks the same expected improvement for the same cost (Snoek et al. 2012, arXiv:1206.2944)."""
CURVE_Z = 2.5
CURVE_WINDOW = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Incumbent:
    """The trial to beat: losses by replicate, and the deviations of paired differences to it.

    The deviations are None until enough trials have finished; until then nothing is cut short. `typical_cost` is the
    median `training_cost` of the trials with all replicates, None where it is not known.
    """

    score_losses: tuple[float, ...]
    stop_losses: tuple[float, ...]
    score_deviation: float | None
    stop_deviation: float | None
    typical_cost: float | None = None

    @property
    def mean(self) -> float:
        """Mean score loss."""
        return sum(self.score_losses) / len(self.score_losses)


def mean_difference(incumbent: Incumbent, score_losses: Mapping[int, float]) -> float:
    """Mean paired difference of score losses, given by replicate; positive where the incumbent is better."""
    return sum(loss - incumbent.score_losses[r] for r, loss in score_losses.items()) / len(score_losses)


def race_z(incumbent: Incumbent, replicates: int, cost: float | None) -> float:
    """Standard errors that a trial of this `training_cost` may be behind after so many replicates.

    A single replicate may be further behind than several: it is the look that most trials are decided by.
    """
    z = FIRST_RACE_Z if replicates == 1 else RACE_Z
    if cost is None or incumbent.typical_cost is None:
        return z
    return min(max(z - COST_Z * math.log10(cost / incumbent.typical_cost), LEAST_Z), MOST_Z)


def race_is_lost(incumbent: Incumbent, score_losses: Mapping[int, float], cost: float | None = None) -> bool:
    """Whether the replicates so far put the trial behind the incumbent by more than z standard errors."""
    if incumbent.score_deviation is None or not score_losses:
        return False
    error = incumbent.score_deviation / math.sqrt(len(score_losses))
    return mean_difference(incumbent, score_losses) > race_z(incumbent, len(score_losses), cost) * error


def raced_value(incumbent: Incumbent, score_losses: Mapping[int, float]) -> float:
    """A raced-out trial's estimated loss: the incumbent's mean plus the mean paired difference."""
    return incumbent.mean + mean_difference(incumbent, score_losses)


def forecast(curve: Sequence[float], max_epochs: int) -> float:
    """An optimistic best loss at `max_epochs`: a straight line through the last epochs; -inf for short curves.

    Learning curves are convex in the main, so the line lies below them.
    """
    if len(curve) <= CURVE_WINDOW:
        return -math.inf
    best = min(curve)
    gain = min(curve[:-CURVE_WINDOW]) - best
    return best - gain / CURVE_WINDOW * (max_epochs - len(curve))


def hopeless_loss(incumbent: Incumbent, replicate: int) -> float:
    """The stop loss on this replicate above which a forecast is hopeless; inf where nothing may be pruned."""
    if incumbent.stop_deviation is None:
        return math.inf
    return incumbent.stop_losses[replicate] + CURVE_Z * incumbent.stop_deviation


def curve_is_hopeless(incumbent: Incumbent, replicate: int, curve: Sequence[float], max_epochs: int) -> bool:
    """Whether even an optimistic forecast ends clearly above the incumbent's stop loss."""
    return forecast(curve, max_epochs) > hopeless_loss(incumbent, replicate)
