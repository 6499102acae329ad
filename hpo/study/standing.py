"""How a study and its trials stand: in which states they are, who wins, what is left and what to do next.

All that shows or decides such things asks here, so that there is one answer.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from hpo_storage.records import (
    RANKED,
    Activity,
    Limit,
    StudyOverview,
    StudyRecord,
    StudySummary,
    TrialRecord,
    TrialState,
    WorkerRecord,
)

from hpo.errors import do
from hpo.words import count_text, limit_text

NO_REASON = "no reason was stored"
SHOWN_NOTES = 3
Standing = StudyRecord | StudyOverview
"""A study whose trials are known, or what follows from them."""


class StudyState(StrEnum):
    """What becomes of a study now."""

    RUNNING = "running"
    """A worker serves it."""
    FINISHED = "finished"
    """Its budget is used up."""
    OVER = "over"
    """A limit is used up, though its budget is not."""
    UNFINISHED = "unfinished"


class Cause(StrEnum):
    """Why a study that is not over makes no trials now, or not as many as it might."""

    LIMIT = "limit"
    NOBODY = "no worker"
    UNABLE = "its workers cannot"
    BROKEN_OFF = "all that is open broke off"
    CLAIMED = "all is claimed"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a study waits; the text says it with marks (`hpo.errors`)."""

    cause: Cause
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NextStep:
    """What to do next with a study: look how far it is, look why its trials failed, or run it.

    A run may first extend the budget to so many `trials`, or lift the limit that ended it.
    """

    action: Literal["status", "trials", "run"]
    trials: int | None = None
    lifts: Limit | None = None


class Rankable(Protocol):
    """A trial that may win: `value` is its loss."""

    @property
    def number(self) -> int:
        """The trial's number."""

    @property
    def value(self) -> float | None:
        """Set, as it is in a state of RANKED."""


class HowFar(Protocol):
    """How far a study is: a `StudyRecord`, `StudyOverview`, `StudySummary` or `StudyProgress`."""

    @property
    def budget(self) -> int:
        """Slots for trials."""

    @property
    def finished(self) -> int:
        """Those of them that are used up."""

    @property
    def limit_reached(self) -> Limit | None:
        """The limit that is used up although slots are left."""


def rank(trial: Rankable) -> tuple[float, int]:
    """Contenders in this order are the best first: by value, and of equal ones by number."""
    assert trial.value is not None, trial
    return trial.value, trial.number


def ranked(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """Trials with all their replicates, the best first."""
    return tuple(sorted((trial for trial in study.trials if trial.state in RANKED), key=rank))


def winner(study: Standing) -> TrialRecord | None:
    """The best trial so far; None while none has all its replicates."""
    if isinstance(study, StudyOverview):
        return study.best
    return next(iter(ranked(study)), None)


def trial_state(study: StudyRecord, trial: TrialRecord) -> TrialState:
    """The trial's state; one that runs is interrupted where nobody runs its study any more."""
    abandoned = trial.state == TrialState.RUNNING and not study.running
    return TrialState.INTERRUPTED if abandoned else trial.state


def running(study: Standing) -> list[int]:
    """Numbers of the trials that somebody runs now."""
    if isinstance(study, StudyOverview):
        return list(study.claimed) if study.running else []
    return [trial.number for trial in study.trials if trial_state(study, trial) == TrialState.RUNNING]


def counts(study: Standing) -> dict[TrialState, int]:
    """Slots of the budget that are used up, by how they ended; their sum is `study.finished`."""
    if isinstance(study, StudyOverview):
        return dict(study.counts)
    ended = Counter(trial.state for trial in study.trials)
    states = (TrialState.COMPLETE, TrialState.RACED_OUT, TrialState.PRUNED)
    results = {state: ended[state] for state in states}
    # Failed attempts are no failed slots: most were tried again.
    return {**results, TrialState.FAILED: max(0, study.finished - sum(results.values()))}


def failure_reasons(study: Standing) -> list[tuple[str, int]]:
    """Why slots failed at their last attempt, and how many, the most frequent first."""
    if isinstance(study, StudyOverview):
        return [(reason or NO_REASON, count) for reason, count in study.failures]
    last = {trial.slot: trial for trial in study.trials}
    failed = (trial for trial in last.values() if trial.state == TrialState.FAILED)
    return Counter(trial.reason or NO_REASON for trial in failed).most_common()


def why_no_winner(study: Standing) -> str:
    """Why there is none: `no trial ended within 1 s`, `its one trial failed`, `no trial has all its replicates`."""
    begun = study.begun if isinstance(study, StudyOverview) else study.trials
    if not begun and study.limit_reached is None:
        return "no trial has begun"
    if not study.finished:
        limits = {"wall time": study.limits.wall_seconds, "trainer seconds": study.limits.trainer_seconds}
        seconds = limits[study.limit_reached] if study.limit_reached else None
        if seconds is None:
            return "no trial has ended"
        of_what = "" if study.limit_reached == "wall time" else " of trainer time"
        return f"no trial ended within {limit_text(seconds)}{of_what}"
    ended = {str(state): count for state, count in counts(study).items() if count}
    if ended.keys() == {str(TrialState.FAILED)}:
        return "its one trial failed" if study.finished == 1 else f"all its {study.finished} trials failed"
    listed = ", ".join(f"{count} {state}" for state, count in ended.items())
    return f"no trial has all its replicates ({listed})"


def attempts_seconds(study: Standing) -> float:
    """What the attempts that have ended took, from claim to end: what a limit of trainer seconds counts."""
    if isinstance(study, StudyOverview):
        return study.seconds
    return sum(trial.seconds for trial in study.trials if trial.seconds is not None)


def attempts_repeated(study: StudyRecord) -> int:
    """Attempts that broke off and were not their slot's last."""
    return len(study.trials) - len({trial.slot for trial in study.trials})


def left(study: StudyRecord) -> int:
    """Slots of the budget that are neither used up nor tried now."""
    return max(0, study.budget - study.finished - len(running(study)))


def is_finished(study: HowFar) -> bool:
    """Whether the budget is used up."""
    return study.finished >= study.budget


def is_over(study: HowFar) -> bool:
    """Whether there is nothing left to do: the budget is used up, or a limit is."""
    return is_finished(study) or study.limit_reached is not None


def study_state(study: Standing | StudySummary) -> StudyState:
    """The state of a study."""
    if study.running:
        return StudyState.RUNNING
    if is_finished(study):
        return StudyState.FINISHED
    return StudyState.OVER if is_over(study) else StudyState.UNFINISHED


def waiting(study: Standing, activity: Activity) -> Waiting | None:
    """Why the study waits; None where it does not, or is finished."""
    there = [worker for worker in activity.workers if worker.alive and worker.study == study.name]
    last = activity.last_result or study.created
    noted = [worker for worker in activity.workers if worker.note and (worker.alive or worker.last_seen >= last)]
    if is_finished(study):
        return None
    if study.limit_reached:
        return Waiting(Cause.LIMIT, f"its {study.limit_reached} is used up; give it more: {do('run', study.name)}")
    if not there:
        start = f"no worker serves it; start one: {do('worker', study.name)}"
        return Waiting(Cause.NOBODY, "; ".join([start, *_notes(noted), *_broken_off(activity)]))
    if not activity.claimed and noted:
        return Waiting(Cause.UNABLE, "; ".join([*_notes(noted), *_broken_off(activity)]))
    if activity.broken_off and activity.broken_off == activity.open:
        return Waiting(Cause.BROKEN_OFF, "; ".join(_broken_off(activity)))
    if activity.claimed and not activity.open:
        return Waiting(Cause.CLAIMED, f"its last {count_text(activity.claimed, 'trial')} run, nothing is left to claim")
    return None


def _notes(workers: list[WorkerRecord]) -> list[str]:
    """What the latest of the workers said."""
    shown = [f"{worker.host}:{worker.pid} said: {worker.note}" for worker in workers[-SHOWN_NOTES:]]
    more = len(workers) - len(shown)
    return [*shown, f"{more} more said alike"] if more else shown


def _broken_off(activity: Activity) -> list[str]:
    """What broke off at open slots, and where."""
    if not activity.broken_off:
        return []
    where = ", ".join(
        f"{count_text(one.attempts, 'attempt')} on {one.host} ({one.reason or NO_REASON})" for one in activity.reasons
    )
    which = "all" if activity.broken_off == activity.open else f"{activity.broken_off} of"
    return [f"{which} {count_text(activity.open, 'open trial')} broke off before: {where}"]


def next_step(study: Standing) -> NextStep:
    """What to do next with the study."""
    match study_state(study):
        case StudyState.RUNNING:
            return NextStep(action="status")
        case StudyState.FINISHED if winner(study) is None:
            return NextStep(action="trials")
        case StudyState.FINISHED:
            return NextStep(action="run", trials=2 * study.budget)
        case _:
            return NextStep(action="run", lifts=study.limit_reached)
