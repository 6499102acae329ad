"""Workers: who works on a study, whether they still live, and what the dead ones left behind."""

import os
import secrets
import socket
import subprocess
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hpo.errors import StudyNotFoundError, StudyRunningError
from hpo_storage.database import Database, now
from hpo_storage.failpoints import failpoint
from hpo_storage.records import ACCEPTED, Purpose, Role, WorkerRecord
from hpo_storage.retry import retried
from hpo_storage.slots import MAX_ATTEMPTS, abandon, storable
from hpo_storage.tables import BACKEND_LENGTH, DEVICE_LENGTH, HOST_LENGTH, SLOTS, STUDIES, TRIALS, WORKERS
from hpo_storage.timing import LEASE_SECONDS

FORGOTTEN = timedelta(days=1)
"""Who has not been seen for so long is not looked at any more."""


def start_worker(
    db: Database,
    study_id: int | None,
    *,
    host: str,
    pid: int,
    role: Role = "run",
    device: str = "",
    backend: str = "",
    trainers: int = 1,
    lease_seconds: float = LEASE_SECONDS,
    worker_id: str | None = None,
) -> str:
    """Register a worker, of a study or for now of none, and return its id: a new one, unless it is given.

    A study has one worker of role "run" at a time, and any number of the others: StudyRunningError where `role` is
    "run" and another run of the study is alive; StudyNotFoundError where the study has been deleted.
    """
    worker = {
        "id": worker_id or secrets.token_hex(16),
        "study_id": study_id,
        "role": role,
        "host": host[:HOST_LENGTH],
        "pid": pid,
        "process_start": process_start(pid) if host == socket.gethostname() else None,
        "lease_seconds": lease_seconds,
        "device": device[:DEVICE_LENGTH],
        "backend": backend[:BACKEND_LENGTH],
        "trainers": trainers,
    }
    return _register(db, worker)


@retried
def _register(db: Database, worker: Mapping[str, Any]) -> str:
    """Store a worker, and return its id; nothing where it is there, as the answer to an earlier call got lost."""
    worker_id, study_id = worker["id"], worker["study_id"]
    with db.begin_write() as connection:
        if connection.scalar(sa.select(WORKERS.c.id).where(WORKERS.c.id == worker_id)) is None:
            time = now(connection)
            if worker["role"] == "run" and study_id is not None:
                check_not_running(connection, study_id, time, roles=("run",))
            connection.execute(WORKERS.insert().values(started=time, last_seen=time, **worker))
    return str(worker_id)


@retried
def serve(db: Database, worker_id: str, study_id: int | None) -> bool:
    """Say which study the worker works on now, if any; whether the worker is known, or somebody has deleted it.

    StudyNotFoundError where the study has been deleted.
    """
    with db.begin_write() as connection:
        query = WORKERS.update().where(WORKERS.c.id == worker_id).values(study_id=study_id)
        return connection.execute(query).rowcount > 0


@retried
def beat(
    db: Database,
    worker_id: str,
    *,
    lease_seconds: float = LEASE_SECONDS,
    held: Collection[int] | None = None,
) -> frozenset[int]:
    """Say that the worker lives, extend its leases, and return the ids of the trials that it still holds.

    A lease that has expired is extended too while nobody has taken the slot. With `held`, only the leases of these
    trials are: a claim whose answer got lost on the way then ends by itself.
    """
    mine = sa.and_(SLOTS.c.worker_id == worker_id, SLOTS.c.state == "claimed")
    if held is not None:
        mine = sa.and_(mine, SLOTS.c.trial_id.in_(held))
    with db.begin_write() as connection:
        query = sa.select(SLOTS.c.id, SLOTS.c.trial_id).where(mine).order_by(SLOTS.c.id).with_for_update()
        slots = connection.execute(query).all()
        time = now(connection)
        if slots:
            extended = SLOTS.update().where(SLOTS.c.id.in_([slot.id for slot in slots]))
            connection.execute(extended.values(lease_until=time + timedelta(seconds=lease_seconds)))
        connection.execute(
            WORKERS.update().where(WORKERS.c.id == worker_id).values(last_seen=time, lease_seconds=lease_seconds)
        )
    return frozenset(slot.trial_id for slot in slots)


@retried
def stop_worker(db: Database, worker_id: str) -> None:
    """Say that the worker has ended; slots that it still holds become orphans."""
    with db.begin_write() as connection:
        time = now(connection)
        connection.execute(WORKERS.update().where(WORKERS.c.id == worker_id).values(last_seen=time, stopped=time))


@retried
def will_stop(db: Database, worker_id: str, seconds: float) -> None:
    """Say that the worker was asked to stop and will have ended in so many seconds: what it holds then, or when it is
    killed meanwhile, is interrupted, which does not count."""
    with db.begin_write() as connection:
        end = now(connection) + timedelta(seconds=seconds)
        connection.execute(WORKERS.update().where(WORKERS.c.id == worker_id).values(stopped=end))


@retried
def note(db: Database, worker_id: str, text: str | None) -> None:
    """Let others know why the worker does not work: what it refuses, waits for or suffers from; None: it works."""
    with db.begin_write() as connection:
        kept = text and storable(text)
        connection.execute(WORKERS.update().where(WORKERS.c.id == worker_id).values(note=kept))


@retried
def requeue_orphans(db: Database, study_id: int) -> int:
    """Open the claimed slots whose worker has ended, as far as this host can tell; return how many there were.

    What a worker still held when it stopped, or was killed after it was asked to, becomes interrupted, which does not
    count. Another killed worker's attempts count as failed, since the trial may be what killed it. Who is only silent
    is left to `sweep`.
    """
    with db.begin_write() as connection:
        time = now(connection)
        ended = _ended_holders(connection, study_id, time)
        orphans = connection.execute(
            sa.select(SLOTS)
            .where(_claimed([study_id]), SLOTS.c.worker_id.in_(ended))
            .order_by(SLOTS.c.number)
            .with_for_update(skip_locked=True)
        ).all()
        for slot in orphans:
            worker = ended[slot.worker_id]
            killed = worker.stopped is None
            reason = f"process killed: {worker.host}:{worker.pid}" if killed else None
            abandon(connection, slot, reason, time, counts=killed)
    return len(orphans)


@retried
def sweep(db: Database, *, study_id: int | None = None, max_attempts: int = MAX_ATTEMPTS) -> int:
    """Take the slots whose lease has expired from their workers, and return how many there were.

    Each attempt counts as failed, unless its worker was asked to stop, and its slot is open again or, as `abandon`
    decides, failed for good.
    """
    with db.begin_read() as connection:
        studies = [study_id] if study_id is not None else connection.scalars(sa.select(STUDIES.c.id)).all()
        expired = sa.and_(_claimed(studies), SLOTS.c.lease_until < now(connection))
        # Looked for without locks, so that nobody's claim passes over a row that is only looked at.
        found = defaultdict[int, list[int]](list)
        for study, slot in connection.execute(sa.select(SLOTS.c.study_id, SLOTS.c.id).where(expired)):
            found[study].append(slot)
    swept = 0
    for ids in found.values():  # one by one, so that a study of which rows are missing holds up no other
        with suppress(StudyNotFoundError):
            swept += _take_expired(db, ids, max_attempts)
    return swept


def _take_expired(db: Database, found: list[int], max_attempts: int) -> int:
    """Take those slots whose lease has expired still."""
    with db.begin_write() as connection:
        time = now(connection)
        slots = connection.execute(
            sa.select(SLOTS)
            .where(SLOTS.c.id.in_(found), SLOTS.c.state == "claimed", SLOTS.c.lease_until < time)
            .order_by(SLOTS.c.id)
            .with_for_update(skip_locked=True)
        ).all()
        holders = sa.select(WORKERS).where(WORKERS.c.id.in_({slot.worker_id for slot in slots}))
        found_holders = {worker.id: worker for worker in connection.execute(holders)}
        for slot in slots:
            worker = found_holders[slot.worker_id]
            silent = worker.stopped is None
            reason = f"lease expired: no sign of life from {worker.host}:{worker.pid}" if silent else None
            abandon(connection, slot, reason, time, counts=silent, max_attempts=max_attempts)
            failpoint("mid_sweep")
    return len(slots)


@retried
def is_served(db: Database, study_id: int) -> bool:
    """Whether a worker of the study is alive."""
    with db.begin_read() as connection:
        return bool(living_workers(connection, study_id, now(connection)))


@retried
def list_workers(db: Database, *, alive_only: bool = True) -> list[WorkerRecord]:
    """Workers of every study and of none, the oldest first."""
    running = sa.select(SLOTS.c.worker_id, sa.func.count()).where(SLOTS.c.state == "claimed")
    finished = sa.select(TRIALS.c.worker_id, sa.func.count()).where(TRIALS.c.state.in_(ACCEPTED))
    workers = sa.select(WORKERS, STUDIES.c.name.label("study")).join(STUDIES, isouter=True)
    with db.begin_read() as connection:
        time = now(connection)
        holding: dict[str, int] = dict(connection.execute(running.group_by(SLOTS.c.worker_id)).all())
        done: dict[str, int] = dict(connection.execute(finished.group_by(TRIALS.c.worker_id)).all())
        rows = connection.execute(workers.order_by(WORKERS.c.started, WORKERS.c.id)).all()
    records = [_record(row, time, holding.get(row.id, 0), done.get(row.id, 0)) for row in rows]
    return [record for record in records if record.alive or not alive_only]


def _record(worker: sa.Row[Any], time: datetime, running: int, finished: int) -> WorkerRecord:
    alive = not _has_stopped(worker, time) and _is_alive(worker, time)
    hours = ((time if alive else worker.last_seen) - worker.started).total_seconds() / 3600
    return WorkerRecord(
        id=worker.id,
        study=worker.study,
        role=worker.role,
        host=worker.host,
        pid=worker.pid,
        device=worker.device,
        backend=worker.backend,
        trainers=worker.trainers,
        started=worker.started,
        last_seen=worker.last_seen,
        stopped=worker.stopped,
        alive=alive,
        running=running,
        finished=finished,
        trials_per_hour=finished / hours if hours > 0 else 0.0,
        note=worker.note,
    )


def check_not_running(
    connection: sa.Connection, study_id: int, time: datetime, *, roles: tuple[Role, ...] = ("run", "worker")
) -> None:
    """Raise StudyRunningError where a worker of the study, of one of these roles, is alive."""
    # Locked, so that of two workers that start at once the second one sees the first.
    study = STUDIES.c.id == study_id
    name = connection.scalar(sa.select(STUDIES.c.name).where(study).with_for_update())
    for worker in living_workers(connection, study_id, time):
        if worker.role in roles:
            raise StudyRunningError(
                f"a study is worked on by one run at a time, and by none while it is deleted; got {name!r}, which "
                f"process {worker.pid} on {worker.host} has run since {worker.started:%Y-%m-%d %H:%M} UTC; "
                f"wait for it or stop it"
            )


def living_workers(connection: sa.Connection, study_id: int | None, time: datetime) -> list[sa.Row[Any]]:
    """Rows of the workers that are alive, of one study or of all, the oldest first.

    Alive is who has not stopped and is a process of this host with the start time it registered, or else (on
    another host or in another container, or where start times cannot be read) was seen within its lease.
    """
    query = sa.select(WORKERS).where(
        sa.or_(WORKERS.c.stopped.is_(None), WORKERS.c.stopped > time), WORKERS.c.last_seen >= time - FORGOTTEN
    )
    query = query.order_by(WORKERS.c.started, WORKERS.c.id)
    if study_id is not None:
        query = query.where(WORKERS.c.study_id == study_id)
    return [worker for worker in connection.execute(query) if _is_alive(worker, time)]


def _has_stopped(worker: sa.Row[Any], time: datetime) -> bool:
    """Whether the worker has ended, or was asked to so long ago that it must have."""
    return bool(worker.stopped is not None and worker.stopped <= time)


def _claimed(studies: Collection[int]) -> sa.ColumnElement[bool]:
    """Slots of these studies that are claimed, found by an index: most slots of a long study are finished."""
    return sa.and_(SLOTS.c.study_id.in_(studies), SLOTS.c.purpose.in_(list(Purpose)), SLOTS.c.state == "claimed")


def _ended_holders(connection: sa.Connection, study_id: int, time: datetime) -> dict[str, sa.Row[Any]]:
    """The workers, by id, that hold slots of the study and have stopped, or whose process is known to be gone."""
    held = sa.select(SLOTS.c.worker_id).where(_claimed([study_id]))
    holders = connection.execute(sa.select(WORKERS).where(WORKERS.c.id.in_(held))).all()
    return {w.id: w for w in holders if _has_stopped(w, time) or _process_lives(w) is False}


def _is_alive(worker: sa.Row[Any], time: datetime) -> bool:
    lives = _process_lives(worker)
    return bool(time - worker.last_seen <= timedelta(seconds=worker.lease_seconds)) if lives is None else lives


def _process_lives(worker: sa.Row[Any]) -> bool | None:
    """Whether the process that the worker registered is there; None where that cannot be told from here."""
    started = worker.process_start
    if worker.host != socket.gethostname() or started is None or _scope(started) != process_scope():
        return None
    return bool(process_start(worker.pid) == started)


def process_start(pid: int) -> str | None:
    """When the process started, as a text to compare; None where there is no such process, or no telling."""
    if Path("/proc/self/stat").exists():
        return _linux_start(pid)
    return _posix_start(pid) if os.name == "posix" else None


def process_scope() -> str:
    """Where a pid means what it means here: the boot and the pid namespace, as far as the system tells.

    Containers may share a host's name, and hosts may be called alike.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _scope(started: str) -> str:
    return started.rpartition("|")[0]


def _linux_start(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the command before may hold anything; then field 3, the state
    return None if fields[0] in "ZX" else f"{process_scope()}|{fields[19]}"


def _posix_start(pid: int) -> str | None:
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    state, _, started = done.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else f"{process_scope()}|{' '.join(started.split())}"
