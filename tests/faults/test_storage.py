"""Disks without room, and passwords."""

import contextlib
import sqlite3

import pytest

from tests.helpers.disks import SmallDisk
from tests.helpers.fleet import synthetic
from tests.helpers.invariants import invariants
from tests.helpers.processes import command_line, descendants

pytestmark = pytest.mark.slow

PASSWORD = "hunter2-SECRET"


@pytest.fixture
def disk(tmp_path):
    small = SmallDisk(tmp_path / "disk", 1500)
    yield small
    small.close()


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_15_no_room_for_the_database(fleet, disk):
    words = ("run", "--study", "s", "--objective", "synthetic", "--trials", 300, "--trainers", 2, "--no-report")
    url = f"sqlite:///{disk.folder}/hpo.db"
    run = fleet.start(*words, HPO_STORAGE=url)
    assert run.wait() == 2, run.output
    assert "is full" in run.output
    assert "the disk has room" in run.output
    assert "Traceback" not in run.output
    disk.grow(50_000)
    again = fleet.start(*words, HPO_STORAGE=url)
    assert again.wait() == 0, again.output
    record = invariants(url, "s")
    assert len([trial for trial in record.trials if trial.state == "complete"]) == 300
    with contextlib.closing(sqlite3.connect(disk.folder / "hpo.db")) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert fleet.spooled == []


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_15_no_room_for_results_that_wait(fleet, disk):
    disk.fill()
    fleet.create("s", 4)
    worker = fleet.start("worker", "--trainers", 2, XDG_STATE_HOME=str(disk.folder))
    record = fleet.finish("s", worker)
    assert {trial.state for trial in record.trials} == {"complete"}
    assert worker.output.count("results cannot be kept on this machine until they are told: [Errno 28]") == 1


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_15_no_room_for_the_report(fleet, disk):
    words = ("run", "--study", "s", "--objective", "synthetic", "--trials", 3, "--trainers", 1, "--no-report")
    assert fleet.start(*words).wait() == 0
    old = disk.folder / "report.html"
    old.write_text("the old one")
    disk.fill()
    report = fleet.start("report", "--study", "s", "--output", old)
    assert report.wait() == 1
    assert "could not be written" in report.output
    assert "No space left on device; choose another place" in report.output
    assert old.read_text() == "the old one"
    assert {path.name for path in disk.folder.iterdir()} == {"filler", "report.html"}


@pytest.mark.parametrize("fleet", ["postgresql"], indirect=True)
def test_fault_33_a_password_is_nowhere_but_in_the_environment(fleet):
    url = fleet.url.replace("postgres@", f"postgres:{PASSWORD}@")  # which the server does not ask for
    words = ("run", "--study", "s", *synthetic(0.3, 12), "--trainers", 1, "--report", "r.html")
    run = fleet.start(*words, HPO_STORAGE=url)
    fleet.wait_for(lambda: fleet.exists("s"))
    worker = fleet.start("worker", "--trainers", 1, HPO_STORAGE=url)
    fleet.wait_for(lambda: run.trainers and worker.trainers)
    fleet.wait_for_trials("s", 2, running=True)
    processes = [pid for process in (run, worker) for pid in (process.pid, *descendants(process.pid))]
    assert len(processes) >= 4
    assert all(PASSWORD.encode() not in command_line(pid) for pid in processes)
    fleet.server.crash()
    fleet.wait_for(lambda: "; waiting for it" in worker.output)
    fleet.wait_for(lambda: fleet.spooled)
    everywhere = [path for path in fleet.folder.rglob("*") if path.is_file()]
    assert not [path for path in everywhere if PASSWORD.encode() in path.read_bytes()]
    fleet.server.start()
    fleet.finish("s", worker)
    assert run.wait() == 0, run.output
    everywhere = [path for path in fleet.folder.rglob("*") if path.is_file()]
    assert fleet.folder / "r.html" in everywhere
    assert not [path for path in everywhere if PASSWORD.encode() in path.read_bytes()]
    tables = fleet.start("db", "check", HPO_STORAGE=url)
    assert tables.wait() == 0, tables.output
    assert PASSWORD not in tables.output
