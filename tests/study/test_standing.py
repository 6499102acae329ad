"""The states of trials and studies, the winner, and what is left to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hpo_storage.records import (
    Activity,
    BrokenOff,
    Limits,
    StudyProgress,
    StudyRecord,
    StudySummary,
    TrialRecord,
    TrialState,
    WorkerRecord,
)

from hpo.errors import PYTHON, written
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


def worker(pid: int, note: str | None = None, *, study: str | None = "churn", alive: bool = True) -> WorkerRecord:
    return WorkerRecord(
        id=str(pid),
        study=study,
        role="worker",
        host="node",
        pid=pid,
        device="cpu",
        backend="tensorflow",
        trainers=1,
        started=BEGIN,
        last_seen=BEGIN + timedelta(seconds=1),
        stopped=None if alive else BEGIN,
        alive=alive,
        running=0,
        finished=0,
        trials_per_hour=0.0,
        note=note,
    )


DIED = (BrokenOff("node", "trainer died", 3), BrokenOff("other", None, 1))


@pytest.mark.parametrize(
    ("changes", "activity", "cause", "text"),
    [
        ({}, {"workers": ()}, "no worker", "no worker serves it; start one: `hpo worker` in a shell"),
        ({}, {"workers": (worker(1, "no such module", study=None),)}, "no worker", "node:1 said: no such module"),
        ({}, {"workers": (worker(1, "sick", alive=False),)}, "no worker", "node:1 said: sick"),
        ({"running": True}, {"workers": (worker(1, "folder is full"),)}, "its workers cannot", "said: folder is full"),
        (
            {"running": True},
            {"broken_off": 4, "failures": 4, "reasons": DIED, "claimed": 1},
            "all that is open broke off",
            "all 4 open trials broke off before: 3 attempts on node (trainer died), 1 attempt on other (no reason was",
        ),
        ({"running": True}, {"open": 0, "claimed": 2}, "all is claimed", "its last 2 trials run"),
        ({"limit_reached": "wall time"}, {}, "limit", "its wall time is used up; give it more: hpo.tune(..., study='"),
    ],
)
def test_why_a_study_waits(changes, activity, cause, text):
    given = {"open": 4, "claimed": 0, "broken_off": 0, "failures": 0, "reasons": (), "workers": (worker(7),)}
    found = standing.waiting(replace(study(), **changes), Activity(**(given | activity)))
    assert found is not None
    assert found.cause == cause
    assert text in written(found.text, PYTHON)


@pytest.mark.parametrize(
    ("changes", "activity"),
    [
        ({"finished": 10}, {"workers": ()}),
        ({"running": True}, {}),
        ({"running": True}, {"claimed": 1, "workers": (worker(1, "rests"),)}),
        ({"running": True}, {"broken_off": 3, "claimed": 1}),
    ],
)
def test_a_study_that_goes_on_does_not_wait(changes, activity):
    given = {"open": 4, "claimed": 0, "broken_off": 0, "failures": 0, "reasons": (), "workers": (worker(7),)}
    assert standing.waiting(replace(study(), **changes), Activity(**(given | activity))) is None


def test_what_an_ended_worker_said_before_the_last_result_is_past():
    made = study(trial(0, value=0.5), finished=1)
    last = made.trials[0].finished
    nobody = {"open": 9, "claimed": 0, "broken_off": 0, "failures": 0, "reasons": (), "last_result": last}
    found = standing.waiting(made, Activity(**nobody, workers=(worker(1, "sick", alive=False),)))
    assert found is not None
    assert "sick" not in found.text
