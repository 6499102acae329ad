"""The states of trials and studies, the winner, and what is left to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hpo_storage.records import Limits, StudyProgress, StudyRecord, StudySummary, TrialRecord, TrialState

from hpo.study import standing
from hpo.study.standing import NextStep, StudyState

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def trial(number: int, state: str = "complete", value: float | None = None, **changes: Any) -> TrialRecord:
    fields = {
        "number": number,
        "slot": number,
        "attempt": 1,
        "state": TrialState(state),
        "params": {},
        "value": value,
        "standard_error": None,
        "reason": None,
        "started": BEGIN,
        "finished": None if state == "running" else BEGIN + timedelta(seconds=2),
        "worker": "host:1",
        "trainer": 0,
        "info": {},
        "replicates": (),
    }
    return TrialRecord(**(fields | changes))


def study(*trials: TrialRecord, **changes: Any) -> StudyRecord:
    fields = {
        "id": 1,
        "name": "churn",
        "spec": {},
        "facts": {},
        "environment": {},
        "created": BEGIN,
        "budget": 10,
        "finished": 0,
        "running": False,
        "trials": trials,
    }
    return StudyRecord(**(fields | changes))


def test_the_least_value_wins_and_of_equal_ones_the_first_trial():
    made = study(trial(0, value=0.5), trial(1, value=0.25), trial(2, value=0.25), trial(3, "raced out", 0.1))
    assert [one.number for one in standing.ranked(made)] == [1, 2, 0]
    assert standing.winner(made).number == 1


@pytest.mark.parametrize("state", ["running", "pruned", "failed", "interrupted", "raced out"])
def test_who_lacks_replicates_never_wins(state):
    made = study(trial(0, state, 0.1 if state == "raced out" else None))
    assert (standing.ranked(made), standing.winner(made)) == ((), None)


def test_a_running_trial_is_interrupted_where_nobody_runs_its_study():
    made = study(trial(0, "interrupted"), trial(1, "failed"), trial(2, "running"))
    live = replace(made, running=True)
    assert [standing.trial_state(live, one) for one in live.trials] == ["interrupted", "failed", "running"]
    assert [standing.trial_state(made, one) for one in made.trials] == ["interrupted", "failed", "interrupted"]
    assert standing.running(live) == [2]
    assert standing.running(made) == []


def test_counts_add_up_to_what_is_finished():
    states = ["complete", "raced out", "pruned", "failed", "running", "interrupted"]
    made = study(*(trial(number, state) for number, state in enumerate(states)), finished=4, running=True)
    assert standing.counts(made) == {"complete": 1, "raced out": 1, "pruned": 1, "failed": 1}
    assert standing.left(made) == 5
    assert standing.left(replace(made, running=False)) == 6


def test_an_attempt_that_was_repeated_is_no_failed_trial():
    first, second = trial(0, "failed", reason="died"), trial(1, value=0.5, slot=0, attempt=2)
    made = study(first, second, budget=1, finished=1)
    assert standing.counts(made)[TrialState.FAILED] == 0
    assert standing.attempts_repeated(made) == 1
    assert standing.failure_reasons(made) == []


def test_reasons_are_those_of_last_attempts():
    made = study(
        trial(0, "failed", reason="died"),
        trial(1, "failed", slot=0, attempt=2, reason="diverged"),
        trial(2, "failed"),
        trial(3, "failed", reason="diverged"),
        trial(4, "interrupted"),
    )
    assert standing.failure_reasons(made) == [("diverged", 2), ("no reason was stored", 1)]


OVER = {"limit_reached": "wall time"}


@pytest.mark.parametrize(
    ("changes", "state", "step"),
    [
        ({}, StudyState.UNFINISHED, NextStep(action="run")),
        ({"running": True}, StudyState.RUNNING, NextStep(action="status")),
        ({"running": True, "finished": 10}, StudyState.RUNNING, NextStep(action="status")),
        ({"finished": 10}, StudyState.FINISHED, NextStep(action="run", trials=20)),
        ({"finished": 10, "trials": ()}, StudyState.FINISHED, NextStep(action="trials")),
        (OVER, StudyState.OVER, NextStep(action="run", lifts="wall time")),
        (OVER | {"running": True}, StudyState.RUNNING, NextStep(action="status")),
    ],
)
def test_the_state_of_a_study_and_what_to_do_next(changes, state, step):
    made = replace(study(trial(0, value=0.5), finished=1), **changes)
    assert standing.study_state(made) == state
    assert standing.next_step(made) == step
    assert standing.is_over(made) == (made.finished == 10 or made.limit_reached is not None)


def test_a_listed_study_has_the_state_that_it_has_when_read():
    line = StudySummary(id=1, name="churn", created=BEGIN, budget=2, finished=1, running=False, best_value=None)
    assert standing.study_state(line) == "unfinished"
    assert standing.study_state(replace(line, limit_reached="trainer seconds")) == "over"
    assert standing.study_state(replace(line, finished=2)) == "finished"


def test_a_study_that_is_followed_is_over_when_its_last_slot_is_used_up():
    nothing = {"complete": 0, "raced_out": 0, "pruned": 0, "failed": 0, "limit_reached": None, "limits": Limits()}
    far = StudyProgress(budget=2, open=1, claimed=1, **nothing)
    assert not standing.is_over(far)
    assert standing.is_over(replace(far, limit_reached="wall time"))
    done = replace(far.after(TrialState.RACED_OUT), claimed=1, open=0)
    assert (done.raced_out, done.claimed, standing.is_over(done)) == (1, 1, False)
    assert standing.is_over(done.after(TrialState.FAILED))
    assert far.after(None) == replace(far, open=2, claimed=0)
