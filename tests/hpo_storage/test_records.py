"""Values that are kept as JSON come back, also those of the version before."""

import json
from collections.abc import Callable

import pytest
from hpo_storage.records import ACCEPTED, FINISHED, RANKED, VALUED, Outcome, TrialState

MakeOutcome = Callable[..., Outcome]


@pytest.mark.parametrize("state", TrialState)
def test_an_outcome_comes_back_from_json(outcome: MakeOutcome, state: TrialState):
    made = outcome(state=state)
    back = Outcome.from_json(json.loads(json.dumps(made.to_json())))
    assert back == made
    assert back.state is state


@pytest.mark.parametrize(("raced_out", "state"), [(True, TrialState.RACED_OUT), (False, TrialState.COMPLETE)])
def test_what_the_version_before_kept_on_disk_is_read(outcome: MakeOutcome, raced_out: bool, state: TrialState):
    kept = {**outcome().to_json(), "state": "complete", "raced_out": raced_out}
    assert Outcome.from_json(json.loads(json.dumps(kept))) == outcome(state=state)


def test_a_state_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'lost' is not a valid TrialState"):
        Outcome(state="lost")


def test_who_wins_has_a_value_and_what_has_a_value_is_a_result():
    assert RANKED < VALUED < ACCEPTED < FINISHED == set(TrialState) - {TrialState.RUNNING, TrialState.INTERRUPTED}
