"""Real processes on one SQLite file."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from storage.database import connect
from storage.optuna import read_trials
from storage.records import Outcome
from storage.slots import finish
from storage.studies import create_study, list_studies, read_study
from storage.workers import requeue_orphans, start_worker

COMMON = """
import os, socket, sys, time
from optuna.distributions import FloatDistribution
from storage.database import connect, upgrade
from storage.records import Outcome
from storage.slots import claim, finish
from storage.workers import start_worker
print("ready", flush=True)
input()
db = connect(sys.argv[1])
"""
UPGRADE = COMMON + "upgrade(db)\n"
CLAIM = (
    COMMON
    + """
study_id = int(sys.argv[2])
worker = start_worker(db, study_id, host=socket.gethostname(), pid=os.getpid(), exclusive=False)
def take():
    return claim(db, study_id, worker, lambda offer: {"x": offer.slot / 100}, {"x": FloatDistribution(0, 1)})
"""
)
WORK = (
    CLAIM
    + """
while claimed := take():
    time.sleep(0.02)
    finish(db, claimed, Outcome(state="complete", value=claimed.params["x"]))
    print(claimed.slot, flush=True)
"""
)
HANG = (
    CLAIM
    + """
print(take().slot, flush=True)
input()
"""
)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that has imported everything and waits for a line."""
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def release_together(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def test_four_processes_upgrade_an_empty_database_at_once(path: Path):
    """Fault 12."""
    processes = [start(UPGRADE, f"sqlite:///{path}") for _ in range(4)]
    release_together(processes)
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    db = connect(f"sqlite:///{path}", create=False)
    assert list_studies(db) == []
    with db.begin_read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM version_info")).scalar() == 1
        assert connection.execute(sa.text("SELECT count(*) FROM alembic_version")).scalar() == 1
    db.close()


@pytest.mark.slow
def test_four_processes_share_forty_slots(db, path: Path):
    """Faults 11 and 13: each slot once, and no more when they are used up."""
    study_id = create_study(db, "shared", {}, {"replicates": 1}, {}, 40)
    processes = [start(WORK, f"sqlite:///{path}", study_id) for _ in range(4)]
    release_together(processes)
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert sum(bool(output) for output in outputs) > 1, "one process did it all"
    assert sorted(int(slot) for output in outputs for slot in output) == list(range(40))
    study = read_study(db, "shared")
    assert (study.finished, study.running, len(study.trials)) == (40, False, 40)
    assert sorted(t.number for t in study.trials) == list(range(40))
    assert sorted(t.slot for t in study.trials) == list(range(40))
    assert {t.state for t in read_trials(db, study_id)} == {TrialState.COMPLETE}
    assert len({t.worker for t in study.trials}) > 1


def test_a_killed_process_leaves_its_slot_to_the_next(db, path: Path, outcome: Callable[..., Outcome]):
    """Fault 1: the same parameters again, attempt + 1."""
    study_id = create_study(db, "killed", {}, {"replicates": 2}, {}, 1)
    process = start(HANG, f"sqlite:///{path}", study_id)
    release_together([process])
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    assert read_study(db, "killed").running
    assert requeue_orphans(db, study_id) == 0
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not read_study(db, "killed").running
    worker = start_worker(db, study_id, host=socket.gethostname(), pid=os.getpid())
    assert requeue_orphans(db, study_id) == 1
    from storage.slots import claim

    [first] = read_trials(db, study_id)
    claimed = claim(db, study_id, worker, lambda offer: 1 / 0, first.distributions)
    assert claimed is not None
    assert (claimed.attempt, claimed.params) == (2, first.params)
    finish(db, claimed, outcome(0.5))
    study = read_study(db, "killed")
    assert [(t.attempt, t.state, t.reason) for t in study.trials] == [
        (1, "failed", "interrupted"),
        (2, "complete", None),
    ]
    assert study.finished == study.budget == 1
