"""Limits on a study, progress, and which studies have something to do."""

import itertools
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hpo_storage.database import Database
from hpo_storage.records import VALUED, Limits, Outcome, Position, StudyProgress
from hpo_storage.slots import Claim, claim, finish, release
from hpo_storage.studies import (
    create_study,
    delete_study,
    find_study,
    look,
    open_studies,
    progress,
    read_study,
    set_limits,
)
from hpo_storage.tables import SLOTS, STUDIES, TRIALS
from hpo_storage.workers import start_worker, stop_worker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution

from hpo.errors import StudyError, StudyNotFoundError

MakeOutcome = Callable[..., Outcome]
STEPS = ("claim", "look", "complete", "raced out", "pruned", "failed", "interrupted", "broke off")
_names = itertools.count()


def begin_earlier(bench, seconds: float) -> None:
    """Let the study's first claim, and what runs, have begun that much earlier."""
    with bench.db.begin_write() as connection:
        for table, column in ((STUDIES, STUDIES.c.first_claim), (SLOTS, SLOTS.c.started), (TRIALS, TRIALS.c.started)):
            runs = TRIALS.c.state == "running" if table is TRIALS else column.is_not(None)
            for key, began in connection.execute(sa.select(table.c.id, column).where(runs)).all():
                earlier = {column.name: began - timedelta(seconds=seconds)}
                connection.execute(table.update().where(table.c.id == key).values(earlier))


def limit(bench) -> str | None:
    return progress(bench.db, bench.study_id).limit_reached


def test_limits_are_kept(bench):
    assert read_study(bench.db, "churn").limits == Limits()
    limits = Limits(wall_seconds=3600.0, trainer_seconds=0.5, trial_seconds=60.0)
    set_limits(bench.db, bench.study_id, limits)
    header = find_study(bench.db, "churn")
    assert header is not None
    assert header.limits == read_study(bench.db, "churn").limits == limits
    create_study(bench.db, "limited", {}, {}, {}, 1, limits=limits)
    assert read_study(bench.db, "limited").limits == limits


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_must_be_positive(bench, seconds: float):
    with pytest.raises(StudyError, match=r"more than 0 seconds, got .*; use time_limit=3600"):
        set_limits(bench.db, bench.study_id, Limits(wall_seconds=seconds))
    with pytest.raises(StudyError, match="use trainer_seconds=3600"):
        create_study(bench.db, "b", {}, {}, {}, 1, limits=Limits(trainer_seconds=seconds))


def test_wall_time_counts_from_the_first_claim(bench, outcome: MakeOutcome):
    set_limits(bench.db, bench.study_id, Limits(wall_seconds=100.0))
    first = bench.claim()
    assert limit(bench) is None
    begin_earlier(bench, 101)
    assert limit(bench) == "wall time"
    assert bench.try_claim() is None
    finish(bench.db, first, outcome())
    study = read_study(bench.db, "churn")
    assert (study.finished, study.limit_reached) == (1, "wall time")
    assert open_studies(bench.db) == []
    set_limits(bench.db, bench.study_id, Limits(wall_seconds=200.0))
    assert bench.claim().slot == 1
    assert read_study(bench.db, "churn").limit_reached is None


def test_a_finished_study_has_reached_no_limit(bench, outcome: MakeOutcome):
    for _ in range(3):
        finish(bench.db, bench.claim(), outcome())
    begin_earlier(bench, 101)
    set_limits(bench.db, bench.study_id, Limits(wall_seconds=100.0))
    assert limit(bench) is None
    assert read_study(bench.db, "churn").limit_reached is None


def test_trainer_seconds_are_those_of_all_attempts_and_of_what_runs(bench, outcome: MakeOutcome):
    first, second = bench.claim(), bench.claim()
    begin_earlier(bench, 400)
    release(bench.db, first, "died")  # its 400 seconds count
    finish(bench.db, second, outcome())  # and these
    set_limits(bench.db, bench.study_id, Limits(trainer_seconds=1000.0))
    running = bench.claim()
    assert limit(bench) is None
    begin_earlier(bench, 100)
    assert limit(bench) is None
    begin_earlier(bench, 100)
    assert limit(bench) == "trainer seconds"
    assert bench.try_claim() is None
    finish(bench.db, running, outcome())
    assert limit(bench) == "trainer seconds"


def test_a_clock_that_was_set_back_gives_no_time_back(bench, outcome: MakeOutcome):
    first, _ = bench.claim(), bench.claim()
    begin_earlier(bench, -3600)
    finish(bench.db, first, outcome())
    with bench.db.begin_write() as connection:
        assert connection.scalar(sa.select(SLOTS.c.seconds).where(SLOTS.c.number == 0)) == 0
        connection.execute(SLOTS.update().where(SLOTS.c.number == 1).values(seconds=10.0))
    set_limits(bench.db, bench.study_id, Limits(trainer_seconds=10.0))
    assert limit(bench) == "trainer seconds"


def test_progress(bench, outcome: MakeOutcome):
    limits = Limits(trial_seconds=5.0)
    set_limits(bench.db, bench.study_id, limits)
    nothing = {"complete": 0, "raced_out": 0, "pruned": 0, "failed": 0, "limit_reached": None, "limits": limits}
    assert progress(bench.db, bench.study_id) == StudyProgress(budget=3, open=3, claimed=0, **nothing)
    release(bench.db, bench.claim(), "died")
    finish(bench.db, bench.claim(), outcome(0.5))
    finish(bench.db, bench.claim(), outcome(0.25, state="raced out"))
    bench.claim()
    found = progress(bench.db, bench.study_id)
    assert found == StudyProgress(budget=3, open=0, claimed=1, **{**nothing, "complete": 1, "raced_out": 1})
    assert found.finished == 2
    stop_worker(bench.db, bench.worker_id)
    delete_study(bench.db, bench.study_id)
    with pytest.raises(StudyNotFoundError, match="has been deleted"):
        progress(bench.db, bench.study_id)
    assert bench.try_claim() is None


def test_open_studies(bench, outcome: MakeOutcome):
    second = create_study(bench.db, "second", {}, {}, {}, 2)
    create_study(bench.db, "third", {}, {}, {}, 1)
    start_worker(bench.db, second, host="elsewhere", pid=1, role="worker")
    start_worker(bench.db, second, host="elsewhere", pid=2, role="worker")
    claimed = bench.claim()
    found = [(s.name, s.open, s.claimed, s.workers) for s in open_studies(bench.db)]
    assert found == [("churn", 2, 1, 1), ("second", 2, 0, 2), ("third", 1, 0, 0)]
    finish(bench.db, claimed, outcome())
    for _ in range(2):
        finish(bench.db, bench.claim(), outcome())
    assert [s.name for s in open_studies(bench.db)] == ["second", "third"]


def assert_same(one: Position, other: Position) -> None:
    """Seconds may have been added up in another order."""
    assert replace(one, seconds=0.0) == replace(other, seconds=0.0)
    assert one.seconds == pytest.approx(other.seconds)


def test_following_a_study(bench, outcome: MakeOutcome):
    start = look(bench.db, bench.study_id, None)
    first, second, third = bench.claim(), bench.claim(), bench.claim()
    begun = look(bench.db, bench.study_id, start.position)
    assert (start.trials, begun.trials, begun.progress.claimed) == ([], [], 3)
    finish(bench.db, first, outcome())
    finish(bench.db, third, outcome())
    seen = look(bench.db, bench.study_id, begun.position)
    assert [t.number for t in seen.trials] == [0, 2]
    whole = read_study(bench.db, "churn").trials[0]
    assert [r.score_loss for r in seen.trials[0].replicates] == [r.score_loss for r in whole.replicates]
    assert {r.curve for t in seen.trials for r in t.replicates} == {()}
    finish(bench.db, second, outcome(state="pruned", value=None))
    last = look(bench.db, bench.study_id, seen.position)
    assert [(t.number, t.state) for t in last.trials] == [(1, "pruned")]
    assert look(bench.db, bench.study_id, last.position) == replace(last, trials=[])
    for known in (start, begun, seen, last):  # whenever one begins, one comes to the same
        there = look(bench.db, bench.study_id, known.position)
        assert there.progress == progress(bench.db, bench.study_id)
        assert_same(there.position, last.position)
    assert_same(look(bench.db, bench.study_id, None).position, last.position)


def test_what_a_reader_has_told_itself_is_not_read_again(bench, outcome: MakeOutcome):
    start = look(bench.db, bench.study_id, None)
    long, second = bench.claim(), bench.claim()
    finish(bench.db, second, outcome())
    seen = look(bench.db, bench.study_id, start.position, known={second.number})
    assert (seen.trials, seen.progress.complete) == ([], 1)
    finish(bench.db, long, outcome())
    assert [t.number for t in look(bench.db, bench.study_id, seen.position).trials] == [long.number]


def end(db: Database, claimed: Claim, how: str) -> None:
    """Tell that, or give the slot back."""
    if how in ("interrupted", "broke off"):
        release(db, claimed, counts=how == "broke off", max_attempts=2)
    else:
        finish(db, claimed, Outcome(state=how, value=0.5 if how in VALUED else None))


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whoever_follows_a_study_is_told_of_each_end_once(file_db: Database, steps: list[tuple[str, int]]):
    """Whatever ends in whatever order between two looks; counts and seconds are those of who begins now."""
    name = f"study-{next(_names)}"
    study_id = create_study(file_db, name, {}, {}, {}, 8, limits=Limits(trainer_seconds=1e9))
    worker = start_worker(file_db, study_id, host="elsewhere", pid=1)
    point = {"x": FloatDistribution(0.0, 1.0)}
    at = look(file_db, study_id, None)
    held, told = list[Claim](), list[int]()
    for step, choice in [*steps, ("look", 0)]:
        if step == "look":
            at = look(file_db, study_id, at.position)
            told += [trial.number for trial in at.trials]
            assert at.progress == progress(file_db, study_id)
        elif step != "claim":
            if held:
                end(file_db, held.pop(choice % len(held)), step)
        elif claimed := claim(file_db, study_id, worker, lambda offer: {"x": 0.5}, point, position=at.position):
            held.append(claimed)
    assert_same(at.position, look(file_db, study_id, None).position)
    trials = read_study(file_db, name).trials
    assert sorted(told) == [trial.number for trial in trials if trial.state != "running"]


def test_a_worker_of_two_studies_outlives_one(bench, outcome: MakeOutcome):
    other = create_study(bench.db, "other", {}, {}, {}, 1)
    worker = start_worker(bench.db, bench.study_id, host=socket.gethostname(), pid=os.getpid(), role="worker")
    params = bench.claim().params
    for study_id in (bench.study_id, other):
        distributions = {"dropout": FloatDistribution(0.0, 0.5)}
        claimed = claim(bench.db, study_id, worker, lambda offer: {"dropout": params["dropout"]}, distributions)
        assert claimed is not None
        finish(bench.db, claimed, outcome())
    stop_worker(bench.db, worker)
    stop_worker(bench.db, bench.worker_id)
    delete_study(bench.db, bench.study_id)
    assert [t.worker for t in read_study(bench.db, "other").trials] == [f"{socket.gethostname()}:{os.getpid()}"]
