"""Racing and curve pruning as pure functions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.evaluation.cost import training_cost
from hpo.search.incumbent import MIN_FINISHED, close_deviation, spread
from hpo.search.pruners import (
    COST_Z,
    CURVE_WINDOW,
    FIRST_RACE_Z,
    LEAST_Z,
    MOST_Z,
    RACE_Z,
    Incumbent,
    curve_is_hopeless,
    forecast,
    mean_difference,
    race_is_lost,
    race_z,
    raced_value,
)
from hpo.settings import EvaluationSpec
from hpo.study.resolve import request, resolve
from tests.helpers.records import make_outcome, make_replicate

losses = st.floats(0.01, 5.0)


def incumbent(scores=(0.5, 0.6, 0.4), deviation=0.05, cost=None):
    return Incumbent(
        score_losses=scores,
        stop_losses=scores,
        score_deviation=deviation,
        stop_deviation=deviation,
        typical_cost=cost,
    )


def leaderboard():
    return resolve(request("s", data="wine")).leaderboard()


def outcome(scores, raced_out=False, stops=None, parameters=None):
    replicates = tuple(
        make_replicate(i, stop, score_loss=score)
        for i, (score, stop) in enumerate(zip(scores, stops or scores, strict=True))
    )
    info = {"parameters": parameters} if parameters else {}
    value = sum(scores) / len(scores)
    return make_outcome(value, state="raced out" if raced_out else "complete", info=info, replicates=replicates)


def test_race_needs_more_than_z_standard_errors():
    rival = incumbent(deviation=0.1)
    behind = FIRST_RACE_Z * 0.1
    assert not race_is_lost(rival, {0: 0.5 + behind - 0.001})
    assert race_is_lost(rival, {0: 0.5 + behind + 0.001})
    # The same mean difference counts more with more replicates.
    behind = RACE_Z * 0.1 / 3**0.5
    assert not race_is_lost(rival, {0: 0.5 + behind, 1: 0.6 + behind})
    assert race_is_lost(rival, {0: 0.5 + behind, 1: 0.6 + behind, 2: 0.4 + behind + 0.001})


def test_nothing_is_raced_out_before_the_deviation_is_known():
    assert not race_is_lost(incumbent(deviation=None), {0: 99.0})
    assert not curve_is_hopeless(incumbent(deviation=None), 0, [9.0] * 50, 200)


@given(st.lists(losses, min_size=3, max_size=3), st.lists(losses, min_size=1, max_size=3))
def test_raced_value_is_the_mean_for_a_full_trial(scores, own):
    rival = incumbent(tuple(scores))
    by_replicate = dict(enumerate(own))
    expected = sum(scores) / 3 + sum(own[i] - scores[i] for i in by_replicate) / len(own)
    assert raced_value(rival, by_replicate) == pytest.approx(expected)
    if len(own) == 3:
        assert raced_value(rival, by_replicate) == pytest.approx(sum(own) / 3)
    assert race_is_lost(rival, by_replicate) <= (mean_difference(rival, by_replicate) > 0)


@given(st.lists(losses, min_size=1, max_size=CURVE_WINDOW))
def test_short_curves_are_never_hopeless(curve):
    assert not curve_is_hopeless(incumbent(), 0, curve, 200)


@given(st.floats(0.1, 3.0), st.floats(0.0001, 0.5), st.integers(11, 60))
def test_straight_descent_is_hopeless_only_if_it_cannot_arrive(start, slope, length):
    curve = [start - slope * epoch for epoch in range(length)]
    last = start - slope * 199
    hopeless = curve_is_hopeless(incumbent(deviation=0.004), 0, curve, 200)
    if abs(last - slope - 0.51) > 0.01:
        assert hopeless == (last - slope > 0.51)


def test_flat_curve_above_the_incumbent_is_hopeless():
    assert curve_is_hopeless(incumbent(), 0, [1.0] * 30, 200)
    assert not curve_is_hopeless(incumbent(), 0, [0.5] * 30, 200)


def test_leaderboard_compares_by_replicate():
    board = leaderboard()
    assert board.incumbent() is None
    board.add(0, outcome([0.5, 0.7]))
    board.add(1, outcome([0.4, 0.6]))
    board.add(2, make_outcome(None, state="failed", reason="x"))
    board.add(3, make_outcome(None, state="pruned"))
    assert board.best is not None
    assert board.best.number == 1
    rival = board.incumbent()
    assert rival is not None
    assert rival.score_losses == (0.4, 0.6)
    # One difference of (0.1, 0.1) has no spread.
    assert rival.score_deviation == 0.0
    board.add(4, outcome([0.6, 0.9]))
    rival = board.incumbent()
    # Differences (0.1, 0.1) and (0.2, 0.3): squares around their means 0 and 2 * 0.05**2, one degree each.
    assert rival.score_deviation == pytest.approx((2 * 0.05**2 / 2) ** 0.5)


def test_nothing_is_cut_short_by_a_single_trial():
    board = leaderboard()
    for number in range(MIN_FINISHED - 1):
        board.add(number, outcome([0.5, 0.7]))
    assert board.incumbent().score_deviation is None


def test_deviation_is_that_of_the_closest_contenders():
    close = [[0.0, 0.1], [0.05, 0.15], [0.1, 0.2]]
    far = [[5.0, 50.0], [9.0, -1.0]]
    assert close_deviation(map(spread, [*far, *close])) == pytest.approx(close_deviation(map(spread, close)))
    assert close_deviation(map(spread, [[1.0], []])) is None


def test_a_spread_ignores_the_mean_and_is_unbiased():
    rng = np.random.default_rng(0)
    samples = [rng.normal(place, 2.0, size).tolist() for place, size in enumerate([2, 3, 5] * 5000)]
    spreads = [one for one in map(spread, samples) if one is not None]
    pooled = sum(one.squares for one in spreads) / sum(one.freedom for one in spreads)
    assert pooled == pytest.approx(4.0, rel=0.04)
    assert [one.mean for one in spreads] == [pytest.approx(sum(sample) / len(sample)) for sample in samples]


def test_raced_out_trials_never_win():
    board = leaderboard()
    board.add(0, outcome([0.5, 0.5]))
    board.add(1, outcome([0.1], raced_out=True))
    assert board.best is not None
    assert board.best.number == 0


@given(losses, st.lists(losses, min_size=1, max_size=3), st.floats(1.0, 1e12), st.floats(1.0, 1e12))
def test_a_trial_that_costs_more_must_promise_more(typical, own, cost, dearer):
    rival = incumbent((0.5, 0.6, 0.4), 0.1, typical * 1e5)
    cost, dearer = sorted((cost, dearer))
    scores = dict(enumerate(own))
    assert race_z(rival, len(own), dearer) <= race_z(rival, len(own), cost)
    assert race_is_lost(rival, scores, cost) <= race_is_lost(rival, scores, dearer)
    assert LEAST_Z <= race_z(rival, len(own), cost) <= MOST_Z
    # However dear, a trial that is not behind goes on.
    assert not race_is_lost(rival, {0: 0.5, 1: 0.6}, dearer)


def test_ten_times_the_cost_is_a_step_of_z():
    rival = incumbent(cost=1e6)
    assert race_z(rival, 1, 1e6) == FIRST_RACE_Z
    assert race_z(rival, 1, 1e7) == pytest.approx(FIRST_RACE_Z - COST_Z)
    assert race_z(rival, 2, 10**5.5) == pytest.approx(RACE_Z + COST_Z / 2)
    assert race_z(rival, 1, None) == race_z(incumbent(), 1, 1e9) == FIRST_RACE_Z


def test_the_leaderboard_knows_what_trials_cost():
    board = leaderboard()
    for number, parameters in enumerate((1_000, 50_000, 2_000_000)):
        board.add(number, outcome([0.5, 0.7], parameters=parameters))
    patience = EvaluationSpec().patience
    assert board.incumbent().typical_cost == training_cost(50_000, [0, 0], patience)
    board.add(9, outcome([0.9, 0.9], raced_out=True, parameters=10**9))
    assert board.incumbent().typical_cost == training_cost(50_000, [0, 0], patience)
    strangers = leaderboard()
    strangers.add(0, outcome([0.5, 0.7]))
    assert strangers.incumbent().typical_cost is None


@given(st.lists(losses, min_size=CURVE_WINDOW + 1, max_size=60))
def test_a_forecast_is_optimistic(curve):
    assert forecast(curve, 200) <= min(curve)
    assert forecast(curve, len(curve)) == min(curve)
    assert forecast(curve, 200) <= forecast(curve, 100)


@given(st.lists(st.tuples(losses, losses, st.booleans()), min_size=1, max_size=12))
def test_the_incumbent_does_not_depend_on_when_it_was_looked_at(trials):
    watched, unwatched = leaderboard(), leaderboard()
    for number, (first, second, raced_out) in enumerate(trials):
        for board in (watched, unwatched):
            board.add(number, outcome([first, second][: 1 + number % 2 if raced_out else 2], raced_out=raced_out))
        watched.incumbent()
    assert watched.incumbent() == unwatched.incumbent()
