"""Limits on a study, progress, and which studies have something to do."""

import os
import socket
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hpo_storage.records import Limits, Outcome, StudyProgress
from hpo_storage.slots import claim, finish, release
from hpo_storage.studies import (
    create_study,
    delete_study,
    find_study,
    finished_since,
    open_studies,
    progress,
    read_study,
    set_limits,
)
from hpo_storage.tables import SLOTS, STUDIES
from hpo_storage.workers import start_worker, stop_worker
from optuna.distributions import FloatDistribution

from hpo.errors import StudyError, StudyNotFoundError

MakeOutcome = Callable[..., Outcome]


def begin_earlier(bench, seconds: float) -> None:
    """Let the study's first claim, and what runs, have begun that much earlier."""
    with bench.db.begin_write() as connection:
        for table, column in ((STUDIES, STUDIES.c.first_claim), (SLOTS, SLOTS.c.started)):
            for key, began in connection.execute(sa.select(table.c.id, column).where(column.is_not(None))).all():
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
        connection.execute(SLOTS.update().where(SLOTS.c.number == 2).values(seconds=10.0))
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


def test_following_a_study(bench, outcome: MakeOutcome):
    first, second, third = bench.claim(), bench.claim(), bench.claim()
    assert finished_since(bench.db, bench.study_id, -1) == ([], -1)
    finish(bench.db, first, outcome())
    finish(bench.db, third, outcome())
    trials, after = finished_since(bench.db, bench.study_id, -1)
    assert ([t.number for t in trials], after) == ([0, 2], first.trial_id)
    whole = read_study(bench.db, "churn").trials[0]
    assert [r.score_loss for r in trials[0].replicates] == [r.score_loss for r in whole.replicates]
    assert {r.curve for t in trials for r in t.replicates} == {()}
    finish(bench.db, second, outcome(state="pruned", value=None))
    trials, after = finished_since(bench.db, bench.study_id, after)
    assert ([(t.number, t.state) for t in trials], after) == ([(1, "pruned"), (2, "complete")], third.trial_id)
    assert finished_since(bench.db, bench.study_id, after) == ([], after)


def test_a_look_that_finds_nothing_new_reads_no_trial(bench, outcome: MakeOutcome):
    """While one long trial keeps `after` below it."""
    long, second, third = bench.claim(), bench.claim(), bench.claim()
    finish(bench.db, second, outcome())
    assert finished_since(bench.db, bench.study_id, -1, known={second.number}) == ([], -1)
    finish(bench.db, third, outcome())
    trials, after = finished_since(bench.db, bench.study_id, -1, known={second.number})
    assert ([t.number for t in trials], after) == ([third.number], -1)
    finish(bench.db, long, outcome())
    trials, after = finished_since(bench.db, bench.study_id, -1, known={second.number, third.number})
    assert (trials[0].number, after) == (long.number, third.trial_id)


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
