"""Trials as they are read back."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from hpo_storage.positions import of_budget
from hpo_storage.records import ACCEPTED, RANKED, SHOWN_TRIALS, ReplicateRecord, TrialRecord, TrialState
from hpo_storage.slots import unpack_curve
from hpo_storage.tables import REPLICATES, SLOTS, TRIALS, WORKERS


def trials_of(connection: sa.Connection, study_id: int) -> list[TrialRecord]:
    """All trials of a study's budget, by number."""
    return _read(connection, of_budget(study_id), sa.true(), curves=True)


def trials_by_id(connection: sa.Connection, ids: Sequence[int], *, curves: bool) -> list[TrialRecord]:
    """These trials, by number, without curves if not wanted."""
    return [
        trial
        for start in range(0, len(ids), SHOWN_TRIALS)
        for trial in _read(connection, *_these(ids[start : start + SHOWN_TRIALS]), curves=curves)
    ]


def shown_trials(connection: sa.Connection, study_id: int, *, curves: bool) -> list[TrialRecord]:
    """The results that a search looks at, the winner among them: the latest half, and the best of those before.

    Curves, where they are wanted, are read of those before only where that is all of them: for others to compare with,
    the best are not typical.
    """
    half = SHOWN_TRIALS // 2
    results = sa.select(TRIALS.c.id).join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id).where(of_budget(study_id))
    results = results.where(TRIALS.c.state.in_(ACCEPTED))
    latest = connection.scalars(results.order_by(TRIALS.c.id.desc()).limit(half)).all()
    if len(latest) < half:
        return trials_by_id(connection, latest[::-1], curves=curves)
    by_value = (TRIALS.c.value.is_(None), TRIALS.c.value, TRIALS.c.id)
    before = connection.scalars(results.where(TRIALS.c.id < latest[-1]).order_by(*by_value).limit(half + 1)).all()
    best = connection.scalar(results.where(TRIALS.c.state.in_(RANKED)).order_by(*by_value).limit(1))
    earlier = sorted({*before[:half], *([best] if best is not None and best < latest[-1] else [])})
    return [
        *trials_by_id(connection, earlier, curves=curves and len(before) <= half),
        *trials_by_id(connection, latest[::-1], curves=curves),
    ]


def best_trial(connection: sa.Connection, study_id: int) -> TrialRecord | None:
    """The winner so far."""
    ranked = sa.select(TRIALS.c.id).join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)
    ranked = ranked.where(of_budget(study_id), TRIALS.c.state.in_(RANKED))
    best = connection.scalars(ranked.order_by(TRIALS.c.value, TRIALS.c.id).limit(1)).all()
    return next(iter(trials_by_id(connection, best, curves=True)), None)


def failures(connection: sa.Connection, study_id: int) -> tuple[tuple[str | None, int], ...]:
    """Why slots failed at their last attempt, and how many, the most frequent first."""
    reasons = (
        sa.select(TRIALS.c.reason, sa.func.count().label("slots"))
        .join(SLOTS, SLOTS.c.trial_id == TRIALS.c.id)
        .where(of_budget(study_id), SLOTS.c.state.in_(("open", TrialState.FAILED)), TRIALS.c.state == TrialState.FAILED)
        .group_by(TRIALS.c.reason)
        .order_by(sa.func.count().desc(), sa.func.min(TRIALS.c.id))
    )
    return tuple((reason, count) for reason, count in connection.execute(reasons))


def _these(ids: Sequence[int]) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Trials, and replicates by an index of their own."""
    return TRIALS.c.id.in_(ids), REPLICATES.c.trial_id.in_(ids)


def _read(
    connection: sa.Connection,
    wanted: sa.ColumnElement[bool],
    their_replicates: sa.ColumnElement[bool],
    *,
    curves: bool,
) -> list[TrialRecord]:
    columns = [column for column in REPLICATES.c if curves or column is not REPLICATES.c.curve]
    replicates: dict[int, list[ReplicateRecord]] = defaultdict(list)
    rows = connection.execute(
        sa.select(*columns)
        .join(TRIALS, REPLICATES.c.trial_id == TRIALS.c.id)
        .join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)
        .where(wanted, their_replicates)
        .order_by(REPLICATES.c.trial_id, REPLICATES.c.replicate)
    )
    for row in rows:
        replicates[row.trial_id].append(_replicate(row, unpack_curve(row.curve) if curves else ()))
    trials = connection.execute(
        sa.select(TRIALS, SLOTS.c.number.label("slot"), SLOTS.c.params, WORKERS.c.host, WORKERS.c.pid)
        .join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)
        .join(WORKERS, TRIALS.c.worker_id == WORKERS.c.id)
        .where(wanted)
        .order_by(TRIALS.c.number)
    )
    return [_trial(row, tuple(replicates[row.id])) for row in trials]


def _replicate(row: sa.Row[Any], curve: tuple[float, ...]) -> ReplicateRecord:
    return ReplicateRecord(
        index=row.replicate,
        stop_loss=row.stop_loss,
        score_loss=row.score_loss,
        best_epoch=row.best_epoch,
        seconds=row.seconds,
        curve=curve,
    )


def _trial(row: sa.Row[Any], replicates: tuple[ReplicateRecord, ...]) -> TrialRecord:
    return TrialRecord(
        number=row.number,
        slot=row.slot,
        attempt=row.attempt,
        state=row.state,
        params=row.params,
        value=row.value,
        standard_error=row.standard_error,
        reason=row.reason,
        started=row.started,
        finished=row.finished,
        worker=f"{row.host}:{row.pid}",
        trainer=row.trainer,
        info=row.info,
        replicates=replicates,
    )
