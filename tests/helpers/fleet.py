"""Real `hpo` processes that work on one database, with short leases and a spool of their own."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpo_storage.records import StudyProgress, StudyRecord, TrialRecord
from hpo_storage.studies import find_study, progress

from tests.helpers.databases import opened, read
from tests.helpers.invariants import invariants
from tests.helpers.processes import trainers, wait_until
from tests.helpers.servers import Server

CLI = [sys.executable, "-m", "hpo.cli.main"]
LEASE_SECONDS = 1.0


def synthetic(seconds: float, trials: int) -> tuple[object, ...]:
    """Settings of a study that trains nothing, of trials that take so long."""
    return ("--objective", "synthetic", "--sleep", seconds, "--trials", trials)


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

    @property
    def trainers(self) -> list[int]:
        return trainers(self.pid)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = 60) -> int:
        return self._process.wait(seconds)

    def end(self) -> None:
        """Whatever it does: stop it, paused or not."""
        self._process.kill()
        self._process.wait()


class Fleet:
    """Commands on one database, what they have made of its studies, and its server where it may be tormented."""

    def __init__(self, url: str, folder: Path, server: Server | None = None) -> None:
        self.url, self.folder = url, folder
        self._server, self._processes = server, list[Process]()

    @property
    def server(self) -> Server:
        assert self._server is not None, "the database is a file, or on a server that others use"
        return self._server

    @property
    def outputs(self) -> str:
        return "\n---\n".join(process.output for process in self._processes)

    @property
    def spooled(self) -> list[Path]:
        """Results on disk that wait to be told."""
        return list((self.folder / "state").rglob("*.json"))

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
        words = ("run", "--study", name, *synthetic(seconds, trials), "--workers", 0, "--no-report", *more)
        watcher = self.start(*words)
        self.wait_for(lambda: self.exists(name))
        return watcher

    def sabotage(self, code: str) -> dict[str, str]:
        """The environment in which every Python process runs the code first."""
        folder = self.folder / "sabotage"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(code)
        path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": path}

    def exists(self, name: str) -> bool:
        try:
            with opened(self.url) as database:
                return find_study(database, name) is not None
        except Exception:  # there is no database yet, or no table in it
            return False

    def read(self, name: str) -> StudyRecord:
        return read(self.url, name)

    def progress(self, name: str) -> StudyProgress:
        with opened(self.url) as database:
            header = find_study(database, name)
            assert header is not None
            return progress(database, header.id)

    def ended(self, name: str) -> list[TrialRecord]:
        """Its attempts that are over."""
        return [trial for trial in self.read(name).trials if trial.state != "running"]

    def is_over(self, name: str) -> bool:
        found = self.progress(name)
        return found.finished == found.budget

    def finish(self, name: str, *workers: Process) -> StudyRecord:
        """Wait until the study is over, let the workers go, and check the invariants."""
        self.wait_for(lambda: self.is_over(name), 120)
        for worker in workers:
            worker.send(signal.SIGTERM)
        assert [worker.wait() for worker in workers] == [0] * len(workers), self.outputs
        return invariants(self.url, name)

    def wait_for(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        try:
            wait_until(condition, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.outputs}") from None

    def wait_for_trials(self, name: str, count: int = 1, running: bool = False) -> None:
        """Return when so many trials are finished, or run."""
        self.wait_for(lambda: (self.progress(name).claimed if running else self.progress(name).finished) >= count)

    def end(self) -> None:
        for process in self._processes:
            process.end()
