"""This process as a worker of a database: registered, with a heartbeat, and with a spool for its results."""

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Imported here, as otherwise in the first transaction that needs it, for whose end all other workers would wait.
import hpo_storage.optuna  # noqa: F401
from hpo_storage import workers
from hpo_storage.database import Database
from hpo_storage.records import Role
from hpo_storage.timing import Timing

from hpo.errors import StorageError
from hpo.words import count_text
from hpo.worker.heartbeat import Heartbeat
from hpo.worker.outage import Outage
from hpo.worker.progress import ProgressView
from hpo.worker.signals import StopRequest
from hpo.worker.spool import Spool

DRAIN_SECONDS = 30.0
"""How long trials that run may go on after a stop is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What this worker trains with."""

    backend: str
    device: str
    trainers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """What a session needs beside its study; `drain_seconds` as DRAIN_SECONDS."""

    database: Database
    id: str
    timing: Timing
    heartbeat: Heartbeat
    spool: Spool
    outage: Outage
    view: ProgressView
    stop: StopRequest
    drain_seconds: float = DRAIN_SECONDS


@contextmanager
def at_work(
    database: Database,
    url: str,
    study_id: int | None,
    role: Role,
    resources: Resources,
    view: ProgressView,
    stop: StopRequest,
    drain_seconds: float = DRAIN_SECONDS,
) -> Iterator[Worker]:
    """This process as a worker while the block runs. Begins with telling the results that are kept on this machine.

    Raises StudyRunningError where `role` is "run" and another run of the study is alive.
    """
    timing, spool = Timing.from_environment(), Spool(database)
    worker_id = workers.start_worker(
        database,
        study_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        role=role,
        device=resources.device,
        backend=resources.backend,
        trainers=resources.trainers,
        lease_seconds=timing.lease,
    )
    heartbeat = Heartbeat(url, worker_id, timing)
    heartbeat.start()
    try:
        if told := spool.replay(database):
            view.message(f"kept on this machine from before, and told now: {count_text(told, 'result')}")
        yield Worker(
            database=database,
            id=worker_id,
            timing=timing,
            heartbeat=heartbeat,
            spool=spool,
            outage=Outage(view, stop),
            view=view,
            stop=stop,
            drain_seconds=drain_seconds,
        )
    finally:
        heartbeat.stop()
        spool.tidy()
        with contextlib.suppress(StorageError):
            workers.stop_worker(database, worker_id)
