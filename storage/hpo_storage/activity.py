"""What goes on in a study: who works on it, and what has broken off at the slots that are open."""

import sqlalchemy as sa

from hpo_storage.database import Database
from hpo_storage.records import ACCEPTED, Activity, BrokenOff, Purpose, TrialState, WorkerRecord
from hpo_storage.retry import retried
from hpo_storage.studies import progress
from hpo_storage.tables import SLOTS, TRIALS, WORKERS
from hpo_storage.workers import list_workers

MOST_REASONS = 3


@retried
def read_activity(db: Database, study_id: int, name: str) -> Activity:
    """What goes on in the study now; StudyNotFoundError where it has been deleted."""
    found = progress(db, study_id)
    broken = (SLOTS.c.study_id == study_id, SLOTS.c.purpose == Purpose.TRIAL, SLOTS.c.state == "open")
    slots = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(SLOTS.c.failures), 0))
    results = (
        sa.select(TRIALS.c.finished)
        .join(SLOTS, SLOTS.c.id == TRIALS.c.slot_id)
        .where(SLOTS.c.study_id == study_id, SLOTS.c.purpose == Purpose.TRIAL, TRIALS.c.state.in_(ACCEPTED))
    )
    count = sa.func.count().label("attempts")
    attempts = (
        sa.select(WORKERS.c.host, TRIALS.c.reason, count)
        .join(TRIALS, TRIALS.c.worker_id == WORKERS.c.id)
        .join(SLOTS, SLOTS.c.id == TRIALS.c.slot_id)
        .where(*broken, SLOTS.c.failures > 0, TRIALS.c.state == TrialState.FAILED)
    )
    most = attempts.group_by(WORKERS.c.host, TRIALS.c.reason).order_by(count.desc(), WORKERS.c.host).limit(MOST_REASONS)
    with db.begin_read() as connection:
        broken_off, failures = connection.execute(slots.where(*broken, SLOTS.c.failures > 0)).one()
        reasons = tuple(BrokenOff(*row) for row in connection.execute(most))
        last_result = connection.scalar(results.order_by(TRIALS.c.id.desc()).limit(1))
    return Activity(
        open=found.open,
        claimed=found.claimed,
        broken_off=broken_off,
        failures=int(failures),
        reasons=reasons,
        last_result=last_result,
        workers=tuple(worker for worker in list_workers(db, alive_only=False) if _concerns(worker, name)),
    )


def _concerns(worker: WorkerRecord, study: str) -> bool:
    """Whether it serves the study, or has said why it does not."""
    if worker.alive:
        return worker.study == study or (worker.study is None and worker.note is not None)
    return worker.study == study and worker.note is not None
