"""Successive halving and Hyperband: rungs, brackets, thresholds."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.search.incumbent import Leaderboard
from hpo.search.rungs import FIRST_EPOCHS, REDUCTION, Rung, Rungs, is_behind, rung_epochs, rungs_skipped
from hpo.settings import EvaluationSpec, SearchSpec
from tests.helpers.records import make_outcome, make_replicate

losses = st.floats(0.01, 5.0)
curves = st.lists(losses, min_size=1, max_size=80)


@given(st.integers(1, 2000))
def test_rungs_are_a_third_of_the_next(max_epochs):
    rungs = rung_epochs(max_epochs)
    assert all(FIRST_EPOCHS <= epochs < max_epochs for epochs in rungs)
    assert all(low == high // REDUCTION for low, high in pairwise([*rungs, max_epochs]))
    assert bool(rungs) == (max_epochs >= REDUCTION * FIRST_EPOCHS)


def test_rungs_of_the_default_protocol():
    assert rung_epochs(200) == (22, 66)


@pytest.mark.parametrize("rungs", [0, 1, 2, 4])
def test_brackets_have_hyperband_s_shares(rungs):
    slots = 3000
    counts = Counter(rungs_skipped(slot, rungs) for slot in range(slots))
    shares = [REDUCTION**left / (left + 1) for left in range(rungs, -1, -1)]
    for skipped, share in enumerate(shares):
        assert counts[skipped] / slots == pytest.approx(share / sum(shares), abs=0.01)
    assert sum(counts[skipped] for skipped in range(rungs + 1)) == slots


def test_every_stretch_of_slots_has_its_brackets():
    for first in range(0, 100, 10):
        assert len({rungs_skipped(slot, 2) for slot in range(first, first + 10)}) == 3


@given(st.lists(losses, min_size=REDUCTION, max_size=40))
def test_a_third_passes_a_rung(reached):
    rungs = Rungs((1,))
    for loss in reached:
        rungs.add([loss], ended=True)
    (rung,) = rungs.thresholds()
    passing = [loss for loss in reached if not is_behind([rung], [loss])]
    assert len(passing) >= len(reached) / REDUCTION
    assert sum(loss < rung.threshold for loss in reached) < len(reached) / REDUCTION
    assert min(reached) in passing


@given(st.lists(st.tuples(curves, st.booleans()), max_size=20), st.randoms())
def test_thresholds_do_not_depend_on_the_order(trials, random):
    ordered, mixed = Rungs((10, 30)), Rungs((10, 30))
    for curve, ended in trials:
        ordered.add(curve, ended=ended)
    random.shuffle(trials)
    for curve, ended in trials:
        mixed.add(curve, ended=ended)
    assert ordered.thresholds() == mixed.thresholds()


def test_a_trial_is_compared_at_the_rungs_that_it_came_to():
    rungs = Rungs((2, 4))
    rungs.add([0.5, 0.4, 0.9], ended=False)  # pruned before the second rung
    rungs.add([0.3], ended=True)  # stopped by itself, as good at both rungs as it ever was
    rungs.add([0.9, 0.8, 0.7, 0.6, 0.1], ended=False)
    rungs.add([], ended=True)  # its curve was not read
    assert rungs.thresholds() == (Rung(2, 0.3),)
    rungs.add([0.9, 0.8, 0.2, 0.3], ended=False)
    assert rungs.thresholds() == (Rung(2, 0.4), Rung(4, 0.2))


@given(curves, st.integers(1, 80), losses)
def test_a_trial_is_judged_at_its_rung_alone(curve, epochs, threshold):
    rungs = [Rung(epochs, threshold)]
    expected = len(curve) == epochs and min(curve) > threshold
    assert is_behind(rungs, curve) == expected
    assert not is_behind([], curve)


def trial(loss, epochs=70):
    curve = (loss,) * epochs
    return make_outcome(loss, replicates=tuple(make_replicate(i, loss, curve=curve) for i in (0, 1)))


def filled(pruner):
    board = Leaderboard(SearchSpec(pruner=pruner), EvaluationSpec().max_epochs)
    for number in range(6):
        board.add(number, trial(0.1 * (number + 1)))
    return board


def test_rules_follow_the_pruner():
    both = (Rung(22, pytest.approx(0.2)), Rung(66, pytest.approx(0.2)))
    assert filled("halving").rules(0).rungs == both
    spared = {slot: filled("hyperband").rules(slot).rungs for slot in range(10)}
    assert {len(rungs) for rungs in spared.values()} == {0, 1, 2}
    assert spared == {slot: both[rungs_skipped(slot, 2) :] for slot in range(10)}
    for pruner in ("curve", "none"):
        assert filled(pruner).rules(0).rungs == ()
    assert [filled(pruner).rules(0).curves for pruner in ("curve", "halving", "none")] == [True, False, False]


def test_pruned_trials_stay_in_the_comparison_as_far_as_they_came():
    board = filled("halving")
    lost = make_replicate(0, 0.9, score_loss=None, curve=(0.01,) * 22)
    for number in range(6, 12):
        board.add(number, make_outcome(None, state="pruned", replicates=(lost,)))
    first, second = board.rules(0).rungs
    assert (first.threshold, second.threshold) == (0.01, pytest.approx(0.2))
    board.add(12, make_outcome(None, state="failed", reason="x", replicates=(lost,)))
    assert board.rules(0).rungs == (first, second)
