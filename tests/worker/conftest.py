"""Real databases, and real `hpo` processes that work on them with short leases and a spool of their own."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hpo_storage.database import connect
from hpo_storage.records import ACCEPTED, RANKED, StudyProgress, StudyRecord
from hpo_storage.studies import find_study, progress, read_study

from hpo.study.standing import ranked

DATABASES = ("sqlite", "postgresql", "mariadb")
LEASE_SECONDS = 1.0
CLI = [sys.executable, "-m", "hpo.cli.main"]


@contextmanager
def postgresql() -> Iterator[str]:
    import psycopg

    name = f"hpo_{secrets.token_hex(6)}"
    where = "postgresql://postgres@127.0.0.1:5432"
    try:
        server = psycopg.connect(f"{where}/postgres", autocommit=True, connect_timeout=5)
    except psycopg.OperationalError:
        pytest.skip("needs postgresql: no server answers at 127.0.0.1:5432")
    with server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{where}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def mariadb() -> Iterator[str]:
    import pymysql

    name = f"hpo_{secrets.token_hex(6)}"
    try:
        server = pymysql.connect(host="127.0.0.1", port=3306, user="root", connect_timeout=5)
    except pymysql.OperationalError:
        pytest.skip("needs mariadb: no server answers at 127.0.0.1:3306")
    with server, server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield f"mariadb://root@127.0.0.1:3306/{name}"
        finally:
            cursor.execute(f"DROP DATABASE {name}")


SERVERS = {"postgresql": postgresql, "mariadb": mariadb}


class Process:
    """An `hpo` command that runs; its output goes to a file, so that it never waits for a reader."""

    def __init__(self, words: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.path = folder / f"output-{secrets.token_hex(4)}.txt"
        with self.path.open("wb") as output:
            self._process = subprocess.Popen(
                [*CLI, *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def output(self) -> str:
        return self.path.read_text("utf-8", errors="replace")

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = 60) -> int:
        return self._process.wait(seconds)

    def end(self) -> None:
        """Whatever it does: stop it, paused or not."""
        self._process.kill()
        self._process.wait()


class Fleet:
    """Commands on one database, and what they have made of its studies."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self._processes: list[Process] = []

    def start(self, *words: object, **environment: str) -> Process:
        """Start `hpo WORDS` on the database."""
        given = {
            "HPO_STORAGE": self.url,
            "HPO_LEASE_SECONDS": str(LEASE_SECONDS),
            "XDG_STATE_HOME": str(self.folder / "state"),
            **environment,
        }
        self._processes.append(Process([str(word) for word in words], self.folder, given))
        return self._processes[-1]

    def create(self, name: str, trials: int, seconds: float = 0.05, *more: object) -> Process:
        """Start a watcher, which makes a study of the synthetic objective; returns once it is there."""
        words = ("run", "--study", name, "--objective", "synthetic", "--sleep", seconds, "--trials", trials)
        words = (*words, "--workers", 0, "--no-report", *more)
        watcher = self.start(*words)
        self.wait_for(lambda: self.exists(name))
        return watcher

    def exists(self, name: str) -> bool:
        try:
            with opened(self.url) as database:
                return find_study(database, name) is not None
        except Exception:  # there is no database yet, or no table in it
            return False

    def read(self, name: str) -> StudyRecord:
        with opened(self.url) as database:
            return read_study(database, name)

    def progress(self, name: str) -> StudyProgress:
        with opened(self.url) as database:
            return progress(database, find_study(database, name).id)

    def assert_exact(self, name: str, budget: int) -> StudyRecord:
        """The invariants of a finished study: as many finished slots as budgeted, with at most one result each and
        the same parameters in each attempt; nothing runs; the best is the least."""
        record = self.read(name)
        assert record.finished == record.budget == budget
        assert not [trial for trial in record.trials if trial.state == "running"]
        results = [trial.slot for trial in record.trials if trial.state in ACCEPTED]
        assert len(results) == len(set(results))
        for slot in {trial.slot for trial in record.trials}:
            assert len({str(trial.params) for trial in record.trials if trial.slot == slot}) == 1
        full = [trial.value for trial in record.trials if trial.state in RANKED]
        assert [trial.value for trial in ranked(record)] == sorted(full)
        return record

    def wait_for(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                outputs = "\n---\n".join(process.output for process in self._processes)
                raise AssertionError(f"it has not happened in {seconds} seconds:\n{outputs}")
            time.sleep(0.05)

    def wait_for_trials(self, name: str, count: int = 1, running: bool = False) -> None:
        """Return when so many trials are finished, or run."""
        self.wait_for(lambda: (self.progress(name).claimed if running else self.progress(name).finished) >= count)

    def end(self) -> None:
        for process in self._processes:
            process.end()


@contextmanager
def opened(url: str) -> Iterator[Any]:
    database = connect(url, create=False)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture(params=DATABASES)
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database on each kind of server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/hpo.db"
    else:
        with SERVERS[request.param]() as url:
            yield url


@pytest.fixture(params=DATABASES[1:])
def server_fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """Commands on a database of each kind that is not a file."""
    with SERVERS[request.param]() as url:
        there = Fleet(url, tmp_path)
        yield there
        there.end()


@pytest.fixture
def fleet(any_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """Commands on a database of each kind."""
    there = Fleet(any_url, tmp_path)
    yield there
    there.end()


@pytest.fixture
def local_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Commands on an SQLite file."""
    there = Fleet(f"sqlite:///{tmp_path}/hpo.db", tmp_path)
    yield there
    there.end()
