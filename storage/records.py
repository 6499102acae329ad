"""What is read back from the database: plain frozen values that reports, tables and the API share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

TrialState = Literal["running", "complete", "pruned", "failed"]

INTERRUPTED_REASON = "interrupted"
"""The reason of attempts that were stopped from outside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicateRecord:
    """One training of a trial's network on one resample. Losses in nats per row, seconds of trainer time.

    `score_loss` is None where training was pruned before it could be scored.
    `curve` holds the `stop` loss after each epoch; `best_epoch` counts from 0.
    """

    index: int
    stop_loss: float
    score_loss: float | None
    best_epoch: int
    seconds: float
    curve: tuple[float, ...]


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

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `dataclasses.asdict` gone through JSON."""
        replicates = (ReplicateRecord(**{**r, "curve": tuple(r["curve"])}) for r in values["replicates"])
        return cls(**{**values, "replicates": tuple(replicates)})


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
    `environment` the versions and machine it first ran on."""

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

    @property
    def replicates(self) -> int:
        """Replicates that a fully evaluated trial has."""
        return int(self.facts["replicates"])

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
