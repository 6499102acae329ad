"""The sign of life of this worker: a thread with a connection of its own.

It keeps the leases of running trials while the main thread is busy, and requeues what the dead have left.
"""

import logging
import threading
import time
from collections.abc import Iterable

from hpo_storage import workers
from hpo_storage.database import Database, connect
from hpo_storage.timing import Timing

from hpo.errors import StorageAwayError, StorageError

JOIN_SECONDS = 2.0
PATIENCE_LEASES = 10
"""A main thread that has said nothing for so many leases hangs: others may have its trials."""
_log = logging.getLogger("hpo")


class Heartbeat:
    """Beats from start to stop, for the trials that the worker says it works on."""

    def __init__(self, url: str, worker_id: str, timing: Timing) -> None:
        self._url, self._worker_id, self._timing = url, worker_id, timing
        self._watched: frozenset[int] = frozenset()
        self._lost: frozenset[int] = frozenset()
        self._heard = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        # After an outage, and so after our own start, leases of living workers may have expired: they come first.
        self._sweep_at, self._seen = time.monotonic() + timing.lease, time.time()

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; a call that hangs is left alone."""
        self._stopping.set()
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

    def _run(self) -> None:
        database: Database | None = None
        while not self._stopping.wait(self._timing.beat):
            try:
                database = database or connect(self._url, create=False)
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
