"""Slots that are no trials are served like trials, and the budget, progress and winner do not notice them."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hpo_storage.checks import broken_rules
from hpo_storage.database import now
from hpo_storage.records import Limits, Outcome, Purpose
from hpo_storage.slots import Claim, finish, release
from hpo_storage.studies import list_studies, look, open_studies, progress, read_overview, read_study, set_limits
from hpo_storage.tables import SLOTS, STUDIES, TRIALS
from hpo_storage.workers import beat, list_workers, requeue_orphans, stop_worker, sweep
from optuna.trial import TrialState

MakeOutcome = Callable[..., Outcome]
POINT = {"dropout": 0.25, "learning_rate": 0.01, "activation": "relu", "batch_exponent": 4}


def add_final(bench, number: int = 0) -> None:
    """A slot beside the budget, whose point is known."""
    with bench.db.begin_write() as connection:
        connection.execute(
            SLOTS.insert().values(
                study_id=bench.study_id,
                purpose=Purpose.FINAL,
                number=number,
                state="open",
                params=POINT,
                attempts=0,
                failures=0,
                seconds=0.0,
            )
        )


def claim_final(bench) -> Claim | None:
    return bench.try_claim(purpose=Purpose.FINAL)


def seen(bench) -> tuple[object, ...]:
    """All that is told of the study's budget."""
    told = look(bench.db, bench.study_id, None)
    return (
        progress(bench.db, bench.study_id),
        read_study(bench.db, "churn"),
        list_studies(bench.db),
        [(study.open, study.claimed) for study in open_studies(bench.db)],
        read_overview(bench.db, "churn"),
        (told.progress, told.trials),
    )


def end_lease(bench) -> None:
    with bench.db.begin_write() as connection:
        past = now(connection) - timedelta(seconds=1)
        connection.execute(SLOTS.update().where(SLOTS.c.purpose == Purpose.FINAL).values(lease_until=past))


def test_a_final_is_claimed_renewed_swept_and_finished_unnoticed_by_the_budget(
    bench, outcome: MakeOutcome, optuna_trials
):
    finish(bench.db, bench.claim(), outcome(0.5))
    before = seen(bench)
    add_final(bench)
    assert seen(bench) == before
    first = claim_final(bench)
    assert first is not None
    assert (first.slot, first.attempt, first.params) == (0, 1, POINT)
    assert claim_final(bench) is None
    assert beat(bench.db, bench.worker_id, held={first.trial_id}) == {first.trial_id}
    assert sweep(bench.db, study_id=bench.study_id) == 0
    end_lease(bench)
    assert sweep(bench.db, study_id=bench.study_id) == 1
    again = claim_final(bench)
    assert again is not None
    assert (again.attempt, again.params) == (2, POINT)
    finish(bench.db, again, outcome(0.125))
    finish(bench.db, again, outcome(0.125))
    assert seen(bench) == before
    assert broken_rules(bench.db) == []
    with bench.db.begin_read() as connection:
        ended = connection.execute(sa.select(SLOTS).where(SLOTS.c.purpose == Purpose.FINAL)).one()
        trial = connection.execute(sa.select(TRIALS).where(TRIALS.c.id == again.trial_id)).one()
    assert (ended.state, trial.state, trial.value) == ("complete", "complete", 0.125)
    assert bench.claim().slot == 1


def test_optuna_neither_ranks_a_final_nor_learns_from_it(bench, outcome: MakeOutcome, optuna_trials):
    add_final(bench)
    claimed = claim_final(bench)
    assert claimed is not None
    [running] = optuna_trials(bench.db)
    assert (running.state, running.user_attrs["purpose"]) == (TrialState.RUNNING, "final")
    finish(bench.db, claimed, outcome(0.125))
    [ended] = optuna_trials(bench.db)
    assert (ended.state, ended.value) == (TrialState.FAIL, None)
    assert ended.user_attrs["standard_error"] == 0.25


def test_a_final_neither_begins_a_studys_time_nor_ends_with_it(bench, outcome: MakeOutcome):
    add_final(bench)
    claimed = claim_final(bench)
    assert claimed is not None
    with bench.db.begin_write() as connection:
        assert connection.scalar(sa.select(STUDIES.c.first_claim)) is None
        connection.execute(
            SLOTS.update().where(SLOTS.c.purpose == Purpose.FINAL).values(started=now(connection) - timedelta(hours=1))
        )
    set_limits(bench.db, bench.study_id, Limits(trainer_seconds=60.0, wall_seconds=1e-6))
    assert progress(bench.db, bench.study_id).limit_reached is None
    assert bench.try_claim() is not None
    assert progress(bench.db, bench.study_id).limit_reached == "wall time"
    assert bench.try_claim() is None
    release(bench.db, claimed, counts=False)
    assert claim_final(bench) is not None


def test_what_a_dead_worker_held_is_given_to_others_whatever_it_is_for(bench):
    add_final(bench)
    bench.claim()
    assert claim_final(bench) is not None
    assert [worker.running for worker in list_workers(bench.db)] == [2]
    stop_worker(bench.db, bench.worker_id)
    assert requeue_orphans(bench.db, bench.study_id) == 2
    assert broken_rules(bench.db) == []


def test_slots_of_a_purpose_have_numbers_of_their_own(bench):
    add_final(bench)
    add_final(bench, 1)
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        add_final(bench, 1)
