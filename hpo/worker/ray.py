"""Workers on a Ray cluster: each is a Ray task that runs `hpo worker` in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from hpo.declaration import to_json
from hpo.errors import HpoError, StorageError, StudyError, use
from hpo.processes import SUPERVISOR_VARIABLE
from hpo.settings import DRAIN_SECONDS, Training

POLL_SECONDS = 0.2
STOP_SECONDS = 30.0
"""What a worker may take beyond its drain to end."""
TAIL_BYTES = 2000
TRAINERS = 1
"""Each worker has a core, unless told otherwise."""


class WorkerError(HpoError):
    """A worker ended by an error."""


class WorkerKilledError(HpoError):
    """A worker was killed by a signal; Ray starts another one."""


class RayWorkers:
    """Workers that were launched."""

    def __init__(self, ray: ModuleType, tasks: list[Any]) -> None:
        self._ray, self._running = ray, tasks

    def check(self) -> None:
        """Raise StudyError with one's reason, where all workers have ended by errors."""
        ended, running = self._ray.wait(self._running, num_returns=len(self._running), timeout=0)
        if running or not ended:
            return
        errors = [error for task in ended if (error := self._error(task)) is not None]
        if len(errors) == len(ended):
            raise StudyError(
                f"at least one worker must run on the Ray cluster, but all {len(ended)} ended: {errors[-1]}; "
                f"see that each node has hpo and reaches the database"
            )

    def stop(self, seconds: float) -> None:
        """Let the workers drain, for at most so many seconds; what they still hold then is requeued."""
        for task in self._running:
            self._ray.cancel(task)
        self._ray.wait(self._running, num_returns=len(self._running), timeout=seconds)

    def _error(self, task: Any) -> str | None:  # noqa: ANN401 - Ray has no types
        try:
            self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            return str(error.cause)
        except self._ray.exceptions.RayError as error:
            return str(error)
        return None


@contextmanager
def ray_workers(
    url: str, study: str, workers: int, training: Training, drain_seconds: float = DRAIN_SECONDS
) -> Iterator[RayWorkers]:
    """So many workers of a study that exists, on the Ray cluster at RAY_ADDRESS or else on this machine's.

    They are stopped at the end.
    Every node needs hpo and a way to the database. Raises StudyError without Ray, StorageError for an SQLite file.
    """
    check_ray(url, workers)
    import ray

    arguments = _arguments(study, training, drain_seconds)
    with _connected(ray):
        task = ray.remote(_work).options(
            name=f"hpo worker {study}",
            num_cpus=training.trainers or TRAINERS,
            max_retries=-1,  # a node that is lost
            retry_exceptions=[WorkerKilledError],
        )
        # As an argument, since what goes through Ray's runtime environment is shown on its dashboard.
        launched = RayWorkers(ray, [task.remote(url, arguments) for _ in range(workers)])
        try:
            yield launched
        finally:
            launched.stop(drain_seconds + STOP_SECONDS)


def check_ray(url: str, workers: int) -> None:
    """Raise InputError where workers cannot be launched, before a study is made for them."""
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise StudyError(
            "the executor 'ray' needs Ray, which is not installed; run: pip install 'hpo[ray]'", setting="executor"
        ) from error
    if workers < 1:
        raise StudyError(
            f"the executor 'ray' needs at least one worker, got {workers}; use {use('workers', 1)}", setting="workers"
        )
    if url.startswith("sqlite"):
        raise StorageError(
            f"workers on a cluster need a database server that all nodes reach, got {url!r}; "
            f"use {use('storage', 'postgresql://...')} or {use('storage', 'mysql://...')}"
        )


@contextmanager
def _connected(ray: ModuleType) -> Iterator[None]:
    """A connection to the cluster, unless the caller has one already."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here: nobody is told of it
    before = signal.getsignal(signal.SIGTERM)
    ray.init(log_to_driver=False, logging_level="warning", include_dashboard=False)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray's handler ends the process
    try:
        yield
    finally:
        ray.shutdown()


def _arguments(study: str, training: Training, drain_seconds: float) -> list[str]:
    given = {
        "study": study,
        "drain_seconds": drain_seconds,
        **to_json(training),
        "trainers": training.trainers or TRAINERS,
        "device": "cpu",
    }
    # Not --once: what a lost node was working on comes back when its lease has ended, and then somebody must be there.
    return [text for name, value in given.items() if value is not None for text in (_option(name), str(value))]


def _option(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _work(url: str, arguments: list[str]) -> None:
    """On a node: run `hpo worker`, until the task is cancelled; then let it drain."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hpo.cli.main", "worker", *arguments],
            stdin=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "HPO_STORAGE": url, SUPERVISOR_VARIABLE: str(os.getpid())},
        )
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)  # not wait(), which an interrupt by Ray does not end
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
        if process.returncode:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - TAIL_BYTES))
            raise _ending(process.returncode, errors.read().decode("utf-8", "replace").strip())


def _ending(code: int, errors: str) -> HpoError:
    host = socket.gethostname()
    if code < 0:
        return WorkerKilledError(f"killed by {signal.Signals(-code).name} on {host}")
    return WorkerError(f"exit code {code} on {host}: {errors}")
