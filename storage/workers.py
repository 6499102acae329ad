"""Workers: who works on a study, whether they still live, and what the dead ones left behind."""

import os
import secrets
import socket
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hpo.errors import StudyRunningError
from storage.database import Database, now
from storage.records import INTERRUPTED_REASON
from storage.slots import abandon
from storage.tables import SLOTS, STUDIES, WORKERS

SILENT_SECONDS = 60.0
"""A worker on another host is taken for dead after this long without a heartbeat."""


def start_worker(db: Database, study_id: int, *, host: str, pid: int, exclusive: bool = True) -> str:
    """Register a worker and return its id.

    Raises StudyRunningError where `exclusive` and another worker of the study is alive.
    """
    worker_id = secrets.token_hex(16)
    process = process_start(pid) if host == socket.gethostname() else None
    with db.begin_write() as connection:
        time = now(connection)
        if exclusive:
            check_not_running(connection, study_id, time)
        connection.execute(
            WORKERS.insert().values(
                id=worker_id,
                study_id=study_id,
                host=host,
                pid=pid,
                process_start=process,
                started=time,
                last_seen=time,
            )
        )
    return worker_id


def beat(db: Database, worker_id: str) -> None:
    """Say that the worker lives."""
    with db.begin_write() as connection:
        connection.execute(WORKERS.update().where(WORKERS.c.id == worker_id).values(last_seen=now(connection)))


def stop_worker(db: Database, worker_id: str) -> None:
    """Say that the worker has ended; slots that it still holds become orphans."""
    with db.begin_write() as connection:
        time = now(connection)
        connection.execute(WORKERS.update().where(WORKERS.c.id == worker_id).values(last_seen=time, stopped=time))


def requeue_orphans(db: Database, study_id: int) -> int:
    """Open the claimed slots whose worker is not alive again, and return how many there were.

    Their trials become failed as "interrupted"; that does not count as a failed attempt.
    """
    with db.begin_write() as connection:
        time = now(connection)
        alive = [worker.id for worker in living_workers(connection, study_id, time)]
        orphans = connection.execute(
            sa.select(SLOTS)
            .where(SLOTS.c.study_id == study_id, SLOTS.c.state == "claimed", SLOTS.c.worker_id.not_in(alive))
            .order_by(SLOTS.c.number)
            .with_for_update(skip_locked=True)
        ).all()
        for slot in orphans:
            abandon(db, connection, slot, INTERRUPTED_REASON, time)
    return len(orphans)


def check_not_running(connection: sa.Connection, study_id: int, time: datetime) -> None:
    """Raise StudyRunningError where a worker of the study is alive."""
    # Locked, so that of two workers that start at once the second one sees the first.
    study = STUDIES.c.id == study_id
    name = connection.scalar(sa.select(STUDIES.c.name).where(study).with_for_update())
    for worker in living_workers(connection, study_id, time):
        raise StudyRunningError(
            f"a study is worked on by one process at a time, got {name!r}, which process {worker.pid} on "
            f"{worker.host} has run since {worker.started:%Y-%m-%d %H:%M} UTC; wait for it or stop it"
        )


def living_workers(connection: sa.Connection, study_id: int | None, time: datetime) -> list[sa.Row[Any]]:
    """Rows of the workers that are alive, of one study or of all, the oldest first.

    Alive is who has not stopped and is a process of this host with the start time it registered, or else (on
    another host, or where start times cannot be read) was seen in the last `SILENT_SECONDS` before `time`.
    """
    query = sa.select(WORKERS).where(WORKERS.c.stopped.is_(None)).order_by(WORKERS.c.started, WORKERS.c.id)
    if study_id is not None:
        query = query.where(WORKERS.c.study_id == study_id)
    return [worker for worker in connection.execute(query) if _is_alive(worker, time)]


def _is_alive(worker: sa.Row[Any], time: datetime) -> bool:
    if worker.host == socket.gethostname() and worker.process_start is not None:
        return bool(process_start(worker.pid) == worker.process_start)
    return bool(time - worker.last_seen <= timedelta(seconds=SILENT_SECONDS))


def process_start(pid: int) -> str | None:
    """When the process started, as a text to compare; None where there is no such process, or no telling."""
    if Path("/proc/self/stat").exists():
        return _linux_start(pid)
    return _posix_start(pid) if os.name == "posix" else None


def _linux_start(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the command before may hold anything; then field 3, the state
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def _posix_start(pid: int) -> str | None:
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    state, _, started = done.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else " ".join(started.split())
