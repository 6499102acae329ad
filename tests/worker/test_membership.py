"""The heartbeat: keeps leases while the main thread does nothing, says what is lost, and sweeps what the dead left."""

import time

import pytest
from hpo_storage.database import connect
from hpo_storage.slots import claim
from hpo_storage.studies import create_study, progress, read_study
from hpo_storage.timing import Timing
from hpo_storage.workers import list_workers, start_worker, stop_worker, sweep
from optuna.distributions import FloatDistribution

from hpo.worker import membership as module
from hpo.worker.membership import Heartbeat
from hpo.worker.signals import StopRequest
from tests.helpers.databases import upgraded_file
from tests.helpers.processes import wait_until

TIMING = Timing(lease=0.4)


@pytest.fixture
def database(tmp_path):
    there = connect(upgraded_file(tmp_path / "hpo.db"))
    yield there
    there.close()


@pytest.fixture
def study_id(database):
    return create_study(database, "s", {}, {"replicates": 1}, {}, 3)


def work(database, study_id):
    worker_id = start_worker(database, study_id, host="elsewhere", pid=1, lease_seconds=TIMING.lease, role="worker")
    space = {"x": FloatDistribution(0.0, 1.0)}
    claimed = claim(database, study_id, worker_id, lambda offer: {"x": 0.5}, space, lease_seconds=TIMING.lease)
    return worker_id, claimed


@pytest.fixture
def beating(tmp_path):
    """Starts heartbeats, which end with the test."""
    started = []

    def start(worker_id, *trials):
        heartbeat = Heartbeat(f"sqlite:///{tmp_path}/hpo.db", worker_id, TIMING, StopRequest())
        heartbeat.watch(trials)
        heartbeat.start()
        started.append(heartbeat)
        return heartbeat

    yield start
    for heartbeat in started:
        heartbeat.stop()


def test_a_lease_is_kept_while_the_main_thread_is_busy(database, study_id, beating):
    worker_id, claimed = work(database, study_id)
    heartbeat = beating(worker_id, claimed.trial_id)
    end = time.monotonic() + 4 * TIMING.lease
    while time.monotonic() < end:
        pass
    assert sweep(database) == 0
    assert heartbeat.lost == frozenset()
    assert progress(database, study_id).claimed == 1


def test_what_another_has_taken_is_lost(database, study_id, beating):
    worker_id, claimed = work(database, study_id)
    wait_until(lambda: sweep(database) == 1)
    heartbeat = beating(worker_id, claimed.trial_id)
    wait_until(lambda: heartbeat.lost == {claimed.trial_id})
    heartbeat.watch(())
    heartbeat.watch([claimed.trial_id + 1])
    assert heartbeat.lost == frozenset()


def test_the_trials_of_a_main_thread_that_hangs_are_anybodys(database, study_id, beating, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_LEASES", 1)
    worker_id, claimed = work(database, study_id)
    beating(worker_id, claimed.trial_id)
    wait_until(lambda: progress(database, study_id).open == 3)
    assert "lease expired" in read_study(database, "s").trials[0].reason


def test_a_worker_without_trials_lives(database, beating, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_LEASES", 1)
    worker_id = start_worker(database, None, host="elsewhere", pid=1, lease_seconds=TIMING.lease, role="worker")
    beating(worker_id)
    time.sleep(4 * TIMING.lease)
    assert [worker.id for worker in list_workers(database)] == [worker_id]


def test_a_claim_that_the_worker_does_not_know_of_ends(database, study_id, beating):
    """Its answer got lost with the connection."""
    worker_id, _ = work(database, study_id)
    beating(worker_id)
    wait_until(lambda: progress(database, study_id).open == 3)
    assert read_study(database, "s").trials[0].reason == "lease expired: no sign of life from elsewhere:1"


def test_what_the_dead_left_is_requeued_after_a_lease(database, study_id, beating):
    """Fault 1. Not at once: after an outage the living come first."""
    dead, _ = work(database, study_id)
    worker_id, claimed = work(database, study_id)
    stop_worker(database, dead)
    began = time.monotonic()
    beating(worker_id, claimed.trial_id)
    wait_until(lambda: progress(database, study_id).claimed == 1)
    assert time.monotonic() - began >= TIMING.lease
    assert progress(database, study_id).open == 2
