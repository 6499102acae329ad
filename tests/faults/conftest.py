"""Real `hpo` processes on databases of the tests' own, which may be stopped, killed and frozen."""

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hpo_storage.checks import broken_rules
from hpo_storage.database import connect
from hpo_storage.records import ACCEPTED, FINISHED, RANKED, StudyRecord, TrialRecord
from hpo_storage.studies import read_study

from hpo.study.standing import winner
from tests.servers import SERVERS, MissingError, Server, descendants
from tests.worker.conftest import DATABASES, Fleet, Process

_names = itertools.count()


def invariants(database: str, study: str) -> StudyRecord:
    """What must hold of a finished study whatever has happened, by the URL of its database."""
    there = connect(database, create=False)
    try:
        # A running trial has a live lease, a slot at most one accepted result, values are finite, Optuna agrees.
        assert broken_rules(there) == []
        record = read_study(there, study)
    finally:
        there.close()
    last = {trial.slot: trial for trial in sorted(record.trials, key=lambda trial: trial.attempt)}
    assert record.finished == record.budget == len(last) == sum(trial.state in FINISHED for trial in last.values())
    results = [trial.slot for trial in record.trials if trial.state in ACCEPTED]
    assert len(results) == len(set(results)) <= len(record.trials)
    points = {(trial.slot, str(sorted(trial.params.items()))) for trial in record.trials}
    assert len(points) == record.budget, "attempts at one slot have the same parameters"
    values = [trial.value for trial in record.trials if trial.state in RANKED]
    best = winner(record)
    assert (best.value if best else None) == min(values, default=None)
    return record


class FaultyFleet(Fleet):
    """Commands on one database, with its server where it has one."""

    def __init__(self, url: str, folder: Path, server: Server | None) -> None:
        super().__init__(url, folder)
        self._server = server

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    def finish(self, name: str, *workers: Process) -> StudyRecord:
        """Wait until the study is over, let the workers go, and check the invariants."""
        self.wait_for(lambda: self.is_over(name), 120)
        for worker in workers:
            worker.send(signal.SIGTERM)
        assert [worker.wait() for worker in workers] == [0] * len(workers), self.outputs
        return invariants(self.url, name)

    def is_over(self, name: str) -> bool:
        progress = self.progress(name)
        return progress.finished == progress.budget

    def ended(self, name: str) -> list[TrialRecord]:
        """Its attempts that are over."""
        return [trial for trial in self.read(name).trials if trial.state != "running"]

    def trainers(self, process: Process) -> list[int]:
        """Process ids of its trainers that have begun."""
        return [pid for pid in descendants(process.pid) if b"hpo.trainer.synthetic" in command_line(pid)]

    def spooled(self) -> list[Path]:
        """Results on disk that wait to be told."""
        return list((self.folder / "state").rglob("*.json"))

    def sabotage(self, code: str) -> dict[str, str]:
        """The environment in which every Python process runs the code first."""
        folder = self.folder / "sabotage"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(code)
        return {"PYTHONPATH": str(folder)}

    @property
    def outputs(self) -> str:
        return "\n---\n".join(process.output for process in self._processes)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[str], Server]]:
    """A server of this session's own, by its kind."""
    servers: dict[str, Server] = {}

    def server_of(kind: str) -> Server:
        if kind not in servers:
            try:
                servers[kind] = SERVERS[kind]()
            except MissingError as missing:
                pytest.skip(f"needs {missing}: it is not installed")
        servers[kind].restore()
        return servers[kind]

    yield server_of
    for server in servers.values():
        server.close()


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FaultyFleet]:
    """Commands on an empty database; each test runs on every kind, unless it says which."""
    kind = getattr(request, "param", "sqlite")
    if kind == "sqlite":
        yield from _run(FaultyFleet(f"sqlite:///{tmp_path}/hpo.db", tmp_path, None))
        return
    server = request.getfixturevalue("server_of")(kind)
    with server.database(f"hpo_{os.getpid()}_{next(_names)}") as url:
        try:
            yield from _run(FaultyFleet(url, tmp_path, server))
        finally:
            server.restore()


def _run(fleet: FaultyFleet) -> Iterator[FaultyFleet]:
    try:
        yield fleet
    finally:
        fleet.end()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take `fleet` and say nothing else run on every database."""
    marked = any("fleet" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "fleet" in metafunc.fixturenames and not marked:
        metafunc.parametrize("fleet", DATABASES, indirect=True)
