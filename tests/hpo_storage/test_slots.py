"""Claim, finish and release: each slot is finished exactly once."""

import math
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hpo_storage.attempts import reopen
from hpo_storage.checks import broken_rules
from hpo_storage.database import now
from hpo_storage.records import Outcome
from hpo_storage.slots import SlotOffer, finish, pack_curve, release, unpack_curve
from hpo_storage.studies import progress, read_study
from hpo_storage.tables import SLOTS, WORKERS
from hpo_storage.workers import serve, start_worker, stop_worker
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from hpo.errors import LeaseLostError

MakeOutcome = Callable[..., Outcome]


def states(bench) -> list[str]:
    with bench.db.begin_read() as connection:
        return list(connection.scalars(sa.select(SLOTS.c.state).order_by(SLOTS.c.number)))


def test_slots_are_claimed_from_the_lowest(bench):
    claims = [bench.claim() for _ in range(3)]
    assert [c.slot for c in claims] == [0, 1, 2]
    assert [c.number for c in claims] == [0, 1, 2]
    assert len({c.token for c in claims}) == 3
    assert bench.try_claim() is None
    assert progress(bench.db, bench.study_id).open == 0


def test_a_proposal_is_offered_what_is_pending(bench):
    first = bench.claim()
    offers: list[SlotOffer] = []

    def propose(offer: SlotOffer) -> dict:
        offers.append(offer)
        return first.params

    bench.claim(propose)
    assert offers == [SlotOffer(slot=1, attempt=1, pending=(first.params,))]


def test_a_lease_ends_by_the_databases_clock(bench):
    bench.claim()
    with bench.db.begin_read() as connection:
        until = connection.scalar(sa.select(SLOTS.c.lease_until).where(SLOTS.c.number == 0))
        assert 50 < (until - now(connection)).total_seconds() <= 60


@pytest.mark.parametrize("bad", [{}, {"other": 1}, {"dropout": 0.1, "other": 1}])
def test_a_proposal_of_other_parameters_changes_nothing(bench, bad: dict, optuna_trials):
    with pytest.raises(ValueError, match="a proposal must have"):
        bench.claim(lambda offer: bad)
    assert progress(bench.db, bench.study_id).open == 3
    assert optuna_trials(bench.db) == []


def test_a_proposal_outside_its_range_changes_nothing(bench):
    params = bench.claim().params
    with pytest.raises(ValueError, match="dropout"):
        bench.claim(lambda offer: {**params, "dropout": 0.9})
    assert states(bench) == ["claimed"]


def test_a_repeated_finish_changes_nothing(bench, outcome: MakeOutcome):
    claimed = bench.claim()
    finish(bench.db, claimed, outcome(0.5))
    first = read_study(bench.db, "churn")
    finish(bench.db, claimed, outcome(0.125))
    assert read_study(bench.db, "churn") == first
    assert states(bench) == ["complete"]


def test_a_late_result_is_refused(bench, outcome: MakeOutcome):
    late = bench.claim()
    release(bench.db, late, "trainer died")
    with pytest.raises(LeaseLostError, match=r"attempt 1 at slot 0, which has been given"):
        finish(bench.db, late, outcome(0.001))
    again = bench.claim()
    with pytest.raises(LeaseLostError):
        finish(bench.db, late, outcome(0.001))
    finish(bench.db, again, outcome(0.5))
    with pytest.raises(LeaseLostError):
        finish(bench.db, late, outcome(0.001))
    assert [t.value for t in read_study(bench.db, "churn").trials] == [None, 0.5]


def test_a_guessed_token_is_refused(bench, outcome: MakeOutcome):
    claimed = bench.claim()
    with pytest.raises(LeaseLostError):
        finish(bench.db, replace(claimed, token="0" * 32), outcome())
    assert states(bench)[0] == "claimed"


def test_a_released_slot_is_tried_again_with_the_same_parameters(bench, optuna_trials):
    first, *_ = [bench.claim() for _ in range(3)]
    assert release(bench.db, first, "out of memory")
    second = bench.claim(lambda offer: pytest.fail("proposed again"))
    assert (second.slot, second.attempt, second.params) == (first.slot, 2, first.params)
    assert second.token != first.token
    failed, *_, running = optuna_trials(bench.db)
    assert (failed.state, failed.user_attrs["reason"]) == (TrialState.FAIL, "out of memory")
    assert (running.state, running.user_attrs["attempt"]) == (TrialState.RUNNING, 2)
    assert running.params == failed.params


def test_a_slot_fails_for_good_after_its_attempts(bench, outcome: MakeOutcome):
    first, second, _ = [bench.claim() for _ in range(3)]
    assert release(bench.db, first, "died")
    finish(bench.db, second, outcome())
    assert [release(bench.db, bench.claim(), "died") for _ in range(2)] == [True, False]
    assert states(bench) == ["failed", "complete", "claimed"]
    study = read_study(bench.db, "churn")
    assert (study.finished, [t.attempt for t in study.trials if t.slot == 0]) == (2, [1, 2, 3])
    assert broken_rules(bench.db) == []


def test_slots_at_which_attempts_failed_come_last_the_fewest_failures_first(bench):
    for _ in range(3):
        release(bench.db, bench.claim(), "died")
    release(bench.db, bench.claim(), "died")
    claims = [bench.claim() for _ in range(3)]
    assert [(claimed.slot, claimed.attempt) for claimed in claims] == [(1, 2), (2, 2), (0, 3)]


def another(bench):
    """Another worker of the study."""
    return replace(bench, worker_id=start_worker(bench.db, bench.study_id, host="elsewhere", pid=1, role="worker"))


def test_a_slot_goes_to_another_worker_than_the_one_whose_attempt_failed(bench):
    other = another(bench)
    first, *_ = [bench.claim() for _ in range(3)]
    release(bench.db, first, "died")
    assert bench.try_claim() is None
    again = other.claim()
    assert (again.slot, again.attempt) == (0, 2)
    release(bench.db, again, "died")
    both = other.claim()
    assert (both.slot, both.attempt) == (0, 3)
    release(bench.db, both, "died")
    assert bench.claim().attempt == 4


@pytest.mark.parametrize("how", ["ended", "is silent", "serves another study"])
def test_a_slot_does_not_wait_for_a_worker_that_is_not_there(bench, how: str):
    other = another(bench)
    first, *_ = [bench.claim() for _ in range(3)]
    release(bench.db, first, "died")
    if how == "ended":
        stop_worker(bench.db, other.worker_id)
    elif how == "is silent":
        with bench.db.begin_write() as connection:
            theirs = WORKERS.update().where(WORKERS.c.id == other.worker_id)
            connection.execute(theirs.values(last_seen=now(connection) - timedelta(seconds=61)))
    else:
        serve(bench.db, other.worker_id, None)
    assert bench.claim().attempt == 2


def test_nothing_is_final_while_a_machine_has_had_no_success(bench, outcome: MakeOutcome):
    """One that breaks every trial says nothing of them."""
    sick = another(bench)
    serve(bench.db, bench.worker_id, None)
    assert all(release(bench.db, sick.claim(), "died") for _ in range(12))
    assert states(bench) == ["open"] * 3
    serve(bench.db, bench.worker_id, bench.study_id)
    for _ in range(3):
        claimed = bench.claim()
        assert claimed.attempt == 5
        finish(bench.db, claimed, outcome())
    assert broken_rules(bench.db) == []


def test_workers_without_results_are_believed_where_a_healthy_one_of_their_host_failed_too(bench, outcome: MakeOutcome):
    """A trial that ends its worker would be tried for ever; a machine that has had no success proves nothing."""
    poison, done, rest = [bench.claim() for _ in range(3)]
    finish(bench.db, done, outcome())
    finish(bench.db, rest, outcome())
    assert release(bench.db, poison, "died")
    elsewhere = another(bench)
    assert all(release(bench.db, elsewhere.claim(), "died") for _ in range(3))
    stop_worker(bench.db, elsewhere.worker_id)
    stop_worker(bench.db, bench.worker_id)
    here = start_worker(bench.db, bench.study_id, host=socket.gethostname(), pid=1)
    later = replace(bench, worker_id=here)
    assert [release(bench.db, later.claim(), "died") for _ in range(2)] == [True, False]


def test_failed_slots_are_opened_again_while_others_are_worked_on(bench, outcome: MakeOutcome, optuna_trials):
    diverged, done, running = [bench.claim() for _ in range(3)]
    failed = Outcome(state="failed", reason="the Loss is not finite")
    finish(bench.db, diverged, failed)
    finish(bench.db, done, outcome())
    assert (reopen(bench.db, bench.study_id, "memory"), states(bench)[0]) == (0, "failed")
    assert (reopen(bench.db, bench.study_id, "the loss"), states(bench)[0]) == (1, "open")
    assert reopen(bench.db, bench.study_id) == 0
    with pytest.raises(LeaseLostError):
        finish(bench.db, diverged, failed)
    again = bench.claim(lambda offer: pytest.fail("proposed again"))
    assert (again.slot, again.attempt, again.params) == (0, 2, diverged.params)
    assert release(bench.db, again, "died")
    assert release(bench.db, bench.claim(), "died")
    finish(bench.db, bench.claim(), outcome())
    finish(bench.db, running, outcome())
    assert progress(bench.db, bench.study_id).complete == 3
    assert [trial.state for trial in read_study(bench.db, "churn").trials if trial.slot == 0] == [
        *("failed", "failed", "failed", "complete")
    ]
    assert broken_rules(bench.db) == []


def test_an_interruption_does_not_use_up_an_attempt(bench, outcome: MakeOutcome, optuna_trials):
    finish(bench.db, bench.claim(), outcome())
    for _ in range(5):
        assert release(bench.db, bench.claim(), counts=False)
    first, _ = bench.claim(), bench.claim()
    assert release(bench.db, first, "died", max_attempts=2)
    assert not release(bench.db, bench.claim(), "died", max_attempts=2)
    assert [(t.state, t.reason) for t in read_study(bench.db, "churn").trials] == [
        ("complete", None),
        *[("interrupted", None)] * 5,
        ("failed", "died"),
        ("running", None),
        ("failed", "died"),
    ]
    told = [trial for trial in optuna_trials(bench.db) if trial.user_attrs.get("reason") == "interrupted"]
    assert [trial.state for trial in told] == [TrialState.FAIL] * 5


def test_any_reason_can_be_stored(bench):
    release(bench.db, bench.claim(), "NUL \0, surrogate \udc80, 😀 and very long: " + 5000 * "é")
    [trial] = read_study(bench.db, "churn").trials
    assert trial.reason is not None
    assert trial.reason.startswith("NUL ?, surrogate ?, 😀 and very long: éé")
    assert len(trial.reason) == 4000


def test_a_claim_is_released_once(bench, outcome: MakeOutcome):
    claimed = bench.claim()
    release(bench.db, claimed, "died")
    with pytest.raises(LeaseLostError):
        release(bench.db, claimed, "died")
    again = bench.claim()
    finish(bench.db, again, outcome())
    with pytest.raises(LeaseLostError, match="is finished as complete"):
        release(bench.db, again, "died")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["value", "standard_error", "stop_loss", "score_loss", "curve", "info"])
def test_what_is_not_finite_is_refused(bench, outcome: MakeOutcome, number: float, where: str):
    """Fault 18: the caller then finishes the trial as failed."""
    claimed = bench.claim()
    good = outcome()
    if where in ("value", "standard_error"):
        bad = replace(good, **{where: number})
    elif where == "info":
        bad = replace(good, info={"loss": number})
    else:
        content = (1.0, number) if where == "curve" else number
        bad = replace(good, replicates=(replace(good.replicates[0], **{where: content}),))
    with pytest.raises(ValueError, match=r"must be finite|Out of range float"):
        finish(bench.db, claimed, bad)
    assert states(bench)[0] == "claimed"
    finish(bench.db, claimed, Outcome(state="failed", reason="loss was not finite"))
    assert read_study(bench.db, "churn").trials[0].reason == "loss was not finite"


@pytest.mark.parametrize(
    ("state", "value"), [("complete", None), ("raced out", None), ("failed", 0.1), ("pruned", 0.1)]
)
def test_only_complete_trials_have_a_value(bench, state, value):
    with pytest.raises(ValueError, match="complete and raced-out trials have a value"):
        finish(bench.db, bench.claim(), Outcome(state=state, value=value))


def test_a_pruned_trial_tells_its_stop_losses(bench, outcome: MakeOutcome, optuna_trials):
    full = outcome()
    cut = tuple(replace(r, score_loss=None) for r in full.replicates[:1])
    finish(bench.db, bench.claim(), outcome(state="pruned", value=None, reason="hopeless", replicates=cut))
    trial = optuna_trials(bench.db)[0]
    assert (trial.state, trial.value) == (TrialState.PRUNED, None)
    assert trial.intermediate_values == {0: cut[0].stop_loss}
    assert read_study(bench.db, "churn").trials[0].replicates == cut


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=200))
def test_curves_are_kept_to_float32(curve: list[float]):
    packed = pack_curve(tuple(curve))
    assert len(packed) == 4 * len(curve)
    assert unpack_curve(packed) == tuple(curve)


def test_a_curve_beyond_float32_stays_finite():
    assert all(math.isfinite(loss) for loss in unpack_curve(pack_curve((1e300, -1e300))))
