"""The trial to beat, from the trials that have finished, and what may cut the next one short."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from hpo_storage.records import ACCEPTED, RANKED, VALUED, Outcome, ReplicateRecord, TrialRecord

from hpo.search.pruners import Incumbent
from hpo.search.rules import Rules
from hpo.search.rungs import Rungs, rung_epochs, rungs_skipped
from hpo.settings import SearchSpec
from hpo.statistics import pooled_deviation
from hpo.study.standing import rank

MIN_FINISHED = 2
"""Trials with all replicates before anything is cut short."""
CLOSE_SHARE, CLOSE_LEAST = 0.3, 3
"""The deviation is that of the closest contenders: hopeless trials differ from the incumbent by much and erratically,
and would hide the smaller spread among good ones, which a race must tell apart."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A complete trial."""

    number: int
    value: float
    replicates: tuple[ReplicateRecord, ...]
    cost: float | None

    def score_differences(self, other: "Contender") -> list[float]:
        """Score losses minus the other's on the same replicates."""
        pairs = [(mine.score_loss, theirs.score_loss) for mine, theirs in self._pairs(other)]
        return [mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None]

    def stop_differences(self, other: "Contender") -> list[float]:
        """Stop losses minus the other's on the same replicates."""
        return [a.stop_loss - b.stop_loss for a, b in self._pairs(other)]

    def _pairs(self, other: "Contender") -> list[tuple[ReplicateRecord, ReplicateRecord]]:
        theirs = {r.index: r for r in other.replicates}
        return [(r, theirs[r.index]) for r in self.replicates if r.index in theirs]


class Leaderboard:
    """Finished trials, as far as racing and pruning need them."""

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
        self._full: list[Contender] = []
        self._partial: list[Contender] = []
        self._incumbent: Incumbent | None = None

    def add(self, number: int, result: Outcome | TrialRecord) -> None:
        """Take in a finished trial; of those that were cut short, what they have shown."""
        if result.state not in ACCEPTED:
            return
        for first in (r for r in result.replicates if r.index == 0):
            self._rungs.add(first.curve, ended=first.score_loss is not None)
        if result.state not in VALUED or result.value is None:
            return
        full = result.state in RANKED
        if not full and len(result.replicates) < 2:  # a raced-out trial that tells nothing of the spread
            return
        finished = Contender(number, result.value, result.replicates, self._cost(result))
        (self._full if full else self._partial).append(finished)
        self._incumbent = None

    @property
    def compares_curves(self) -> bool:
        """Whether it needs the curves of trials."""
        return self._search.compares_curves

    @property
    def best(self) -> Contender | None:
        """The best trial with all replicates."""
        return min(self._full, key=rank, default=None)

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
        if self._incumbent is None and self._full:
            self._incumbent = self._find_incumbent()
        return self._incumbent

    def _find_incumbent(self) -> Incumbent | None:
        best = self.best
        if best is None:
            return None
        by_replicate = sorted(best.replicates, key=lambda r: r.index)
        others = [t for t in (*self._full, *self._partial) if t is not best]
        enough = len(self._full) >= MIN_FINISHED
        costs = [trial.cost for trial in self._full if trial.cost is not None]
        return Incumbent(
            score_losses=tuple(r.score_loss for r in by_replicate if r.score_loss is not None),
            stop_losses=tuple(r.stop_loss for r in by_replicate),
            score_deviation=close_deviation([t.score_differences(best) for t in others]) if enough else None,
            stop_deviation=close_deviation([t.stop_differences(best) for t in others]) if enough else None,
            typical_cost=median(costs) if costs else None,
        )


def close_deviation(differences: Sequence[Sequence[float]]) -> float | None:
    """Pooled deviation of the contenders closest to the incumbent; each sample holds one trial's paired differences.

    None where no trial has two replicates.
    """
    samples = sorted(
        (sample for sample in differences if len(sample) > 1), key=lambda sample: sum(sample) / len(sample)
    )
    return pooled_deviation(samples[: max(CLOSE_LEAST, int(CLOSE_SHARE * len(samples)))])
