"""The trial to beat, from the trials that have finished."""

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.evaluation.statistics import pooled_deviation
from hpo.search.pruners import Incumbent
from storage.records import Outcome, ReplicateRecord, TrialRecord

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

    def __init__(self) -> None:
        self._full: list[Contender] = []
        self._partial: list[Contender] = []

    def add(self, number: int, result: Outcome | TrialRecord) -> None:
        """Take in a finished trial; only complete ones count."""
        if result.state != "complete" or result.value is None:
            return
        finished = Contender(number, result.value, result.replicates)
        (self._partial if result.raced_out else self._full).append(finished)

    @property
    def best(self) -> Contender | None:
        """The best trial with all replicates."""
        return min(self._full, key=lambda trial: (trial.value, trial.number), default=None)

    def incumbent(self) -> Incumbent | None:
        """The best trial with all replicates and the deviations of differences to it."""
        best = self.best
        if best is None:
            return None
        by_replicate = sorted(best.replicates, key=lambda r: r.index)
        others = [t for t in (*self._full, *self._partial) if t is not best]
        enough = len(self._full) >= MIN_FINISHED
        return Incumbent(
            score_losses=tuple(r.score_loss for r in by_replicate if r.score_loss is not None),
            stop_losses=tuple(r.stop_loss for r in by_replicate),
            score_deviation=close_deviation([t.score_differences(best) for t in others]) if enough else None,
            stop_deviation=close_deviation([t.stop_differences(best) for t in others]) if enough else None,
        )


def close_deviation(differences: Sequence[Sequence[float]]) -> float | None:
    """Pooled deviation of the contenders closest to the incumbent; each sample holds one trial's paired differences.

    None where no trial has two replicates.
    """
    samples = sorted(
        (sample for sample in differences if len(sample) > 1), key=lambda sample: sum(sample) / len(sample)
    )
    return pooled_deviation(samples[: max(CLOSE_LEAST, int(CLOSE_SHARE * len(samples)))])
