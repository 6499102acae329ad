"""What failed attempts say: of the slot they were made at, or of the machines that made them.

A sick machine breaks every trial, a poisonous trial breaks off everywhere. They are told apart by results: who has had
one of this study is healthy, and what breaks off there is the slot's doing.
"""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from hpo_storage.database import Database
from hpo_storage.positions import of_budget
from hpo_storage.records import ACCEPTED, TrialState
from hpo_storage.retry import retried
from hpo_storage.tables import SLOTS, STUDIES, TRIALS, WORKERS, database_time

Slot = sa.Row[Any]


@retried
def reopen(db: Database, study_id: int, reason: str | None = None) -> int:
    """Open the failed slots of the study's budget again, all or those whose last reason holds a text, as if nothing
    had failed at them; return how many there were. Their attempts stay in the history."""
    with db.begin_write() as connection:
        connection.execute(sa.select(STUDIES.c.id).where(STUDIES.c.id == study_id).with_for_update(key_share=True))
        failed = connection.execute(
            sa.select(SLOTS.c.id, TRIALS.c.reason)
            .join(TRIALS, TRIALS.c.id == SLOTS.c.trial_id)
            .where(of_budget(study_id), SLOTS.c.state == TrialState.FAILED)
            .order_by(SLOTS.c.id)
            .with_for_update()
        ).all()
        wanted = [{"slot": s.id} for s in failed if reason is None or reason.lower() in (s.reason or "").lower()]
        if wanted:
            of_it = SLOTS.update().where(SLOTS.c.id == sa.bindparam("slot"))
            connection.execute(of_it.values(state="open", failures=0, token=None, worker_id=None), wanted)
    return len(wanted)


def against(connection: sa.Connection, slot: Slot) -> int:
    """How many of a claimed slot's failed attempts speak against it, the one that fails now included.

    Those of workers that have had a result of the study do. Where there is one, so do those of later workers on the
    same hosts, since a trial that ends its worker lets none have a result; but not of a worker that has also broken
    off at a slot which nobody had tried before.
    """
    tried = [*_broke_off_at(connection, slot), slot.worker_id]
    hosts = sa.select(WORKERS.c.host).where(WORKERS.c.id.in_(tried))
    had_one = sa.exists().where(
        TRIALS.c.worker_id == WORKERS.c.id,
        TRIALS.c.state.in_(ACCEPTED),
        TRIALS.c.slot_id == SLOTS.c.id,
        SLOTS.c.study_id == slot.study_id,
    )
    healthy = connection.execute(sa.select(WORKERS.c.id, WORKERS.c.host).where(WORKERS.c.host.in_(hosts), had_one))
    host_of: dict[str, str] = dict(healthy.all())
    unproved = set(tried) - host_of.keys()
    own = sum(worker_id in host_of for worker_id in tried)
    if not own or not unproved:
        return own
    sick = sa.select(TRIALS.c.worker_id).where(
        TRIALS.c.worker_id.in_(unproved), TRIALS.c.state == TrialState.FAILED, TRIALS.c.attempt == 1
    )
    alike = sa.select(WORKERS.c.id).where(
        WORKERS.c.id.in_(unproved), WORKERS.c.host.in_(set(host_of.values())), WORKERS.c.id.not_in(sick)
    )
    believed = set(connection.scalars(alike))
    return own + sum(worker_id in believed for worker_id in tried)


def is_for(connection: sa.Connection, study_id: int, worker_id: str) -> sa.ColumnElement[bool]:
    """Whether a slot is for this worker: not where its own attempt broke off, while another one that lives and serves
    the study has not tried it."""
    time, serves = database_time().label("time"), sa.and_(WORKERS.c.study_id == study_id, WORKERS.c.stopped.is_(None))
    there = sa.select(WORKERS.c.id, WORKERS.c.last_seen, WORKERS.c.lease_seconds, time).where(serves)
    others = [
        other.id
        for other in connection.execute(there.where(WORKERS.c.id != worker_id))
        if other.time - other.last_seen <= timedelta(seconds=other.lease_seconds)
    ]
    if not others:
        return sa.true()
    broke = sa.and_(TRIALS.c.slot_id == SLOTS.c.id, TRIALS.c.state == TrialState.FAILED)
    mine = sa.exists().where(broke, TRIALS.c.worker_id == worker_id)
    theirs = sa.select(sa.func.count(TRIALS.c.worker_id.distinct())).where(broke, TRIALS.c.worker_id.in_(others))
    return sa.or_(~mine, theirs.scalar_subquery() >= len(others))


def _broke_off_at(connection: sa.Connection, slot: Slot) -> list[str]:
    """The workers of the slot's failed attempts, without those before it was opened again."""
    failed = sa.select(TRIALS.c.worker_id).where(TRIALS.c.slot_id == slot.id, TRIALS.c.state == TrialState.FAILED)
    return list(connection.scalars(failed.order_by(TRIALS.c.attempt.desc()).limit(slot.failures)))
