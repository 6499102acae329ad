"""Replicates, outcomes, trials and studies; what a test does not say has a value of which nothing depends."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hpo_storage.records import FINISHED, Outcome, ReplicateRecord, StudyRecord, TrialRecord, TrialState

START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def make_replicate(index: int = 0, loss: float = 0.5, **changes: Any) -> ReplicateRecord:
    """One with this loss on its `stop` and its `score` rows, after one epoch."""
    fields: dict[str, Any] = {"stop_loss": loss, "score_loss": loss, "best_epoch": 0, "seconds": 1.0, "curve": (loss,)}
    return ReplicateRecord(index=index, **(fields | changes))


def make_outcome(value: float | None = 0.5, **changes: Any) -> Outcome:
    """A complete one, or with `state`, a `reason` and so on."""
    return Outcome(**({"state": "complete", "value": value} | changes))


def make_trial(number: int = 0, value: float | None = 0.5, **changes: Any) -> TrialRecord:
    """A complete trial of two replicates around the value; without a value, a failed one."""
    failed = value is None
    losses = () if value is None else (value - 0.01, value + 0.01)
    fields: dict[str, Any] = {
        "slot": number,
        "attempt": 1,
        "state": TrialState.FAILED if failed else TrialState.COMPLETE,
        "params": {"dropout": 0.1, "activation": "elu"},
        "value": value,
        "standard_error": None if failed else 0.01,
        "reason": "loss was not finite" if failed else None,
        "started": START,
        "finished": START + timedelta(seconds=2),
        "worker": "host:1",
        "trainer": 0,
        "info": {"parameters": 1234, "widths": [20, 10], "batch_size": 32},
        "replicates": tuple(make_replicate(index, loss) for index, loss in enumerate(losses)),
    }
    return TrialRecord(number=number, **(fields | changes))


def make_study(*trials: TrialRecord, **changes: Any) -> StudyRecord:
    """A study of these trials; its budget is used up by those that are over."""
    ended = {trial.slot for trial in trials if trial.state in FINISHED}
    fields: dict[str, Any] = {
        "id": 1,
        "name": "churn",
        "spec": {},
        "facts": {"replicates": 2},
        "environment": {},
        "created": START,
        "budget": len(trials),
        "finished": len(ended),
        "running": False,
    }
    return StudyRecord(trials=trials, **(fields | changes))
