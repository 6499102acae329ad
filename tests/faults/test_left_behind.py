"""What a killed process leaves: no children, and nothing that the next start does not remove."""

import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hpo_storage.workers import process_start

from hpo.processes import LOCK, PREFIX, working_folder
from tests.helpers.fleet import synthetic
from tests.helpers.invariants import invariants
from tests.helpers.processes import descendants, wait_until

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
HOLDS = """
import sys
from hpo.processes import working_folder
with working_folder() as folder:
    (folder / "large").mkdir()
    (folder / "large" / "file").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The temporary folder, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def holder(temporary):
    """A function that starts a process which holds a working folder until its input ends."""
    started = []

    def hold():
        process = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        process.stdout.readline()
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def alive(pids) -> list[int]:
    return [pid for pid in pids if process_start(pid) is not None]


@pytest.mark.slow
@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_74_a_run_that_is_killed_while_it_prepares(fleet, temporary):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((30_000, 60)).astype("float32")).rename(columns=lambda number: f"x{number}")
    frame.assign(label=rng.integers(0, 2, 30_000)).to_parquet(fleet.folder / "table.parquet")
    words = ("--data", "table.parquet", "--target", "label", "--trials", 1, "--replicates", 40, "--max-epochs", 1)
    run = fleet.start("run", "--study", "s", *words, "--no-report", "--workers", 0)
    fleet.wait_for(lambda: list(temporary.rglob("*.npy")))
    children = descendants(run.pid)
    assert alive(children)
    run.end()
    wait_until(lambda: not alive(children), 10)
    assert list(temporary.iterdir())
    again = fleet.start("run", "--study", "s", *synthetic(0, 3), "--no-report", "--trainers", 1)
    assert again.wait() == 0, again.output
    invariants(fleet.url, "s")
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_74_a_worker_that_is_killed(fleet, temporary):
    watcher = fleet.create("s", 4, 0.3)
    worker = fleet.start("worker", "--trainers", 2)
    fleet.wait_for_trials("s", 1, running=True)
    children = descendants(worker.pid)
    worker.end()
    wait_until(lambda: not alive(children), 10)
    other = fleet.start("worker", "--once", "--trainers", 1)
    assert [other.wait(), watcher.wait()] == [0, 0], fleet.outputs
    invariants(fleet.url, "s")
    assert list(temporary.iterdir()) == []


LAUNCHES = """
import sys
from hpo.worker.ray import _work
_work(sys.argv[1], ["--trainers", "1"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_74_a_worker_whose_launcher_is_killed(fleet, temporary):
    watcher = fleet.create("s", 3, 0.3)
    environment = {**os.environ, "HPO_LEASE_SECONDS": "1"}
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHES, fleet.url], env=environment)
    fleet.wait_for_trials("s", 1, running=True)
    launched = descendants(launcher.pid)
    assert len(alive(launched)) == 2  # a worker and its trainer
    launcher.kill()
    launcher.wait()
    wait_until(lambda: not alive(launched), 10)
    other = fleet.start("worker", "--once", "--trainers", 1)
    assert [other.wait(), watcher.wait()] == [0, 0], fleet.outputs
    invariants(fleet.url, "s")
    assert list(temporary.iterdir()) == []


def test_fault_74_what_others_hold_or_made_stays(temporary, holder):
    dead, living = holder(), holder()
    left = {path.name for path in temporary.iterdir()}
    assert len(left) == 2
    dead.kill()
    dead.wait()
    for name in ("theirs", PREFIX + "theirs", PREFIX + "elsewhere"):
        (temporary / name).mkdir()
        (temporary / name / "file").touch()
    (temporary / f"{PREFIX}elsewhere" / LOCK).write_text("another-host")
    (temporary / f"{PREFIX}link").symlink_to(temporary / f"{PREFIX}elsewhere")
    (temporary / f"{PREFIX}file").touch()
    with working_folder() as mine, working_folder() as another:
        (mine / "sub").mkdir()
        assert mine.parent == another.parent == temporary
    after = {path.name for path in temporary.iterdir()}
    assert len(left & after) == 1
    assert after - left == {"theirs", *(PREFIX + name for name in ("theirs", "elsewhere", "link", "file"))}
    living.communicate()  # which ends it
    assert not left & {path.name for path in temporary.iterdir()}


FORKS = """
import os, signal, sys
from hpo.processes import working_folder
there, here = os.pipe()
with working_folder() as folder:
    if os.fork():
        os.read(there, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    os.write(here, b".")
    sys.stdin.read()
print(folder.exists())
"""


def test_fault_74_a_fork_neither_holds_the_folder_nor_removes_it(temporary):
    process = subprocess.Popen([sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.wait() == -signal.SIGKILL
    (left,) = temporary.iterdir()
    with working_folder():
        assert not left.exists()
    left.mkdir()
    assert process.communicate()[0] == b"True\n"  # the fork has come to its end
