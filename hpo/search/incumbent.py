"""The trial to beat, from the trials that have finished, and what may cut the next one short."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from hpo_storage.records import ACCEPTED, RANKED, VALUED, Outcome, ReplicateRecord, TrialRecord

from hpo.search.kept import Kept
from hpo.search.pruners import Incumbent
from hpo.search.rules import Rules
from hpo.search.rungs import Rungs, rung_epochs, rungs_skipped
from hpo.settings import SearchSpec
from hpo.study.standing import rank

MIN_FINISHED = 2
"""Trials with all replicates before anything is cut short."""
CLOSE_SHARE, CLOSE_LEAST = 0.3, 3
"""The deviation is that of the closest contenders: hopeless trials differ from the incumbent by much and erratically,
and would hide the smaller spread among good ones, which a race must tell apart."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A trial that others are compared with; `full` where it has all replicates, and was not raced out."""

    number: int
    value: float
    replicates: tuple[ReplicateRecord, ...]
    cost: float | None
    full: bool

    def compared(self, other: "Contender") -> "Compared":
        """Beside the other one, on the same replicates."""
        theirs = {r.index: r for r in other.replicates}
        pairs = [(r, theirs[r.index]) for r in self.replicates if r.index in theirs]
        scores = [(mine.score_loss, their.score_loss) for mine, their in pairs]
        return Compared(
            score=spread([mine - their for mine, their in scores if mine is not None and their is not None]),
            stop=spread([mine.stop_loss - their.stop_loss for mine, their in pairs]),
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """Paired differences of one trial to the incumbent: their mean, and the squares around it, one less in `freedom`
    than there are differences."""

    mean: float
    squares: float
    freedom: int


@dataclass(frozen=True, slots=True)
class Compared:
    """How far a contender is from the incumbent, by both kinds of losses; None with fewer than two replicates."""

    score: Spread | None
    stop: Spread | None


class Leaderboard:
    """Finished trials, as far as racing and pruning need them: those that a search looks at (`hpo.search.kept`)."""

    def __init__(
        self,
        search: SearchSpec = SearchSpec(),  # noqa: B008 - frozen
        max_epochs: int = 0,
        cost: Callable[[Outcome | TrialRecord], float | None] = lambda result: None,
    ) -> None:
        """`max_epochs` that a trial may train, and what it `cost`, where that is known, are its objective's."""
        self._search, self._cost = search, cost
        self._epochs = rung_epochs(max_epochs) if search.compares_curves else ()
        self._rungs = Rungs(self._epochs)
        self._kept: Kept[Contender | None] = Kept()
        self._compared: dict[int, Compared] = {}
        self._incumbent: Incumbent | None = None
        self.best: Contender | None = None
        """The best trial with all replicates."""

    def add(self, number: int, result: Outcome | TrialRecord) -> None:
        """Take in a finished trial; of those that were cut short, what they have shown."""
        if result.state not in ACCEPTED:
            return
        for first in (r for r in result.replicates if r.index == 0):
            self._rungs.add(first.curve, ended=first.score_loss is not None)
        contender = self._contender(number, result)
        self._kept.add(number, result.value, contender)
        self._incumbent = None
        if contender is not None and contender.full and (self.best is None or rank(contender) < rank(self.best)):
            self.best, self._compared = contender, {}

    @property
    def compares_curves(self) -> bool:
        """Whether it needs the curves of trials."""
        return self._search.compares_curves

    def rules(self, slot: int) -> Rules:
        """What may cut short the trial of this slot, as the study's settings say."""
        skipped = rungs_skipped(slot, len(self._epochs)) if self._search.pruner == "hyperband" else 0
        ahead = self._epochs[skipped:]
        racing, curves = self._search.racing, self._search.pruner == "curve"
        return Rules(
            incumbent=self.incumbent() if racing or curves else None,
            racing=racing,
            curves=curves,
            rungs=tuple(rung for rung in self._rungs.thresholds() if rung.epochs in ahead),
        )

    def incumbent(self) -> Incumbent | None:
        """The best trial with all replicates, the deviations of differences to it, and what a trial costs."""
        if self._incumbent is None and self.best is not None:
            self._incumbent = self._find_incumbent(self.best)
        return self._incumbent

    def _contender(self, number: int, result: Outcome | TrialRecord) -> Contender | None:
        """None for a trial that was pruned, or raced out and tells nothing of the spread."""
        full = result.state in RANKED
        if result.state not in VALUED or result.value is None or (not full and len(result.replicates) < 2):
            return None
        return Contender(number, result.value, result.replicates, self._cost(result), full)

    def _find_incumbent(self, best: Contender) -> Incumbent:
        by_replicate = sorted(best.replicates, key=lambda r: r.index)
        kept = [contender for contender in self._kept if contender is not None]
        full = [contender for contender in kept if contender.full]
        others = [t for t in (*full, *(t for t in kept if not t.full)) if t is not best]
        # Each is compared once with the same best one: a new trial costs no more in a long study.
        self._compared = {t.number: self._compared.get(t.number) or t.compared(best) for t in others}
        enough = len(full) >= MIN_FINISHED
        costs = [trial.cost for trial in full if trial.cost is not None]
        return Incumbent(
            score_losses=tuple(r.score_loss for r in by_replicate if r.score_loss is not None),
            stop_losses=tuple(r.stop_loss for r in by_replicate),
            score_deviation=close_deviation([one.score for one in self._compared.values()]) if enough else None,
            stop_deviation=close_deviation([one.stop for one in self._compared.values()]) if enough else None,
            typical_cost=median(costs) if costs else None,
        )


def spread(differences: Sequence[float]) -> Spread | None:
    """Of one trial's paired differences; None for fewer than two."""
    if len(differences) < 2:
        return None
    mean = math.fsum(differences) / len(differences)
    return Spread(mean, math.fsum((one - mean) ** 2 for one in differences), len(differences) - 1)


def close_deviation(spreads: Iterable[Spread | None]) -> float | None:
    """Pooled deviation of the contenders closest to the incumbent; None where no trial has two replicates."""
    known = sorted((one for one in spreads if one is not None), key=lambda one: one.mean)
    close = known[: max(CLOSE_LEAST, int(CLOSE_SHARE * len(known)))]
    freedom = sum(one.freedom for one in close)
    return math.sqrt(sum(one.squares for one in close) / freedom) if freedom else None
