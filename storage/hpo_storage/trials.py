"""Trials as they are read back."""

from collections import defaultdict
from collections.abc import Container
from typing import Any

import sqlalchemy as sa

from hpo_storage.records import Purpose, ReplicateRecord, TrialRecord, TrialState
from hpo_storage.slots import unpack_curve
from hpo_storage.tables import REPLICATES, SLOTS, TRIALS, WORKERS


def trials_of(connection: sa.Connection, study_id: int) -> list[TrialRecord]:
    """All trials of a study's budget, by number."""
    return _read(connection, study_id, sa.true(), curves=True)


def trials_after(
    connection: sa.Connection, study_id: int, after: int, *, known: Container[int], curves: bool
) -> tuple[list[TrialRecord], int]:
    """Trials that have ended and whose id is above `after`, from the first on whose number is not among `known`, and
    the id up to which all have ended."""
    states = connection.execute(
        sa.select(TRIALS.c.id, TRIALS.c.number, TRIALS.c.state)
        .join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)
        .where(_of_budget(study_id), TRIALS.c.id > after)
        .order_by(TRIALS.c.id)
    ).all()
    settled = after
    for trial in states:
        if trial.state is TrialState.RUNNING:
            break
        settled = trial.id
    first = next(
        (trial.id for trial in states if trial.state is not TrialState.RUNNING and trial.number not in known), None
    )
    if first is None:
        return [], settled
    wanted = sa.and_(TRIALS.c.id >= first, TRIALS.c.state != TrialState.RUNNING)
    return _read(connection, study_id, wanted, curves=curves), settled


def _of_budget(study_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(SLOTS.c.study_id == study_id, SLOTS.c.purpose == Purpose.TRIAL)


def _read(
    connection: sa.Connection, study_id: int, wanted: sa.ColumnElement[bool], *, curves: bool
) -> list[TrialRecord]:
    columns = [column for column in REPLICATES.c if curves or column is not REPLICATES.c.curve]
    replicates: dict[int, list[ReplicateRecord]] = defaultdict(list)
    rows = connection.execute(
        sa.select(*columns)
        .join(TRIALS, REPLICATES.c.trial_id == TRIALS.c.id)
        .join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)
        .where(_of_budget(study_id), wanted)
        .order_by(REPLICATES.c.trial_id, REPLICATES.c.replicate)
    )
    for row in rows:
        replicates[row.trial_id].append(_replicate(row, unpack_curve(row.curve) if curves else ()))
    trials = connection.execute(
        sa.select(TRIALS, SLOTS.c.number.label("slot"), SLOTS.c.params, WORKERS.c.host, WORKERS.c.pid)
        .join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)
        .join(WORKERS, TRIALS.c.worker_id == WORKERS.c.id)
        .where(_of_budget(study_id), wanted)
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
