"""This process as a worker of a database: registered, with a sign of life, and patient while the database is away."""

import contextlib
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

# Imported here, as otherwise in the first transaction that needs it, for whose end all other workers would wait.
import hpo_storage.optuna  # noqa: F401
from hpo_storage import workers
from hpo_storage.database import Database, connect
from hpo_storage.retry import Patience, starting
from hpo_storage.timing import Timing

from hpo.errors import SickHostError, StorageAwayError, StorageError, marked
from hpo.machine import Resources
from hpo.processes import at_the_last
from hpo.settings import DRAIN_SECONDS
from hpo.words import count_text
from hpo.worker.progress import ProgressView
from hpo.worker.results import Spool
from hpo.worker.signals import GRACE_SECONDS, StopRequest

JOIN_SECONDS = 2.0
REFUSED_SECONDS = {"run": 20.0, "worker": 120.0}
"""How long a process bears that its database refuses, which somebody may mend."""
PATIENCE_LEASES = 10
"""A main thread that has said nothing for so many leases hangs: others may have its trials."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 5.0
T = TypeVar("T")
_log = logging.getLogger("hpo")


class Heartbeat:
    """The sign of life of this worker: a thread with a connection of its own, from start to stop.

    It keeps the leases of the trials that the worker says it works on, also while the main thread is busy, and
    requeues what the dead have left. A request to stop it tells at once: whatever ends the process then, its trials
    were interrupted.
    """

    def __init__(self, url: str, worker_id: str, timing: Timing, stop: StopRequest) -> None:
        self._worker_id, self._timing, self._stop = worker_id, timing, stop
        self._watched: frozenset[int] = frozenset()
        self._lost: frozenset[int] = frozenset()
        self._heard = time.monotonic()
        self._stopping, self._wake, self._told_stop = False, threading.Event(), False
        self._thread = threading.Thread(target=self._run, args=(url,), name="heartbeat", daemon=True)
        # After an outage, and so after our own start, leases of living workers may have expired: they come first.
        self._sweep_at, self._seen = time.monotonic() + timing.lease, time.time()

    def start(self) -> None:
        """Begin to beat."""
        self._stop.on_first.append(self._wake.set)
        if self._stop.count:
            self._wake.set()
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; a call that hangs is left alone."""
        self._stopping = True
        self._wake.set()
        self._thread.join(JOIN_SECONDS)

    def watch(self, trials: Iterable[int]) -> None:
        """Say which trials the worker works on now, by their ids: their leases are kept, no others.

        To be said again and again, as a sign that the caller does not hang.
        """
        self._watched, self._heard = frozenset(trials), time.monotonic()
        self._lost &= self._watched  # an id may come back, once its study is deleted

    @property
    def lost(self) -> frozenset[int]:
        """Ids of trials that are watched and no longer held."""
        return self._lost

    def _run(self, url: str) -> None:
        database: Database | None = None
        while not self._pause():
            try:
                database = database or connect(url, create=False)
                self._tell_stop(database)
                self._beat(database)
                self._sweep(database)
            except StorageError as error:
                _log.info("no heartbeat: %s", error)
                if isinstance(error, StorageAwayError):
                    self._postpone_sweep()
            except Exception:  # leases must be kept whatever happens
                _log.exception("the heartbeat met an unexpected error")
        if database is not None:
            database.close()

    def _pause(self) -> bool:
        """Wait for the next beat; whether there is none."""
        self._wake.wait(self._timing.beat)
        self._wake.clear()
        return self._stopping

    def _tell_stop(self, database: Database) -> None:
        if self._stop.count and not self._told_stop:
            left = self._stop.drain_seconds + GRACE_SECONDS + self._timing.lease
            workers.will_stop(database, self._worker_id, left)
            self._told_stop = True

    def _beat(self, database: Database) -> None:
        if self._watched and time.monotonic() - self._heard > PATIENCE_LEASES * self._timing.lease:
            return
        if time.time() - self._seen > self._timing.lease:
            self._postpone_sweep()  # this machine was asleep: so may others have been
        watched = self._watched
        held = workers.beat(database, self._worker_id, lease_seconds=self._timing.lease, held=watched)
        self._seen = time.time()
        self._lost = watched - held

    def _sweep(self, database: Database) -> None:
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + self._timing.sweep
            workers.sweep(database)

    def _postpone_sweep(self) -> None:
        self._sweep_at = time.monotonic() + self._timing.lease


class Outage:
    """A database that cannot be reached for a while, or refuses: when it is worth trying again; says each once.

    A refusal, as of a right that is missing, may be mended within so many seconds.
    """

    def __init__(self, view: ProgressView, stop: StopRequest, refused_seconds: float = REFUSED_SECONDS["run"]) -> None:
        self._view, self._stop, self._refused_seconds = view, stop, refused_seconds
        self._since: float | None = None
        self._refused_since: float | None = None
        self._said: set[type[StorageError]] = set()
        self._pause, self._next = FIRST_PAUSE_SECONDS, 0.0

    @property
    def is_on(self) -> bool:
        """Whether the last attempt failed."""
        return self._since is not None

    def may_try(self) -> bool:
        """Whether the pause after the last failure is over."""
        return time.monotonic() >= self._next

    def begin(self, error: StorageError) -> None:
        """An attempt has failed; raises the error where that is for good: it was not the database that refused, or it
        has for long."""
        now = time.monotonic()
        if isinstance(error, StorageAwayError):
            self._refused_since = None
        else:
            self._refused_since = self._refused_since or now
            if error.__cause__ is None or now - self._refused_since > self._refused_seconds:
                raise error
        self._since = self._since or now
        if type(error) not in self._said:
            self._said.add(type(error))
            self._view.message(f"{marked(error)}; waiting for it, while trials that run go on")
        self._next = now + self._pause * random.uniform(0.75, 1.25)  # so that not all come at once
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    def end(self) -> None:
        """An attempt has succeeded."""
        if self._since is not None:
            self._view.message(f"the database answers again, after {time.monotonic() - self._since:.0f} s")
        self._since = self._refused_since = None
        self._said.clear()
        self._pause, self._next = FIRST_PAUSE_SECONDS, 0.0

    def insist(self, action: Callable[[], T]) -> T:
        """What the action returns, tried until the database is there; StorageAwayError once a stop is asked for."""
        while True:
            try:
                result = action()
            except StorageError as error:
                if self._stop.count:
                    raise
                self.begin(error)
                self._stop.wait(self._next - time.monotonic())
            else:
                self.end()
                return result


def patient(view: ProgressView, stop: StopRequest | None = None) -> Patience:
    """The patience of a start, which the view tells of; none once a stop is asked for."""
    return starting(
        lambda error: view.message(f"waiting for the database: {marked(error)}"),
        lambda: stop is not None and stop.count > 0,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """What a session needs beside its study; `drain_seconds` as DRAIN_SECONDS.

    `register` stores the worker again where somebody has deleted it.
    """

    database: Database
    id: str
    timing: Timing
    heartbeat: Heartbeat
    spool: Spool
    outage: Outage
    view: ProgressView
    stop: StopRequest
    register: Callable[[], object]
    drain_seconds: float = DRAIN_SECONDS


@contextmanager
def joined(
    database: Database,
    url: str,
    resources: Resources,
    view: ProgressView,
    stop: StopRequest,
    *,
    runs: int | None = None,
    drain_seconds: float = DRAIN_SECONDS,
) -> Iterator[Worker]:
    """This process as a worker while the block runs. Begins with telling the results that are kept on this machine.

    `runs` is the study that it runs, None for any. StudyRunningError where another run of that study is alive.
    """
    timing, spool, impatient = Timing.from_environment(), Spool(database), database.impatient
    worker_id = _register(database, runs, resources, timing)
    stop.drain_seconds = max(stop.drain_seconds, drain_seconds)
    heartbeat = Heartbeat(url, worker_id, timing, stop)
    with _at_work(impatient, worker_id, heartbeat), contextlib.ExitStack() as stack:
        stack.callback(spool.tidy)
        if told := spool.replay(database):
            view.message(f"kept on this machine from before, and told now: {count_text(told, 'result')}")
        yield Worker(
            database=impatient,
            id=worker_id,
            timing=timing,
            heartbeat=heartbeat,
            spool=spool,
            outage=Outage(view, stop, REFUSED_SECONDS["worker" if runs is None else "run"]),
            view=view,
            stop=stop,
            register=lambda: _register(impatient, runs, resources, timing, worker_id),
            drain_seconds=drain_seconds,
        )


@contextmanager
def _at_work(database: Database, worker_id: str, heartbeat: Heartbeat) -> Iterator[None]:
    """See that a worker beats while the block runs, and that the database hears how it ends, whatever ends it."""
    heartbeat.start()
    with at_the_last(lambda: _say(workers.stop_worker, database, worker_id)):
        try:
            yield
        except SickHostError as error:
            _say(workers.note, database, worker_id, error.summary)
            raise
        finally:
            heartbeat.stop()
            _say(workers.stop_worker, database, worker_id)


def _say(last_words: Callable[..., None], *about: object) -> None:
    """Tell a database that need not be there any more."""
    with contextlib.suppress(StorageError):
        last_words(*about)


def _register(
    database: Database, runs: int | None, resources: Resources, timing: Timing, worker_id: str | None = None
) -> str:
    """The id of this process as a worker."""
    return workers.start_worker(
        database,
        runs,
        host=socket.gethostname(),
        pid=os.getpid(),
        role="worker" if runs is None else "run",
        device=resources.device,
        backend=resources.backend,
        trainers=resources.trainers,
        lease_seconds=timing.lease,
        worker_id=worker_id,
    )
