"""Studies: create, find, extend, list, read and delete."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from hpo.errors import StudyError, StudyNotFoundError
from storage.database import Database, now
from storage.records import ReplicateRecord, StudyHeader, StudyRecord, StudySummary, TrialRecord
from storage.slots import FINISHED, unpack_curve
from storage.tables import REPLICATES, SLOTS, STUDIES, TRIALS, WORKERS
from storage.workers import check_not_running, living_workers

LISTED_NAMES = 20


def create_study(
    db: Database,
    name: str,
    spec: dict[str, Any],
    facts: dict[str, Any],
    environment: dict[str, Any],
    budget: int,
) -> int:
    """Store a study with `budget` open slots, and return its id, which is its Optuna study's too.

    Raises StudyError where the name is taken or the budget is below 1.
    """
    _check_budget(budget, 1)
    with db.begin_write() as connection:
        study_id = db.optuna.create_study(connection, name)
        connection.execute(
            STUDIES.insert().values(
                id=study_id,
                name=name,
                spec=spec,
                facts=facts,
                environment=environment,
                budget=budget,
                created=now(connection),
            )
        )
        _add_slots(connection, study_id, range(budget))
    return study_id


def find_study(db: Database, name: str) -> StudyHeader | None:
    """The study of that name, None where there is none."""
    with db.begin_read() as connection:
        row = connection.execute(sa.select(STUDIES).where(STUDIES.c.name == name)).first()
    return None if row is None else StudyHeader(**_values(row, StudyHeader))


def extend_study(db: Database, study_id: int, budget: int) -> None:
    """Raise the budget, with open slots for the difference; StudyError where that would lower it."""
    with db.begin_write() as connection:
        query = sa.select(STUDIES.c.budget).where(STUDIES.c.id == study_id).with_for_update()
        old = connection.execute(query).scalar_one()
        _check_budget(budget, old)
        connection.execute(STUDIES.update().where(STUDIES.c.id == study_id).values(budget=budget))
        _add_slots(connection, study_id, range(old, budget))


def list_studies(db: Database) -> list[StudySummary]:
    """All studies, the oldest first."""
    ranked = sa.and_(TRIALS.c.state == "complete", ~TRIALS.c.raced_out)
    finished = sa.select(SLOTS.c.study_id, sa.func.count()).where(SLOTS.c.state.in_(FINISHED))
    best = (
        sa.select(SLOTS.c.study_id, sa.func.min(TRIALS.c.value))
        .join(TRIALS, TRIALS.c.slot_id == SLOTS.c.id)
        .where(ranked)
    )
    with db.begin_read() as connection:
        studies = connection.execute(sa.select(STUDIES).order_by(STUDIES.c.id)).all()
        counts = _by_study(connection, finished)
        values = _by_study(connection, best)
        running = {worker.study_id for worker in living_workers(connection, None, now(connection))}
    return [
        StudySummary(
            id=study.id,
            name=study.name,
            created=study.created,
            budget=study.budget,
            finished=counts.get(study.id, 0),
            running=study.id in running,
            best_value=values.get(study.id),
        )
        for study in studies
    ]


def read_study(db: Database, name: str) -> StudyRecord:
    """The study with all its trials, by number; StudyNotFoundError lists the names there are."""
    with db.begin_read() as connection:
        study = connection.execute(sa.select(STUDIES).where(STUDIES.c.name == name)).first()
        if study is None:
            raise StudyNotFoundError(_not_found(connection, name))
        finished = sa.select(sa.func.count()).where(SLOTS.c.study_id == study.id, SLOTS.c.state.in_(FINISHED))
        return StudyRecord(
            **_values(study, StudyHeader),
            finished=connection.execute(finished).scalar_one(),
            running=bool(living_workers(connection, study.id, now(connection))),
            trials=tuple(_read_trials(connection, study.id)),
        )


def delete_study(db: Database, study_id: int) -> None:
    """Delete the study, of our tables and of Optuna's; StudyRunningError where a worker of it is alive."""
    slots = sa.select(SLOTS.c.id).where(SLOTS.c.study_id == study_id)
    trials = sa.select(TRIALS.c.id).where(TRIALS.c.slot_id.in_(slots))
    with db.begin_write() as connection:
        check_not_running(connection, study_id, now(connection))
        connection.execute(REPLICATES.delete().where(REPLICATES.c.trial_id.in_(trials)))
        connection.execute(TRIALS.delete().where(TRIALS.c.slot_id.in_(slots)))
        connection.execute(SLOTS.delete().where(SLOTS.c.study_id == study_id))
        connection.execute(WORKERS.delete().where(WORKERS.c.study_id == study_id))
        connection.execute(STUDIES.delete().where(STUDIES.c.id == study_id))
        db.optuna.delete_study(connection, study_id)


def _check_budget(budget: int, least: int) -> None:
    if budget < least:
        raise StudyError(
            f"a study's trials must be at least {least}, as a budget can grow but not shrink, got {budget}; "
            f"use --trials {least} or more"
        )


def _add_slots(connection: sa.Connection, study_id: int, numbers: Iterable[int]) -> None:
    rows = [
        {"study_id": study_id, "number": number, "state": "open", "attempts": 0, "failures": 0} for number in numbers
    ]
    if rows:
        connection.execute(SLOTS.insert(), rows)


def _values(row: sa.Row[Any], record: type[StudyHeader]) -> dict[str, Any]:
    return {field.name: row._mapping[field.name] for field in fields(record)}


def _by_study(connection: sa.Connection, query: sa.Select[tuple[int, Any]]) -> dict[int, Any]:
    return dict(connection.execute(query.group_by(SLOTS.c.study_id)).all())


def _not_found(connection: sa.Connection, name: str) -> str:
    names = connection.scalars(sa.select(STUDIES.c.name).order_by(STUDIES.c.name)).all()
    there = ", ".join(names[:LISTED_NAMES]) + (" and others" if len(names) > LISTED_NAMES else "")
    remedy = f"use one of {there}" if names else "there is none in this database yet; `hpo run` makes one"
    return f"a study must be there to be read, got {name!r}; {remedy}"


def _read_trials(connection: sa.Connection, study_id: int) -> list[TrialRecord]:
    replicates: dict[int, list[ReplicateRecord]] = defaultdict(list)
    rows = connection.execute(
        sa.select(REPLICATES)
        .join(TRIALS, REPLICATES.c.trial_id == TRIALS.c.id)
        .join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)
        .where(SLOTS.c.study_id == study_id)
        .order_by(REPLICATES.c.trial_id, REPLICATES.c.replicate)
    )
    for row in rows:
        replicates[row.trial_id].append(_replicate(row))
    trials = connection.execute(
        sa.select(TRIALS, SLOTS.c.number.label("slot"), SLOTS.c.params, WORKERS.c.host, WORKERS.c.pid)
        .join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)
        .join(WORKERS, TRIALS.c.worker_id == WORKERS.c.id)
        .where(SLOTS.c.study_id == study_id)
        .order_by(TRIALS.c.number)
    )
    return [_trial(row, tuple(replicates[row.id])) for row in trials]


def _replicate(row: sa.Row[Any]) -> ReplicateRecord:
    return ReplicateRecord(
        index=row.replicate,
        stop_loss=row.stop_loss,
        score_loss=row.score_loss,
        best_epoch=row.best_epoch,
        seconds=row.seconds,
        curve=unpack_curve(row.curve),
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
        raced_out=row.raced_out,
        reason=row.reason,
        started=row.started,
        finished=row.finished,
        worker=f"{row.host}:{row.pid}",
        trainer=row.trainer,
        info=row.info,
        replicates=replicates,
    )
