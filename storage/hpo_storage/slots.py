"""Slots: units of work on a study. One is claimed by one attempt at a time and finished exactly once.

Those whose purpose is `trial` are the study's budget, and are made as they are claimed: a budget of any size costs
nothing. Slots of every purpose are served alike.

Each function is one transaction over our tables and Optuna's. Locks are taken in one order: study, slot, trial,
worker. Only a claim takes the study's, so that claims follow one another and each sees the points of those before.
"""

import json
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from hpo.errors import LeaseLostError
from hpo_storage.attempts import against, is_for
from hpo_storage.database import Database
from hpo_storage.failpoints import failpoint
from hpo_storage.gone import gone
from hpo_storage.limits import reached
from hpo_storage.records import FINISHED, VALUED, Outcome, Position, Purpose, ReplicateRecord, TrialState
from hpo_storage.retry import retried
from hpo_storage.tables import PREDICTIONS, REPLICATES, SLOTS, STUDIES, TRIALS, database_time, in_chunks, new_id
from hpo_storage.timing import LEASE_SECONDS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MAX_ATTEMPTS = 3
REASON_LENGTH = 4000
"""Characters kept of a reason; all databases' text columns hold that many."""

Slot = sa.Row[Any]
"""One that was made, and the time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _NewSlot:
    """One that is made when its first attempt begins."""

    study_id: int
    purpose: Purpose
    number: int
    time: datetime
    attempts: int = 0
    params: None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotOffer:
    """What a proposal is wanted for; `pending` are the parameters of the slots of its purpose that are claimed now."""

    slot: int
    attempt: int
    pending: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The right to evaluate one slot, for the holder of the token. `attempt` counts from 1."""

    slot: int
    attempt: int
    token: str
    trial_id: int
    number: int
    params: dict[str, Any]


Propose = Callable[[SlotOffer], Mapping[str, Any]]
_STUDY = sa.select(
    STUDIES.c.id, STUDIES.c.budget, STUDIES.c.first_claim, STUDIES.c.wall_seconds, STUDIES.c.trainer_seconds
)
"""What a claim must know of it; its spec may be long."""
_OF_SLOT = SLOTS.update().where(SLOTS.c.id == sa.bindparam("slot_id"))
_OF_TRIAL = TRIALS.update().where(TRIALS.c.id == sa.bindparam("trial_id"))
"""What changes is given as it is executed: to put together a statement takes longer than the server does with it."""


@retried
def claim(
    db: Database,
    study_id: int,
    worker_id: str,
    propose: Propose,
    distributions: "Mapping[str, BaseDistribution]",
    *,
    purpose: Purpose = Purpose.TRIAL,
    trainer: int = 0,
    lease_seconds: float = LEASE_SECONDS,
    untried: bool = False,
    position: Position | None = None,
) -> Claim | None:
    """Claim the lowest open slot of that purpose; None where there is none for this worker, or the study is gone.

    Those at which attempts have failed come last, and one at which this worker's has is for others, if there are any;
    with `untried` none of these is given.

    A study that has reached a limit gives out no more trials; who knows a `position` in it spares the database to add
    up all trials. `propose` is called in the transaction, and for the first attempt only: later ones have its
    parameters.
    """
    with db.begin_write() as connection:
        study = connection.execute(_STUDY.where(STUDIES.c.id == study_id).with_for_update(key_share=True)).first()
        if study is None or (purpose is Purpose.TRIAL and reached(connection, study, position)):
            return None
        slot = _next_untried(connection, study, purpose)
        if slot is None and not untried:
            slot = _next_broken_off(connection, study_id, purpose, worker_id)
        if slot is None:
            return None
        params = slot.params or _ask(connection, slot, propose, distributions)
        failpoint("after_ask")
        claimed = _start(connection, slot, params, distributions)
        _hold(connection, slot, claimed, worker_id, trainer, lease_seconds)
        if study.first_claim is None and purpose is Purpose.TRIAL:
            connection.execute(STUDIES.update().where(STUDIES.c.id == study_id).values(first_claim=slot.time))
    return claimed


@retried
def finish(db: Database, claim: Claim, outcome: Outcome) -> None:
    """Record the result, once: a repeat by the same claim changes nothing.

    Raises LeaseLostError where the slot has been given to another attempt, StudyNotFoundError where it was deleted,
    and ValueError where a number is not finite.
    """
    check_outcome(outcome)
    with db.begin_write() as connection:
        slot = _held(connection, claim)
        if slot.state in FINISHED:
            return
        ended = {"state": outcome.state, "worker_id": None, "lease_until": None, "seconds": _seconds(slot, slot.time)}
        connection.execute(_OF_SLOT, {"slot_id": slot.id, **ended})
        _end(connection, slot, outcome, slot.time)
    db.settle()


@retried
def release(
    db: Database, claim: Claim, reason: str | None = None, *, max_attempts: int = MAX_ATTEMPTS, counts: bool = True
) -> bool:
    """Give the attempt up; return whether the slot is open again, or else has failed for good.

    With `counts=False` (a user's Ctrl-C) it is interrupted, not failed, and does not use up one of `max_attempts`.
    Nor does a failure, in the end, that tells of a sick machine (`hpo_storage.attempts`).
    Raises LeaseLostError where the slot is no longer the claim's.
    """
    with db.begin_write() as connection:
        slot = _held(connection, claim)
        if slot.state in FINISHED:
            raise LeaseLostError(_lost(claim, f"is finished as {slot.state}"))
        return abandon(connection, slot, reason, slot.time, counts=counts, max_attempts=max_attempts)


def abandon(
    connection: sa.Connection,
    slot: Slot,
    reason: str | None,
    time: datetime,
    *,
    counts: bool,
    max_attempts: int = MAX_ATTEMPTS,
) -> bool:
    """Fail a claimed slot's trial in the caller's transaction, or interrupt it where that does not count; open the
    slot again, or fail it when `max_attempts` failures speak against it. Returns whether it is open again."""
    failures = slot.failures + int(counts)
    reopened = not (counts and failures >= max_attempts and against(connection, slot) >= max_attempts)
    connection.execute(
        SLOTS.update()
        .where(SLOTS.c.id == slot.id)
        .values(
            state="open" if reopened else TrialState.FAILED,
            failures=failures,
            token=None,
            worker_id=None,
            lease_until=None,
            seconds=_seconds(slot, time),
        )
    )
    _end(connection, slot, Outcome(state=TrialState.FAILED if counts else TrialState.INTERRUPTED, reason=reason), time)
    return reopened


def pack_curve(curve: tuple[float, ...]) -> bytes:
    """Losses by epoch as little-endian float32; ones beyond its range become its largest."""
    largest = float(np.finfo(np.float32).max)
    return np.clip(np.asarray(curve, dtype=np.float64), -largest, largest).astype("<f4").tobytes()


def unpack_curve(packed: bytes) -> tuple[float, ...]:
    """The inverse of `pack_curve`, to float32's precision."""
    return tuple(np.frombuffer(packed, dtype="<f4").tolist())


def _next_untried(
    connection: sa.Connection, study: sa.Row[*tuple[Any, ...]], purpose: Purpose
) -> Slot | _NewSlot | None:
    """The lowest open slot at which no attempt has failed, locked, or else the next of the budget, which `_hold` makes;
    and the time. The study is locked."""
    of_purpose = SLOTS.c.study_id == study.id, SLOTS.c.purpose == purpose
    untried = SLOTS.c.state == "open", SLOTS.c.failures == 0
    seen = connection.execute(
        sa.select(
            sa.select(sa.func.max(SLOTS.c.number)).where(*of_purpose).scalar_subquery().label("last"),
            sa.select(sa.func.min(SLOTS.c.number)).where(*of_purpose, *untried).scalar_subquery().label("open"),
            database_time().label("time"),
        )
    ).one()
    if seen.open is not None:
        found = connection.execute(_open(study.id, purpose).where(untried[1]).order_by(SLOTS.c.number)).first()
        if found is not None:
            return found
    number = 0 if seen.last is None else seen.last + 1
    if purpose is not Purpose.TRIAL or number >= study.budget:
        return None
    return _NewSlot(study_id=study.id, purpose=purpose, number=number, time=seen.time)


def _next_broken_off(connection: sa.Connection, study_id: int, purpose: Purpose, worker_id: str) -> Slot | None:
    """The open slot with the fewest failed attempts, of those that this worker may try, locked, and the time."""
    tried = sa.and_(SLOTS.c.failures > 0, is_for(connection, study_id, worker_id))
    return connection.execute(_open(study_id, purpose).where(tried).order_by(SLOTS.c.failures, SLOTS.c.number)).first()


def _open(study_id: int, purpose: Purpose) -> sa.Select[Any]:
    """One open slot, to be locked, and the time."""
    is_open = sa.and_(SLOTS.c.study_id == study_id, SLOTS.c.purpose == purpose, SLOTS.c.state == "open")
    return sa.select(SLOTS, database_time().label("time")).where(is_open).limit(1).with_for_update(skip_locked=True)


def _ask(
    connection: sa.Connection, slot: Slot | _NewSlot, propose: Propose, distributions: "Mapping[str, BaseDistribution]"
) -> dict[str, Any]:
    pending = connection.scalars(
        sa.select(SLOTS.c.params)
        .where(SLOTS.c.study_id == slot.study_id, SLOTS.c.purpose == slot.purpose, SLOTS.c.state == "claimed")
        .order_by(SLOTS.c.number)
    ).all()
    params = propose(SlotOffer(slot=slot.number, attempt=slot.attempts + 1, pending=tuple(pending)))
    if not params or not params.keys() <= distributions.keys():
        raise ValueError(f"a proposal must have some of {sorted(distributions)}, got {sorted(params)}")
    # Through Optuna's representation, so that what we store is what it will give back.
    return {
        name: distribution.to_external_repr(distribution.to_internal_repr(params[name]))
        for name, distribution in distributions.items()
        if name in params
    }


def _start(
    connection: sa.Connection,
    slot: Slot | _NewSlot,
    params: dict[str, Any],
    distributions: "Mapping[str, BaseDistribution]",
) -> Claim:
    """The next attempt's trial in Optuna's tables."""
    from hpo_storage.optuna import start_trial

    attempt = slot.attempts + 1
    attributes = {"slot": slot.number, "attempt": attempt}
    if slot.purpose is not Purpose.TRIAL:
        attributes["purpose"] = slot.purpose
    trial_id, number = start_trial(connection, slot.study_id, params, distributions, attributes)
    return Claim(
        slot=slot.number,
        attempt=attempt,
        token=secrets.token_hex(16),
        trial_id=trial_id,
        number=number,
        params=dict(params),
    )


def _hold(
    connection: sa.Connection,
    slot: Slot | _NewSlot,
    claim: Claim,
    worker_id: str,
    trainer: int,
    lease_seconds: float,
) -> None:
    """The slot is the claim's until its lease ends, and the attempt has begun."""
    held = {
        "state": "claimed",
        "params": claim.params,
        "attempts": claim.attempt,
        "token": claim.token,
        "trial_id": claim.trial_id,
        "worker_id": worker_id,
        "lease_until": slot.time + timedelta(seconds=lease_seconds),
        "started": slot.time,
    }
    if isinstance(slot, _NewSlot):
        of_study = {"study_id": slot.study_id, "purpose": slot.purpose, "number": slot.number}
        slot_id = new_id(connection, SLOTS.insert(), {**of_study, **held, "failures": 0, "seconds": 0.0})
    else:
        slot_id = slot.id
        connection.execute(_OF_SLOT, {"slot_id": slot_id, **held})
    trial: dict[str, Any] = {
        "id": claim.trial_id,
        "slot_id": slot_id,
        "attempt": claim.attempt,
        "number": claim.number,
        "state": TrialState.RUNNING,
        "info": {},
        "worker_id": worker_id,
        "trainer": trainer,
        "started": slot.time,
    }
    try:
        connection.execute(TRIALS.insert(), trial)
    except sa.exc.IntegrityError as error:  # the slot's number was another's, of which somebody has left the attempts
        raise gone() from error


def _held(connection: sa.Connection, claim: Claim) -> Slot:
    """The slot that was last claimed with the token, locked, and the time; LeaseLostError where there is none."""
    slot = connection.execute(
        sa.select(SLOTS, database_time().label("time"))
        .where(SLOTS.c.token == claim.token, SLOTS.c.trial_id == claim.trial_id)
        .with_for_update()
    ).first()
    if slot is None:
        if connection.scalar(sa.select(TRIALS.c.id).where(TRIALS.c.id == claim.trial_id)) is None:
            raise gone()
        raise LeaseLostError(_lost(claim, "has been given to another attempt, or is gone"))
    return slot


def _seconds(slot: Slot, time: datetime) -> float:
    """What the slot's attempts have taken once the one that runs ends at `time`, also where the clock was set back."""
    return float(slot.seconds + max(0.0, (time - slot.started).total_seconds()))


def _lost(claim: Claim, why: str) -> str:
    return (
        f"a result is taken from the attempt that holds the slot, got one from attempt {claim.attempt} "
        f"at slot {claim.slot}, which {why}; drop the result"
    )


def _end(connection: sa.Connection, slot: Slot, outcome: Outcome, time: datetime) -> None:
    """Write how the slot's attempt ended, to our tables and Optuna's."""
    from hpo_storage.optuna import finish_trial

    trial_id, reason = slot.trial_id, outcome.reason and storable(outcome.reason)
    ended = {
        "state": outcome.state,
        "value": outcome.value,
        "standard_error": outcome.standard_error,
        "reason": reason,
        "info": outcome.info,
        "finished": time,
    }
    connection.execute(_OF_TRIAL, {"trial_id": trial_id, **ended})
    if outcome.replicates:
        rows = [_replicate_row(trial_id, replicate) for replicate in outcome.replicates]
        connection.execute(REPLICATES.insert(), rows)
    if predictions := [row for replicate in outcome.replicates for row in _prediction_rows(trial_id, replicate)]:
        connection.execute(PREDICTIONS.insert(), predictions)
    failpoint("mid_tell")
    attributes = {
        "standard_error": outcome.standard_error,
        "raced_out": outcome.state is TrialState.RACED_OUT or None,
        "reason": "interrupted" if outcome.state is TrialState.INTERRUPTED else reason,
        "info": outcome.info or None,
    }
    finish_trial(
        connection,
        trial_id,
        outcome.state,
        purpose=slot.purpose,
        value=outcome.value,
        attributes={key: value for key, value in attributes.items() if value is not None},
        intermediate={r.index: r.stop_loss if r.score_loss is None else r.score_loss for r in outcome.replicates},
    )


def storable(text: str) -> str:
    """Cut short, and without what some databases cannot hold: NUL and surrogates."""
    return text[:REASON_LENGTH].replace("\0", "?").encode("utf-8", "replace").decode()


def _replicate_row(trial_id: int, replicate: ReplicateRecord) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "replicate": replicate.index,
        "stop_loss": replicate.stop_loss,
        "score_loss": replicate.score_loss,
        "best_epoch": replicate.best_epoch,
        "seconds": replicate.seconds,
        "curve": pack_curve(replicate.curve),
    }


def _prediction_rows(trial_id: int, replicate: ReplicateRecord) -> list[dict[str, Any]]:
    if replicate.predictions is None:
        return []
    return [
        {"trial_id": trial_id, "replicate": replicate.index, "chunk": chunk, "content": content}
        for chunk, content in enumerate(in_chunks(replicate.predictions))
    ]


def check_outcome(outcome: Outcome) -> None:
    """Raise ValueError for what must never reach the database; TypeError where it is no JSON."""
    if outcome.state not in FINISHED:
        raise ValueError(f"a slot must be finished as one of {', '.join(sorted(FINISHED))}, got {outcome.state!r}")
    if (outcome.state in VALUED) != (outcome.value is not None):
        raise ValueError(
            f"complete and raced-out trials have a value, and no others do, got {outcome.state}: {outcome.value}"
        )
    numbers: list[tuple[str, float | None]] = [
        ("value", outcome.value),
        ("standard_error", outcome.standard_error),
    ]
    for replicate in outcome.replicates:
        for name in ("stop_loss", "score_loss", "seconds"):
            numbers.append((f"{name} of replicate {replicate.index}", getattr(replicate, name)))
        numbers += [(f"curve of replicate {replicate.index}", loss) for loss in replicate.curve]
    for name, number in numbers:
        if number is not None and not math.isfinite(number):
            raise ValueError(f"{name} must be finite, got {number}; finish the trial as failed, with a reason")
    json.dumps(outcome.info, allow_nan=False)
