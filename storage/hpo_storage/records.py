"""What is read back from the database: plain frozen values that reports, tables and the API share."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

TrialState = Literal["running", "complete", "pruned", "failed"]

Role = Literal["run", "worker"]
Limit = Literal["wall time", "trainer seconds"]

INTERRUPTED_REASON = "interrupted"
"""The reason of attempts that were stopped from outside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicateRecord:
    """One training of a trial's network on one resample. Losses in nats per row, seconds of trainer time.

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
    """How one attempt at a trial ended. `value` (nats) is set for complete trials only; of a raced-out one it
    is an estimate. `standard_error` is over replicates. `reason` says why a trial was cut short or failed."""

    state: Literal["complete", "pruned", "failed"]
    value: float | None = None
    standard_error: float | None = None
    raced_out: bool = False
    reason: str | None = None
    info: dict[str, Any] = field(default_factory=dict)
    replicates: tuple[ReplicateRecord, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        values = asdict(self)
        for replicate in values["replicates"]:
            if replicate["predictions"] is not None:
                replicate["predictions"] = b64encode(replicate["predictions"]).decode()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        return cls(**{**values, "replicates": tuple(map(_replicate_from_json, values["replicates"]))})


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
    raced_out: bool
    reason: str | None
    started: datetime
    finished: datetime | None
    worker: str
    trainer: int
    info: dict[str, Any]
    replicates: tuple[ReplicateRecord, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRecord:
    """A study as stored. `spec` is StudySpec's JSON; `facts` what was found out about its data:
    {"rows": .., "features": .., "classes": [..], "prior_loss": .., "notes": [..], "replicates": R, ...};
    `environment` the versions and machine it first ran on; `dataset` the hash of its stored data set.
    `limit_reached` says why nothing more of it can be claimed although slots are left."""

    id: int
    name: str
    spec: dict[str, Any]
    facts: dict[str, Any]
    environment: dict[str, Any]
    created: datetime
    budget: int
    finished: int
    running: bool
    trials: tuple[TrialRecord, ...]
    dataset: str | None = None
    limits: Limits = Limits()
    limit_reached: Limit | None = None

    @property
    def ranked(self) -> tuple[TrialRecord, ...]:
        """Complete trials with all replicates, best first."""
        full = [t for t in self.trials if t.state == "complete" and not t.raced_out and t.value is not None]
        return tuple(sorted(full, key=lambda t: (t.value, t.number)))

    @property
    def best(self) -> TrialRecord | None:
        """The winner so far, None while no trial has all its replicates."""
        return self.ranked[0] if self.ranked else None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySummary:
    """One line of `hpo list`."""

    id: int
    name: str
    created: datetime
    budget: int
    finished: int
    running: bool
    best_value: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyHeader:
    """A study without its trials; fields as in `StudyRecord`."""

    id: int
    name: str
    spec: dict[str, Any]
    facts: dict[str, Any]
    environment: dict[str, Any]
    created: datetime
    budget: int
    dataset: str | None
    limits: Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyProgress:
    """How far a study is, in slots; `complete` ones have all their replicates. `limit` as `limit_reached`; `limits`
    are those it has now."""

    budget: int
    open: int
    claimed: int
    complete: int
    raced_out: int
    pruned: int
    failed: int
    limit: Limit | None
    limits: Limits

    @property
    def finished(self) -> int:
        """Slots that are used up."""
        return self.complete + self.raced_out + self.pruned + self.failed


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
    result, `trials_per_hour` how many of these an hour since it started."""

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
