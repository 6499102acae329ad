"""Real processes on one database."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hpo_storage.checks import broken_rules
from hpo_storage.database import Database, connect
from hpo_storage.failpoints import failpoint
from hpo_storage.records import Outcome
from hpo_storage.slots import claim, finish
from hpo_storage.studies import create_study, list_studies, progress, read_study
from hpo_storage.tables import SLOTS
from hpo_storage.workers import requeue_orphans, start_worker, sweep
from optuna.trial import TrialState

from hpo.errors import LeaseLostError, StudyNotFoundError

MakeOutcome = Callable[..., Outcome]
COMMON = """
import os, socket, sys, time
from optuna.distributions import FloatDistribution
from hpo_storage import optuna, slots, studies, workers
from hpo_storage.database import connect, upgrade
from hpo_storage.records import Outcome
url = os.environ["URL"]
print("ready", flush=True)
input()
db = connect(url)
"""
UPGRADE = COMMON + "upgrade(db)\n"
CLAIM = (
    COMMON
    + """
study_id = int(sys.argv[1])
worker = workers.start_worker(db, study_id, host=socket.gethostname(), pid=os.getpid(), role="worker")
def take():
    return slots.claim(db, study_id, worker, lambda offer: {"x": offer.slot / 100}, {"x": FloatDistribution(0, 1)})
"""
)
WORK = (
    CLAIM
    + """
while claimed := take():
    slots.finish(db, claimed, Outcome(state="complete", value=claimed.params["x"]))
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
SWEEP = COMMON + "workers.sweep(db)\n"


@contextmanager
def started(script: str, url: str, *arguments: object, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has imported everything and waits for a line."""
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    environment = {**os.environ, "URL": url, **variables}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def together(script: str, url: str, count: int, *arguments: object) -> list[str]:
    """What so many processes write that begin at once; all end well."""
    with ExitStack() as stack:
        processes = [stack.enter_context(started(script, url, *arguments)) for _ in range(count)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * count
        return outputs


def test_eight_first_starts_on_an_empty_database(empty_url: str):
    """Fault 12."""
    together(UPGRADE, empty_url, 8)
    db = connect(empty_url, create=False)
    assert list_studies(db) == []
    with db.begin_read() as connection:
        for table in ("version_info", "alembic_version", "hpo_alembic_version"):
            assert connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) == 1
    assert broken_rules(db) == []
    db.close()


@pytest.mark.slow
def test_eight_processes_share_sixty_slots(db: Database, url: str, optuna_trials):
    """Faults 11 and 13: each slot once, and no more when they are used up; three runs."""
    for run in range(3):
        study_id = create_study(db, f"shared-{run}", {}, {"replicates": 1}, {}, 60)
        outputs = [output.split() for output in together(WORK, url, 8, study_id)]
        assert sum(bool(output) for output in outputs) > 1, "one process did it all"
        assert sorted(int(slot) for output in outputs for slot in output) == list(range(60))
        study = read_study(db, f"shared-{run}")
        assert (study.finished, study.running, len(study.trials)) == (60, False, 60)
        assert sorted(t.number for t in study.trials) == list(range(60))
        assert sorted(t.slot for t in study.trials) == list(range(60))
        assert {t.state for t in optuna_trials(db, f"shared-{run}")} == {TrialState.COMPLETE}
        assert len({t.worker for t in study.trials}) > 1
        assert broken_rules(db) == []
    assert together(WORK, url, 2, study_id) == ["", ""]
    assert read_study(db, "shared-2").finished == 60


def killed_at(place: str, script: str, url: str, *arguments: object) -> None:
    """Run it until it kills itself there."""
    with started(script, url, *arguments, HPO_FAILPOINT=f"{place}:kill") as process:
        process.communicate("\n", timeout=60)
        assert process.returncode == -signal.SIGKILL


def states(db: Database) -> list[str]:
    with db.begin_read() as connection:
        return list(connection.scalars(sa.select(SLOTS.c.state).order_by(SLOTS.c.number)))


@pytest.mark.parametrize("place", ["after_ask", "mid_tell"])
def test_a_process_killed_within_a_transaction_changes_nothing(db: Database, url: str, place: str):
    """Fault 2: what it held is free at once, or with its lease."""
    study_id = create_study(db, "killed", {}, {"replicates": 1}, {}, 2)
    killed_at(place, WORK, url, study_id)
    assert states(db) == ([] if place == "after_ask" else ["claimed"])
    assert requeue_orphans(db, study_id) == (0 if place == "after_ask" else 1)
    [output] = together(WORK, url, 1, study_id)
    assert sorted(output.split()) == ["0", "1"]
    found = progress(db, study_id)
    assert (found.complete, found.finished) == (2, 2)
    assert broken_rules(db) == []


def test_a_sweeper_killed_within_its_transaction_loses_no_attempt(bench, url: str):
    """Fault 9."""
    late, *_ = [bench.claim() for _ in range(3)]
    with bench.db.begin_write() as connection:
        connection.execute(SLOTS.update().values(lease_until=SLOTS.c.started))
    killed_at("mid_sweep", SWEEP, url)
    assert states(bench.db) == ["claimed"] * 3
    assert sweep(bench.db) == 3
    again = bench.claim()
    assert (again.slot, again.attempt, again.params) == (late.slot, 2, late.params)
    bench.claim()
    assert broken_rules(bench.db) == []


def test_a_killed_process_leaves_its_slot_to_the_next(db: Database, url: str, outcome: MakeOutcome, optuna_trials):
    """Fault 1: the same parameters again, attempt + 1."""
    study_id = create_study(db, "killed", {}, {"replicates": 2}, {}, 1)
    with started(HANG, url, study_id) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "0\n"]
        assert read_study(db, "killed").running
        assert requeue_orphans(db, study_id) == 0
    assert not read_study(db, "killed").running
    worker = start_worker(db, study_id, host=socket.gethostname(), pid=os.getpid())
    assert requeue_orphans(db, study_id) == 1
    [first] = optuna_trials(db, "killed")
    claimed = claim(db, study_id, worker, lambda offer: {"x": 1 / 0}, first.distributions)
    assert claimed is not None
    assert (claimed.attempt, claimed.params) == (2, first.params)
    finish(db, claimed, outcome(0.5))
    study = read_study(db, "killed")
    assert [(t.attempt, t.state, t.reason) for t in study.trials] == [
        (1, "failed", f"process killed: {socket.gethostname()}:{process.pid}"),
        (2, "complete", None),
    ]
    assert study.finished == study.budget == 1


def test_failpoints(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HPO_FAILPOINT", raising=False)
    failpoint("tested")
    monkeypatch.setenv("HPO_FAILPOINT", "tested:error:2")
    failpoint("other")
    failpoint("tested")
    with pytest.raises(RuntimeError, match="failpoint tested"):
        failpoint("tested")
    failpoint("tested")
    monkeypatch.setenv("HPO_FAILPOINT", "slow:sleep=0.01")
    failpoint("slow")
    monkeypatch.setenv("HPO_FAILPOINT", "typo:explode")
    with pytest.raises(ValueError, match="got 'explode'"):
        failpoint("typo")


def test_a_claim_cannot_be_made_up(bench, outcome: MakeOutcome):
    made_up = replace(bench.claim(), token="0" * 32)
    with pytest.raises(LeaseLostError):
        finish(bench.db, made_up, outcome())
    with pytest.raises(StudyNotFoundError):  # as for all that can be told of a trial that is not there
        finish(bench.db, replace(made_up, trial_id=10**6), outcome())
