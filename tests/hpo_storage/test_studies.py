"""Studies: what is stored is what is read back."""

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime

import optuna
import pytest
import sqlalchemy as sa
from hpo_storage.database import Database
from hpo_storage.records import Limits, Outcome, StudyRecord, TrialRecord
from hpo_storage.slots import claim, finish, release
from hpo_storage.studies import (
    create_study,
    delete_study,
    extend_study,
    find_study,
    list_studies,
    progress,
    read_overview,
    read_study,
    set_limits,
    trainer_seconds,
)
from hpo_storage.workers import start_worker, stop_worker

from hpo.errors import StudyError, StudyNotFoundError, StudyRunningError
from hpo.study.standing import counts, failure_reasons, next_step, running, study_state, winner

MakeOutcome = Callable[..., Outcome]


def test_a_study_is_found_as_it_was_created(bench):
    header = find_study(bench.db, "churn")
    assert header is not None
    study = read_study(bench.db, "churn")
    for field in ("id", "name", "spec", "facts", "environment", "budget", "created"):
        assert getattr(header, field) == getattr(study, field)
    assert (study.id, study.budget, study.finished, study.trials) == (bench.study_id, 3, 0, ())
    assert study.facts["notes"] == ["ümlaut </script>"]
    assert abs((datetime.now(UTC) - study.created).total_seconds()) < 60
    assert find_study(bench.db, "other") is None


def test_a_study_round_trip(bench, outcome: MakeOutcome):
    claims = [bench.claim() for _ in range(3)]
    finish(bench.db, claims[0], outcome(0.5))
    finish(bench.db, claims[1], outcome(0.25, state="raced out", reason="raced out"))
    release(bench.db, claims[2], "trainer died")
    again = bench.claim()
    study = read_study(bench.db, "churn")
    assert isinstance(study, StudyRecord)
    assert (study.finished, study.running, study.facts["replicates"]) == (2, True, 2)
    first = study.trials[0]
    good = outcome(0.5)
    assert first == TrialRecord(
        number=0,
        slot=0,
        attempt=1,
        state="complete",
        params=claims[0].params,
        value=good.value,
        standard_error=good.standard_error,
        reason=None,
        started=first.started,
        finished=first.finished,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        trainer=0,
        info=good.info,
        replicates=good.replicates,
    )
    assert first.finished is not None
    assert first.started <= first.finished
    told = [(t.slot, t.attempt, t.state, t.reason) for t in study.trials[1:]]
    assert told == [
        (1, 1, "raced out", "raced out"),
        (2, 1, "failed", "trainer died"),
        (2, 2, "running", None),
    ]
    assert study.trials[3].number == again.number
    assert winner(study) == first


def test_an_overview_says_what_the_record_does(bench, outcome: MakeOutcome):
    extend_study(bench.db, bench.study_id, 9)
    ends = [outcome(0.5), outcome(0.25), outcome(0.125, state="raced out"), outcome(None, state="pruned")]
    for end in (*ends, *[Outcome(state="failed", reason=reason) for reason in ("b", None, "a", "a")]):
        study, overview = read_study(bench.db, "churn"), read_overview(bench.db, "churn")
        for said in (winner, counts, running, next_step, study_state):
            assert said(overview) == said(study)
        assert set(failure_reasons(overview)) == set(failure_reasons(study))
        finish(bench.db, bench.claim(), end)
    assert failure_reasons(read_overview(bench.db, "churn"))[0] == ("a", 2)
    bench.claim()
    assert running(read_overview(bench.db, "churn")) == running(read_study(bench.db, "churn")) == [8]
    study, overview = read_study(bench.db, "churn"), read_overview(bench.db, "churn")
    for name in ("id", "name", "spec", "facts", "created", "budget", "limits", "finished", "running", "limit_reached"):
        assert getattr(overview, name) == getattr(study, name)
    assert trainer_seconds(bench.db, bench.study_id) == sum(
        r.seconds for trial in study.trials for r in trial.replicates
    )
    with pytest.raises(StudyNotFoundError, match=r"got 'chrun'; use one of churn"):
        read_overview(bench.db, "chrun")


def test_the_trainer_is_kept(bench):
    params = bench.claim().params
    distributions = {"dropout": optuna.distributions.FloatDistribution(0.0, 0.5)}
    offered = {"dropout": params["dropout"]}
    claim(bench.db, bench.study_id, bench.worker_id, lambda offer: offered, distributions, trainer=3)
    assert [t.trainer for t in read_study(bench.db, "churn").trials] == [0, 3]


def test_a_missing_study_is_told_what_there_is(bench):
    with pytest.raises(StudyNotFoundError, match=r"got 'chrun'; use one of churn"):
        read_study(bench.db, "chrun")


def test_a_missing_study_of_an_empty_database(db: Database):
    with pytest.raises(StudyNotFoundError, match="there is none in this database yet"):
        read_study(db, "churn")
    assert list_studies(db) == []


def test_a_name_is_used_once(bench):
    before = list_studies(bench.db)
    with pytest.raises(StudyError, match="needs a name of its own, got 'churn'"):
        create_study(bench.db, "churn", {}, {}, {}, 5)
    assert list_studies(bench.db) == before


def test_an_optuna_study_of_that_name_is_left_alone(db: Database):
    with db.begin_write() as connection:
        connection.exec_driver_sql("INSERT INTO studies (study_name) VALUES ('theirs')")
    with pytest.raises(StudyError, match="got 'theirs'"):
        create_study(db, "theirs", {}, {}, {}, 5)


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_is_at_least_one(db: Database, budget: int):
    with pytest.raises(StudyError, match=rf"at least 1, .* got {budget}; use trials=1 or more"):
        create_study(db, "a", {}, {}, {}, budget)


def test_extending(bench, outcome: MakeOutcome):
    finish(bench.db, bench.claim(), outcome())
    extend_study(bench.db, bench.study_id, 5)
    assert progress(bench.db, bench.study_id).open == 4
    assert [bench.claim().slot for _ in range(4)] == [1, 2, 3, 4]
    extend_study(bench.db, bench.study_id, 5)
    assert progress(bench.db, bench.study_id).open == 0
    assert read_study(bench.db, "churn").budget == 5
    with pytest.raises(StudyError, match=r"at least 5, .* got 4"):
        extend_study(bench.db, bench.study_id, 4)


def test_listing(bench, outcome: MakeOutcome):
    create_study(bench.db, "second", {}, {}, {}, 7)
    finish(bench.db, bench.claim(), outcome(0.5))
    finish(bench.db, bench.claim(), outcome(0.25, state="raced out"))
    finish(bench.db, bench.claim(), Outcome(state="failed", reason="loss was not finite"))
    listed = list_studies(bench.db)
    assert [(s.name, s.budget, s.finished, s.running, s.best_value) for s in listed] == [
        ("churn", 3, 3, True, 0.5),
        ("second", 7, 0, False, None),
    ]
    assert [s.limit_reached for s in listed] == [None, None]
    set_limits(bench.db, listed[1].id, Limits(wall_seconds=1e-6))
    worker = start_worker(bench.db, listed[1].id, host="elsewhere", pid=1)
    params = {"dropout": optuna.distributions.FloatDistribution(0.0, 0.5)}
    assert claim(bench.db, listed[1].id, worker, lambda offer: {"dropout": 0.1}, params)
    assert [s.limit_reached for s in list_studies(bench.db)] == [None, "wall time"]


def rows(bench) -> dict[str, int]:
    tables = sa.MetaData()
    with bench.db.begin_read() as connection:
        tables.reflect(connection)
        count = sa.select(sa.func.count())
        return {table.name: connection.scalar(count.select_from(table)) for table in tables.sorted_tables}


def work(bench, outcome: MakeOutcome) -> None:
    finish(bench.db, bench.claim(), outcome())
    release(bench.db, bench.claim(), "died")
    bench.claim()


def test_deleting_leaves_nothing_and_no_other_study_changed(bench, outcome: MakeOutcome):
    work(bench, outcome)
    stop_worker(bench.db, bench.worker_id)
    kept = rows(bench)
    other = create_study(bench.db, "other", {}, {}, {}, 2)
    worker = start_worker(bench.db, other, host=socket.gethostname(), pid=os.getpid())
    for _ in range(2):
        params = {"dropout": optuna.distributions.FloatDistribution(0.0, 0.5)}
        claimed = claim(bench.db, other, worker, lambda offer: {"dropout": 0.1}, params)
        finish(bench.db, claimed, outcome())
    stop_worker(bench.db, worker)
    delete_study(bench.db, other)
    assert rows(bench) == kept
    delete_study(bench.db, bench.study_id)
    left = {name: count for name, count in rows(bench).items() if count}
    assert left == {"version_info": 1, "alembic_version": 1, "hpo_alembic_version": 1}
    create_study(bench.db, "churn", {}, {}, {}, 1)


def test_a_study_at_work_is_not_deleted(bench):
    bench.claim()
    with pytest.raises(StudyRunningError):
        delete_study(bench.db, bench.study_id)
    assert find_study(bench.db, "churn") is not None
