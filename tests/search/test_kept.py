"""What a search looks at of a long study, and that it comes to the same as looking at all of a shorter one."""

from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest
from hpo_storage.records import Outcome
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.search import kept as kept_module
from hpo.search.incumbent import CLOSE_LEAST, CLOSE_SHARE, Leaderboard
from hpo.search.kept import Kept
from hpo.settings import SearchSpec
from tests.helpers.records import make_outcome, make_replicate

HALF = 5
values = st.lists(st.one_of(st.none(), st.floats(0.0, 9.0)), max_size=40)


@pytest.fixture(autouse=True, scope="module")
def few():
    """So that tests need not make thousands of trials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_module, "SHOWN_TRIALS", 2 * HALF)
        yield


def by_definition(values: Sequence[float | None]) -> list[int]:
    before, latest = range(len(values))[:-HALF], range(len(values))[-HALF:]
    best = sorted(before, key=lambda number: (values[number] is None, values[number] or 0.0, number))
    return sorted([*best[:HALF], *latest])


@given(values, st.randoms(use_true_random=False))
def test_the_latest_are_kept_and_the_best_of_those_before(values, random: Random):
    kept = Kept[int]()
    for number in random.sample(range(len(values)), len(values)):
        kept.add(number, values[number], number)
    assert kept.by_number() == sorted(kept) == by_definition(values)


@given(values)
def test_who_begins_with_what_is_kept_goes_on_like_who_was_there(values):
    there, begins = Kept[int](), Kept[int]()
    middle = len(values) // 2
    for number, value in enumerate(values[:middle]):
        there.add(number, value, number)
    for number in there.by_number():
        begins.add(number, values[number], number)
    for number, value in enumerate(values[middle:], middle):
        for one in (there, begins):
            one.add(number, value, number)
    assert there.by_number() == begins.by_number()


def deviation(best: Outcome, others: Sequence[Outcome], loss: Callable[..., float | None]) -> float | None:
    """Of the closest contenders, as it was defined when each new trial had all compared again."""
    samples = []
    for other in others:
        pairs = [(loss(mine), loss(theirs)) for mine, theirs in zip(other.replicates, best.replicates, strict=False)]
        samples.append([mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None])
    samples = sorted((one for one in samples if len(one) > 1), key=lambda one: sum(one) / len(one))
    arrays = [np.asarray(one) for one in samples[: max(CLOSE_LEAST, int(CLOSE_SHARE * len(samples)))]]
    freedom = sum(len(one) - 1 for one in arrays)
    return float((sum(((one - one.mean()) ** 2).sum() for one in arrays) / freedom) ** 0.5) if freedom else None


losses = st.lists(st.floats(0.25, 4.0), min_size=3, max_size=3)
trials = st.lists(st.tuples(losses, st.sampled_from(("complete", "raced out", "pruned")), st.integers(1, 3)))


@given(trials, st.integers(1, 7))
@settings(deadline=None)
def test_the_incumbent_is_that_of_all_trials_of_a_study_of_a_thousand(trials, every: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_module, "SHOWN_TRIALS", 1000)
        board = Leaderboard(SearchSpec())
        outcomes = []
        for number, (scores, state, replicates) in enumerate(trials):
            count = 3 if state == "complete" else replicates
            records = tuple(make_replicate(i, loss + 0.5, score_loss=loss) for i, loss in enumerate(scores[:count]))
            value = None if state == "pruned" else sum(scores[:count]) / count
            outcomes.append(make_outcome(value, state=state, replicates=records))
            board.add(number, outcomes[-1])
            if number % every == 0:
                board.incumbent()
    full = [one for one in outcomes if one.state == "complete"]
    found = board.incumbent()
    if not full:
        assert found is None
        return
    best = min(full, key=lambda one: one.value)
    raced = [one for one in outcomes if one.state == "raced out" and len(one.replicates) > 1]
    others = [one for one in (*full, *raced) if one is not best]
    assert found is not None
    assert found.score_losses == tuple(one.score_loss for one in best.replicates)
    enough = len(full) > 1
    for name, mine in (("score_loss", found.score_deviation), ("stop_loss", found.stop_deviation)):
        expected = deviation(best, others, lambda replicate, name=name: getattr(replicate, name)) if enough else None
        assert mine == (None if expected is None else pytest.approx(expected, abs=1e-9))


def test_the_best_trial_is_remembered_whatever_is_kept():
    board = Leaderboard(SearchSpec())
    for number, state in enumerate(["complete"] + ["raced out"] * 20 + ["pruned"] * 20):
        value = None if state == "pruned" else 1.0 - number / 100
        board.add(number, make_outcome(value, state=state, replicates=(make_replicate(0), make_replicate(1))))
    assert board.best is not None
    assert board.best.number == 0
    assert board.incumbent() is not None
