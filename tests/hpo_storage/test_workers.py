"""Who is alive, and what becomes of the slots of those who are not."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hpo_storage import workers
from hpo_storage.records import Outcome
from hpo_storage.slots import REASON_LENGTH, finish
from hpo_storage.studies import create_study, list_studies, progress, read_study
from hpo_storage.tables import WORKERS
from hpo_storage.workers import beat, list_workers, note, process_start, requeue_orphans, start_worker, stop_worker
from optuna.trial import TrialState

from hpo.errors import LeaseLostError, StudyRunningError

MakeOutcome = Callable[..., Outcome]
HERE = socket.gethostname()


def age(bench, worker_id: str, seconds: float) -> None:
    """Let the worker have been seen that much earlier."""
    with bench.db.begin_write() as connection:
        last = connection.scalar(sa.select(WORKERS.c.last_seen).where(WORKERS.c.id == worker_id))
        earlier = last - workers.timedelta(seconds=seconds)
        connection.execute(WORKERS.update().where(WORKERS.c.id == worker_id).values(last_seen=earlier))


def test_a_second_worker_is_told_of_the_first(bench):
    with pytest.raises(StudyRunningError, match=rf"got 'churn', which process {os.getpid()} on {HERE} has run"):
        start_worker(bench.db, bench.study_id, host=HERE, pid=os.getpid())
    start_worker(bench.db, bench.study_id, host=HERE, pid=os.getpid(), role="worker")
    other = create_study(bench.db, "other", {}, {}, {}, 1)
    start_worker(bench.db, other, host=HERE, pid=os.getpid())


def test_a_stopped_worker_makes_room(bench):
    stop_worker(bench.db, bench.worker_id)
    assert not list_studies(bench.db)[0].running
    start_worker(bench.db, bench.study_id, host=HERE, pid=os.getpid())
    assert list_studies(bench.db)[0].running


def test_a_silent_local_worker_is_alive_while_its_process_is(bench):
    age(bench, bench.worker_id, 3600)
    assert list_studies(bench.db)[0].running


def test_a_reused_pid_is_another_process(bench):
    with bench.db.begin_write() as connection:
        scope = workers.process_scope()
        connection.execute(WORKERS.update().values(process_start=f"{scope}|1"))
    assert not list_studies(bench.db)[0].running


def test_a_pid_of_another_container_tells_nothing(bench):
    """Hosts may be called alike, and containers number their processes anew: there heartbeats count."""
    with bench.db.begin_write() as connection:
        connection.execute(WORKERS.update().values(process_start="another boot pid:[1]|1"))
    assert list_studies(bench.db)[0].running
    age(bench, bench.worker_id, 61)
    assert not list_studies(bench.db)[0].running


def test_a_worker_of_another_host_lives_by_its_heartbeat(bench):
    stop_worker(bench.db, bench.worker_id)
    far = start_worker(bench.db, bench.study_id, host="elsewhere", pid=1)
    with pytest.raises(StudyRunningError, match="process 1 on elsewhere"):
        start_worker(bench.db, bench.study_id, host=HERE, pid=os.getpid())
    age(bench, far, 61)
    assert not list_studies(bench.db)[0].running
    beat(bench.db, far)
    assert list_studies(bench.db)[0].running


def test_where_start_times_cannot_be_read_heartbeats_count(bench, monkeypatch: pytest.MonkeyPatch):
    stop_worker(bench.db, bench.worker_id)
    monkeypatch.setattr(workers, "process_start", lambda pid: None)
    worker_id = start_worker(bench.db, bench.study_id, host=HERE, pid=os.getpid())
    assert list_studies(bench.db)[0].running
    age(bench, worker_id, 61)
    assert not list_studies(bench.db)[0].running


def test_who_has_not_been_seen_for_a_day_is_not_looked_at(bench, monkeypatch: pytest.MonkeyPatch):
    """Rows of killed workers remain."""
    age(bench, bench.worker_id, 25 * 3600)
    monkeypatch.setattr(workers, "process_start", lambda pid: pytest.fail("looked at"))
    assert not list_studies(bench.db)[0].running


def lose_process(bench, worker_id: str) -> None:
    """Let the worker's pid be another process's by now."""
    with bench.db.begin_write() as connection:
        gone = WORKERS.update().where(WORKERS.c.id == worker_id)
        connection.execute(gone.values(process_start=f"{workers.process_scope()}|1"))


def test_who_is_only_silent_is_left_to_the_sweep(bench):
    """After an outage everybody is silent, and gets the time of one lease."""
    far = start_worker(bench.db, bench.study_id, host="elsewhere", pid=1, role="worker")
    bench.claim()
    replace(bench, worker_id=far).claim()
    age(bench, far, 3600)
    with bench.db.begin_write() as connection:
        ours = WORKERS.update().where(WORKERS.c.id == bench.worker_id)
        connection.execute(ours.values(process_start="another boot pid:[1]|1"))
    age(bench, bench.worker_id, 3600)
    assert requeue_orphans(bench.db, bench.study_id) == 0


def test_orphans_are_requeued_and_the_living_are_left_alone(bench, outcome: MakeOutcome, optuna_trials):
    mine = bench.claim()
    lost = start_worker(bench.db, bench.study_id, host=HERE, pid=os.getpid(), role="worker")
    theirs, _ = replace(bench, worker_id=lost).claim(), bench.claim()
    assert requeue_orphans(bench.db, bench.study_id) == 0
    lose_process(bench, lost)
    assert requeue_orphans(bench.db, bench.study_id) == 1
    assert requeue_orphans(bench.db, bench.study_id) == 0
    assert progress(bench.db, bench.study_id).open == 1
    with pytest.raises(LeaseLostError):
        finish(bench.db, theirs, outcome())
    finish(bench.db, mine, outcome())
    again = bench.claim(lambda offer: pytest.fail("proposed again"))
    assert (again.slot, again.attempt, again.params) == (theirs.slot, 2, theirs.params)
    trials = optuna_trials(bench.db)
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]
    assert trials[1].user_attrs["reason"] == f"process killed: {HERE}:{os.getpid()}"


def test_a_trial_that_kills_its_worker_is_tried_three_times(bench, outcome: MakeOutcome):
    """The first one has had results; those after it on the same host can have none."""
    for claimed in [bench.claim() for _ in range(3)][1:]:
        finish(bench.db, claimed, outcome())
    for attempt in (1, 2, 3):
        lose_process(bench, bench.worker_id)
        assert requeue_orphans(bench.db, bench.study_id) == 1
        bench = replace(bench, worker_id=start_worker(bench.db, bench.study_id, host=HERE, pid=os.getpid()))
        assert attempt == 3 or bench.claim().slot == 0
    assert progress(bench.db, bench.study_id).failed == 1
    assert read_study(bench.db, "churn").trials[0].reason == f"process killed: {HERE}:{os.getpid()}"


def test_what_a_worker_that_stopped_held_never_uses_up_a_slot(bench):
    for _ in range(5):
        bench.claim()
        with bench.db.begin_write() as connection:
            connection.execute(WORKERS.update().values(stopped=workers.now(connection)))
        assert requeue_orphans(bench.db, bench.study_id) == 1
    assert bench.claim().attempt == 6


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
@pytest.mark.parametrize("read", [process_start, workers._posix_start])
def test_start_times_of_processes(read: Callable[[int], str | None]):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = read(child.pid)
    assert started
    time.sleep(0.01)
    assert read(child.pid) == started
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert read(child.pid) is None, "a zombie is dead"
    child.communicate()
    assert read(child.pid) is None


def test_a_worker_says_why_it_does_not_work_and_takes_it_back(bench):
    assert [worker.note for worker in list_workers(bench.db)] == [None]
    note(bench.db, bench.worker_id, "its trainers keep dying \0\ud800" + "!" * 10_000)
    [said] = [worker.note for worker in list_workers(bench.db)]
    assert said.startswith("its trainers keep dying ??!!")
    assert len(said) == REASON_LENGTH
    note(bench.db, bench.worker_id, None)
    assert [worker.note for worker in list_workers(bench.db)] == [None]
