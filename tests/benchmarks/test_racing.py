"""The replay cuts trials short where the engine would."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo.search.pruners import Incumbent
from hpo.search.rules import Rules
from hpo.search.rungs import Rung
from tests.helpers.records import make_replicate

REPLICATES = 5
losses = st.floats(0.05, 3.0)
curves = st.lists(losses, min_size=1, max_size=40)
RIVAL = Incumbent(
    score_losses=(0.5,) * REPLICATES,
    stop_losses=(0.5,) * REPLICATES,
    score_deviation=0.05,
    stop_deviation=0.05,
    typical_cost=1e6,
)
shared_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def racing(load):
    return load("racing")


def record(index, curve, score):
    best = int(np.argmin(curve))
    return make_replicate(index, curve[best], score_loss=score, best_epoch=best, seconds=2.0, curve=tuple(curve))


def full(racing, scores=(0.5,) * REPLICATES, curve=(0.6, 0.5), parameters=1000):
    return racing.full_trial(0, parameters, [record(i, curve, score) for i, score in enumerate(scores)])


@shared_fixture
@given(curves, st.integers(0, 1), st.booleans(), st.lists(st.tuples(st.integers(1, 40), losses), max_size=3))
def test_a_replicate_ends_when_the_trainer_would_end_it(racing, curve, replicate, judges, rungs):
    rules = Rules(incumbent=RIVAL, curves=judges, rungs=tuple(Rung(*rung) for rung in sorted(rungs)))
    trial = full(racing, curve=curve)
    asked = range(1, len(curve))  # a trainer does not ask after the epoch that ends the training
    expected = next((n for n in asked if rules.prunes(replicate, curve[:n], racing.MAX_EPOCHS)), None)
    assert racing.pruned_at(trial, replicate, rules) == expected


def test_a_small_network_pays_for_its_block(racing):
    bad = (0.5, 0.9, 0.9, 0.9, 0.9)
    assert racing.replay_trial(full(racing, bad), Rules(incumbent=RIVAL))[0] == 2.0 * REPLICATES
    seconds, outcome = racing.replay_trial(full(racing, bad, parameters=10**6), Rules(incumbent=RIVAL))
    assert (seconds, len(outcome.replicates), outcome.state) == (4.0, 2, "raced out")
    seconds, outcome = racing.replay_trial(full(racing, (0.9,) * REPLICATES), Rules(incumbent=RIVAL))
    assert (seconds, len(outcome.replicates), outcome.state) == (2.0, 1, "raced out")


def test_a_pruned_block_costs_its_epochs(racing):
    trial = full(racing, curve=(0.9,) * 20)
    seconds, outcome = racing.replay_trial(trial, Rules(curves=False, rungs=(Rung(5, 0.1),)))
    assert seconds == pytest.approx(2.0 * REPLICATES * 5 / 20)
    assert outcome.state == "pruned"
    assert {len(r.curve) for r in outcome.replicates} == {5}


def test_without_rules_nothing_is_saved_or_lost(racing):
    trials = [replace(full(racing, (0.1 * n,) * REPLICATES), number=n - 1) for n in (3, 1, 2)]
    trials = [replace(trial, number=n) for n, trial in enumerate(trials)]
    ended = racing.replay(trials, [2, 0, 1], racing.RULES["nothing"], trials[1], 0.01)
    assert ended == racing.Study(seconds=30.0, regret=0.0, seconds_to_quality=30.0)


def test_intervals(racing):
    assert racing.wilson(0, 500) == pytest.approx((0.0, 0.00762), abs=1e-4)
    assert racing.median_interval(500) == (228, 271)


def test_the_stored_tables_can_be_read(racing):
    for name in racing.TABLES:
        trials = racing.load(name)
        assert len(trials) > 40
        assert all(len(trial.replicates) == REPLICATES for trial in trials)
