"""One value that holds all that may cut a trial short."""

from hypothesis import given
from hypothesis import strategies as st

from hpo.search.pruners import Incumbent, curve_is_hopeless, race_is_lost
from hpo.search.rules import BEHIND, HOPELESS, Rules
from hpo.search.rungs import Rung

losses = st.floats(0.01, 5.0)
curves = st.lists(losses, min_size=1, max_size=60)
RIVAL = Incumbent(
    score_losses=(0.5, 0.6), stop_losses=(0.5, 0.6), score_deviation=0.05, stop_deviation=0.05, typical_cost=1e6
)
UNKNOWN = Incumbent(score_losses=(0.5, 0.6), stop_losses=(0.5, 0.6), score_deviation=None, stop_deviation=None)


@given(curves, st.integers(0, 1), st.booleans())
def test_nothing_is_cut_short_without_comparison_or_when_switched_off(curve, replicate, racing):
    scores = {replicate: curve[-1]}
    for rules in (Rules(racing=racing), Rules(incumbent=RIVAL, racing=False, curves=False), Rules(incumbent=UNKNOWN)):
        assert not rules.prunes(replicate, curve, 200)
        assert not rules.drops(scores, 1e6)
        assert not rules.decides_early


@given(curves, st.integers(0, 1), st.floats(1e4, 1e8))
def test_each_rule_is_that_of_its_function(curve, replicate, cost):
    rules = Rules(incumbent=RIVAL)
    scores = {replicate: curve[-1]}
    assert rules.prunes(replicate, curve, 200) == curve_is_hopeless(RIVAL, replicate, curve, 200)
    assert rules.drops(scores, cost) == race_is_lost(RIVAL, scores, cost)


def test_rungs_judge_the_first_replicate_only():
    rules = Rules(curves=False, rungs=(Rung(3, 0.4),))
    assert rules.prunes(0, [0.9, 0.8, 0.5], 200)
    assert not rules.prunes(0, [0.9, 0.3, 0.5], 200)
    assert not rules.prunes(0, [0.9, 0.8], 200)
    assert not rules.prunes(1, [0.9, 0.8, 0.5], 200)


def test_the_reason_tells_the_rule():
    assert Rules().pruned_because == HOPELESS
    assert Rules(rungs=(Rung(3, 0.4),)).pruned_because == BEHIND


def test_the_first_replicate_goes_alone_where_it_can_decide():
    assert Rules(incumbent=RIVAL).decides_early
    assert not Rules(incumbent=RIVAL, racing=False).decides_early
