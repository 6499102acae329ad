"""What is read back from the database: plain frozen values that reports, tables and the API share."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self


class TrialState(StrEnum):
    """How far one attempt at a trial has come; the sets of states below say what follows from it."""

    RUNNING = "running"
    COMPLETE = "complete"
    """It has all its replicates."""
    RACED_OUT = "raced out"
    """It lost on its first replicates; its value is an estimate from these."""
    PRUNED = "pruned"
    """Its learning curves were too bad; it has no value."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """It was stopped from outside, which is no failure: it will be tried again."""


RANKED = frozenset({TrialState.COMPLETE})
"""Only trials in these states can win."""
VALUED = RANKED | {TrialState.RACED_OUT}
"""Trials in these states have a value, and no others do."""
ACCEPTED = VALUED | {TrialState.PRUNED}
"""A trial in one of these states is a result; a slot has at most one."""
FINISHED = ACCEPTED | {TrialState.FAILED}
"""A slot in one of these states is used up. Only a failed one may be opened again."""


class Purpose(StrEnum):
    """What the work on a slot is for; slots of each purpose have numbers of their own in a study."""

    TRIAL = "trial"
    """One unit of the study's budget."""
    FINAL = "final"
    BASELINE = "baseline"
    REFIT = "refit"
    ASK = "ask"


SHOWN_TRIALS = 1000
"""A search looks at so many results of a study: the latest half, and the best of those before."""

Role = Literal["run", "worker"]
Limit = Literal["wall time", "trainer seconds"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicateRecord:
    """One training of a trial's network on one resample. Losses are the study's, per row, seconds of trainer time.

    `score_loss` is None where training was pruned before it could be scored.
    `curve` holds the `stop` loss after each epoch; `best_epoch` counts from 0. `predictions` are those of the
    `score` rows by outputs, little-endian float32 in C order; they are told with a result, and read back by
    `hpo_storage.predictions` only.
    """

    index: int
    stop_loss: float
    score_loss: float | None
    best_epoch: int
    seconds: float
    curve: tuple[float, ...]
    predictions: bytes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How one attempt at a trial ended. `value`, a loss, is set in the states of VALUED only. `standard_error` is
    over replicates. `reason` says why a trial was cut short or failed."""

    state: TrialState
    value: float | None = None
    standard_error: float | None = None
    reason: str | None = None
    info: dict[str, Any] = field(default_factory=dict)
    replicates: tuple[ReplicateRecord, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", TrialState(self.state))  # ValueError for what is none

    def to_json(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        values = asdict(self)
        for replicate in values["replicates"]:
            if replicate["predictions"] is not None:
                replicate["predictions"] = b64encode(replicate["predictions"]).decode()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` gave, also that of the version before, where a raced-out trial was complete too."""
        rest = {name: value for name, value in values.items() if name != "raced_out"}
        state = TrialState.RACED_OUT if values.get("raced_out") else TrialState(values["state"])
        return cls(**{**rest, "state": state, "replicates": tuple(map(_replicate_from_json, values["replicates"]))})


def _replicate_from_json(values: Mapping[str, Any]) -> ReplicateRecord:
    predictions = values["predictions"]
    return ReplicateRecord(
        **{
            **values,
            "curve": tuple(values["curve"]),
            "predictions": None if predictions is None else b64decode(predictions),
        }
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What ends a study, or one attempt, before its budget does; all in seconds, None for no limit.

    `wall_seconds` count from the study's first claim, `trainer_seconds` are those of all attempts together.
    """

    wall_seconds: float | None = None
    trainer_seconds: float | None = None
    trial_seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """One Optuna trial: one attempt at one slot of the budget.

    `value` is the mean score loss (of a raced-out trial: an estimate from fewer replicates).
    `info` holds plain facts about the network: {"parameters": 1234, "widths": [..], ...}.
    """

    number: int
    slot: int
    attempt: int
    state: TrialState
    params: dict[str, Any]
    value: float | None
    standard_error: float | None
    reason: str | None
    started: datetime
    finished: datetime | None
    worker: str
    trainer: int
    info: dict[str, Any]
    replicates: tuple[ReplicateRecord, ...]

    @property
    def seconds(self) -> float | None:
        """From its start to its end; None while it runs."""
        return (self.finished - self.started).total_seconds() if self.finished else None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyHeader:
    """A study without its trials. `spec` is StudySpec's JSON; `facts` what was found out about its data:
    {"rows": .., "features": .., "classes": [..], "prior_loss": .., "notes": [..], "replicates": R, ...};
    `environment` the versions and machine it first ran on; `dataset` the hash of its stored data set."""

    id: int
    name: str
    spec: dict[str, Any]
    facts: dict[str, Any]
    environment: dict[str, Any]
    created: datetime
    budget: int
    dataset: str | None = None
    limits: Limits = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRecord(StudyHeader):
    """A study as stored. `finished` counts the slots of its budget that are used up; `running` says whether a worker
    serves it. `limit_reached` says why nothing more of it can be claimed although slots are left."""

    finished: int
    running: bool
    trials: tuple[TrialRecord, ...]
    limit_reached: Limit | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyOverview(StudyHeader):
    """How a study stands, without its trials; what it has in common with `StudyRecord` is the same there.

    Attributes:
        counts: slots that are used up, by how they ended.
        best: the winner so far.
        failures: why slots failed at their last attempt, and how many, the most frequent first.
        claimed: numbers of the trials that hold a slot.
        begun: whether there is any trial.
        seconds: that attempts have taken, those not included that run.
    """

    finished: int
    running: bool
    counts: Mapping[TrialState, int]
    best: TrialRecord | None
    failures: tuple[tuple[str | None, int], ...]
    claimed: tuple[int, ...]
    begun: bool = False
    seconds: float = 0.0
    limit_reached: Limit | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySummary:
    """One line of `hpo list`; `limit_reached` as in `StudyRecord`."""

    id: int
    name: str
    created: datetime
    budget: int
    finished: int
    running: bool
    best_value: float | None
    limit_reached: Limit | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyProgress:
    """How far a study is, in slots of its budget. `limit_reached` as in `StudyRecord`; `limits` are those it has
    now."""

    budget: int
    open: int
    claimed: int
    complete: int
    raced_out: int
    pruned: int
    failed: int
    limit_reached: Limit | None
    limits: Limits

    @property
    def finished(self) -> int:
        """Slots that are used up."""
        return self.complete + self.raced_out + self.pruned + self.failed

    def after(self, end: TrialState | None) -> Self:
        """The same with one claimed slot less: it has ended in a state of FINISHED, or (None) is open again."""
        name = "open" if end is None else end.replace(" ", "_")
        return replace(self, **{"claimed": self.claimed - 1, name: getattr(self, name) + 1})


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """How far a reader of a study's trials has come: it knows the end of each that there was, except of those that ran.

    Attributes:
        last: id of the last trial that there was, -1 for none; `number` is that trial's.
        running: numbers by id of those that ran.
        results: how many had each state of ACCEPTED.
        seconds: what all attempts had taken that had ended.
    """

    last: int
    number: int
    running: Mapping[int, int]
    results: Mapping[TrialState, int]
    seconds: float

    def knows(self, number: int) -> bool:
        """Whether the trial of that number had ended."""
        return number <= self.number and number not in self.running.values()


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How far a study is, which trials have ended since the position before, by number, and the new position."""

    progress: StudyProgress
    trials: list[TrialRecord]
    position: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenStudy:
    """A study with open or claimed slots; `workers` are those alive that serve it now."""

    id: int
    name: str
    open: int
    claimed: int
    workers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRecord:
    """A process that works, or worked. `running` are the trials it holds, `finished` those it has ended with a
    result, `trials_per_hour` how many of these an hour since it started. `note` says why it does not work."""

    id: str
    study: str | None
    role: Role
    host: str
    pid: int
    device: str
    backend: str
    trainers: int
    started: datetime
    last_seen: datetime
    stopped: datetime | None
    alive: bool
    running: int
    finished: int
    trials_per_hour: float
    note: str | None


@dataclass(frozen=True, slots=True)
class BrokenOff:
    """How many attempts at trials that are open have failed on a host for a reason."""

    host: str
    reason: str | None
    attempts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """What goes on in a study: slots that are open and claimed; those of the open at which attempts have failed, how
    many such attempts there were, and the most frequent `reasons`; its workers, and others that say why they are not;
    and when the latest trial with a result ended.
    """

    open: int
    claimed: int
    broken_off: int
    failures: int
    reasons: tuple[BrokenOff, ...]
    workers: tuple[WorkerRecord, ...]
    last_result: datetime | None = None
