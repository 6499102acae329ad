"""Leases: extended by heartbeats, taken by a sweep when they expire, by the database's clock."""

import os
import re
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import hpo_storage
import pytest
import sqlalchemy as sa
from hpo_storage.checks import broken_rules
from hpo_storage.database import now
from hpo_storage.records import Outcome
from hpo_storage.slots import finish
from hpo_storage.studies import create_study, progress, read_study
from hpo_storage.tables import SLOTS
from hpo_storage.timing import Timing
from hpo_storage.workers import beat, list_workers, serve, start_worker, stop_worker, sweep
from optuna.trial import TrialState

from hpo.errors import LeaseLostError, StorageError, StudyNotFoundError

MakeOutcome = Callable[..., Outcome]
HERE = socket.gethostname()
NAME = f"{HERE}:{os.getpid()}"


def expire(bench, slot: int = 0) -> None:
    """Let the slot's lease have ended a second ago."""
    with bench.db.begin_write() as connection:
        ended = now(connection) - timedelta(seconds=1)
        connection.execute(SLOTS.update().where(SLOTS.c.number == slot).values(lease_until=ended))


def seconds_left(bench, slot: int = 0) -> float:
    with bench.db.begin_read() as connection:
        until = connection.scalar(sa.select(SLOTS.c.lease_until).where(SLOTS.c.number == slot))
        return (until - now(connection)).total_seconds()


def test_an_expired_lease_is_taken_and_the_slot_is_tried_again(bench, outcome: MakeOutcome, optuna_trials):
    """Faults 1 and 6: the same parameters, attempt + 1; the late result is refused."""
    late, other, _ = [bench.claim() for _ in range(3)]
    assert sweep(bench.db) == 0
    expire(bench)
    assert sweep(bench.db) == 1
    assert sweep(bench.db) == 0
    with pytest.raises(LeaseLostError):
        finish(bench.db, late, outcome(0.001))
    again = bench.claim(lambda offer: pytest.fail("proposed again"))
    assert (again.slot, again.attempt, again.params) == (late.slot, 2, late.params)
    finish(bench.db, other, outcome(0.5))
    finish(bench.db, again, outcome(0.25))
    first = read_study(bench.db, "churn").trials[0]
    assert (first.state, first.reason) == ("failed", f"lease expired: no sign of life from {NAME}")
    assert [t.state for t in optuna_trials(bench.db)] == [
        *(TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING, TrialState.COMPLETE)
    ]
    assert broken_rules(bench.db) == []


def test_a_point_that_ends_every_attempt_fails_with_the_reason(bench, outcome: MakeOutcome):
    """Fault 10."""
    for claimed in [bench.claim() for _ in range(3)][1:]:
        finish(bench.db, claimed, outcome())
    for attempt in (1, 2, 3):
        expire(bench)
        assert sweep(bench.db) == 1
        assert attempt == 3 or bench.claim().slot == 0
    study = read_study(bench.db, "churn")
    assert (study.finished, progress(bench.db, bench.study_id).failed) == (3, 1)
    assert {t.reason for t in study.trials if t.slot == 0} == {f"lease expired: no sign of life from {NAME}"}
    assert broken_rules(bench.db) == []


def test_the_attempts_may_be_fewer(bench, outcome: MakeOutcome):
    finish(bench.db, bench.claim(), outcome())
    expire(bench, bench.claim().slot)
    sweep(bench.db, max_attempts=1)
    assert progress(bench.db, bench.study_id).failed == 1


def test_a_heartbeat_extends_what_the_worker_holds(bench):
    first, second = bench.claim(), bench.claim()
    assert beat(bench.db, bench.worker_id, lease_seconds=600) == {first.trial_id, second.trial_id}
    assert min(seconds_left(bench, 0), seconds_left(bench, 1)) > 590
    other = start_worker(bench.db, bench.study_id, host=HERE, pid=1, role="worker")
    assert beat(bench.db, other, lease_seconds=6000) == frozenset()
    assert seconds_left(bench) < 600


def test_a_lease_that_expired_unnoticed_may_be_renewed(bench, outcome: MakeOutcome):
    claimed = bench.claim()
    expire(bench)
    assert beat(bench.db, bench.worker_id, lease_seconds=60) == {claimed.trial_id}
    assert sweep(bench.db) == 0
    finish(bench.db, claimed, outcome())


def test_a_heartbeat_tells_what_is_lost(bench):
    lost, kept = bench.claim(), bench.claim()
    expire(bench, lost.slot)
    sweep(bench.db)
    assert beat(bench.db, bench.worker_id, lease_seconds=60) == {kept.trial_id}


def test_a_late_result_is_taken_while_nobody_has_the_slot(bench, outcome: MakeOutcome):
    claimed = bench.claim()
    expire(bench)
    finish(bench.db, claimed, outcome())
    assert sweep(bench.db) == 0
    assert progress(bench.db, bench.study_id).complete == 1


def test_a_sweep_may_be_of_one_study(bench):
    other = create_study(bench.db, "other", {}, {}, {}, 1)
    bench.claim()
    expire(bench)
    assert sweep(bench.db, study_id=other) == 0
    assert sweep(bench.db, study_id=bench.study_id) == 1


def test_a_claim_whose_answer_got_lost_ends_by_itself(bench):
    """The worker beats for the trials it knows of."""
    lost, known, _ = [bench.claim() for _ in range(3)]
    expire(bench, lost.slot)
    assert beat(bench.db, bench.worker_id, held=[known.trial_id]) == {known.trial_id}
    assert beat(bench.db, bench.worker_id, held=[]) == frozenset()
    assert sweep(bench.db) == 1
    assert bench.claim().attempt == 2


def test_workers_are_listed(bench, outcome: MakeOutcome):
    finish(bench.db, bench.claim(), outcome())
    bench.claim()
    other = start_worker(
        bench.db, None, host="elsewhere", pid=7, role="worker", device="cuda:0", backend="jax", trainers=2
    )
    first, second = list_workers(bench.db)
    assert (first.study, first.role, first.host, first.pid) == ("churn", "run", HERE, os.getpid())
    assert (first.running, first.finished, first.alive) == (1, 1, True)
    assert first.trials_per_hour > 0
    assert (second.study, second.role, second.device, second.backend) == (None, "worker", "cuda:0", "jax")
    assert (second.trainers, second.running, second.finished) == (2, 0, 0)
    serve(bench.db, other, bench.study_id)
    assert list_workers(bench.db)[1].study == "churn"
    stop_worker(bench.db, other)
    assert [worker.id for worker in list_workers(bench.db)] == [bench.worker_id]
    stopped = list_workers(bench.db, alive_only=False)[1]
    assert (stopped.id, stopped.alive) == (other, False)
    assert stopped.stopped is not None


def test_a_deleted_study_cannot_be_served(bench):
    with pytest.raises(StudyNotFoundError, match="has been deleted"):
        serve(bench.db, bench.worker_id, 10**6)
    with pytest.raises(StudyNotFoundError, match="has been deleted"):
        start_worker(bench.db, 10**6, host=HERE, pid=1, role="worker")


def test_no_clock_but_the_databases_is_read():
    """Fault 14: leases, heartbeats and durations are right where a worker's clock is off or steps back."""
    for path in Path(hpo_storage.__file__).parent.rglob("*.py"):
        calls = re.findall(r"\b(?:datetime\.(?:now|utcnow|today)|time\.time|date\.today)\(", path.read_text())
        assert calls == [], path


def test_timing_follows_from_the_lease(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HPO_LEASE_SECONDS", raising=False)
    assert (Timing.from_environment(), Timing().beat, Timing().sweep) == (Timing(60.0), 15.0, 30.0)
    monkeypatch.setenv("HPO_LEASE_SECONDS", "0.4")
    assert Timing.from_environment() == Timing(0.4)


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf"])
def test_a_lease_must_be_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch, given: str):
    monkeypatch.setenv("HPO_LEASE_SECONDS", given)
    with pytest.raises(StorageError, match=f"HPO_LEASE_SECONDS must be a number .* got '{given}'; use 60"):
        Timing.from_environment()
