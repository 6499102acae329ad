"""Resampling by its properties, for every method, with and without groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.data.resampling import resamples
from hpo.errors import DataError
from hpo.settings import EvaluationSpec

METHODS = ("bootstrap", "shuffle", "kfold", "holdout")
PARTS = ("train", "stop", "score")
SEEDS = st.integers(0, 2**32 - 1)
properties = settings(max_examples=50, deadline=None)


@st.composite
def label_arrays(draw, least=2):
    """Class numbers in random order: every class has `least` rows or more, and one has 3 or more."""
    counts = draw(st.lists(st.integers(least, 60), min_size=2, max_size=5).filter(lambda c: max(c) >= 3))
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(draw(st.integers(0, 999))).permutation(labels)


@st.composite
def grouped_labels(draw):
    """Labels and groups of 1 to 6 rows; a group's rows have one class, each class has 3 groups or more."""
    groups_of_class = draw(st.lists(st.integers(3, 9), min_size=2, max_size=3))
    class_of_group = np.repeat(np.arange(len(groups_of_class)), groups_of_class)
    random = np.random.default_rng(draw(st.integers(0, 999)))
    groups = random.permutation(np.repeat(np.arange(len(class_of_group)), random.integers(1, 7, len(class_of_group))))
    return class_of_group[groups], groups


def evaluation(method, **changes):
    return EvaluationSpec(method=method, **{"replicates": 3, **changes})


def rows_once(resample):
    """All row numbers of the parts, a drawn row once."""
    return sorted(np.concatenate([np.unique(resample.train), resample.stop, resample.score]).tolist())


def same_rows(first, second):
    return all(np.array_equal(getattr(first, part), getattr(second, part)) for part in PARTS)


@given(label_arrays(), SEEDS, st.sampled_from(["bootstrap", "shuffle", "holdout"]))
@properties
def test_parts_are_disjoint_complete_and_hold_every_class_that_can_be_there(labels, seed, method):
    for resample in resamples(labels, evaluation(method), seed):
        assert rows_once(resample) == list(range(len(labels)))  # each row in exactly one part
        for label, count in enumerate(np.bincount(labels)):
            assert label in labels[resample.train]
            assert label in labels[resample.score]
            assert (label in labels[resample.stop]) == (count >= 3)


@given(label_arrays(least=10), SEEDS)
@properties
def test_bootstrap_is_stratified_and_draws_as_many_rows_of_a_class_as_it_leaves(labels, seed):
    counts = np.bincount(labels)
    for resample in resamples(labels, evaluation("bootstrap"), seed):
        stopped = np.bincount(labels[resample.stop])
        assert np.array_equal(np.bincount(labels[resample.train]) + stopped, counts)
        assert np.all(np.abs(stopped - 0.1 * counts) < 1)
        assert len(resample.stop) == int(0.1 * len(labels) + 0.5)


@given(label_arrays(least=10), SEEDS, st.sampled_from(["shuffle", "holdout"]))
@properties
def test_shuffle_and_holdout_are_stratified_and_train_on_a_row_once(labels, seed, method):
    counts = np.bincount(labels)
    for resample in resamples(labels, evaluation(method), seed):
        assert np.all(np.abs(np.bincount(labels[resample.score]) - 0.2 * counts) < 1)
        assert np.all(np.abs(np.bincount(labels[resample.stop]) - 0.1 * counts) < 1)
        assert len(np.unique(resample.train)) == len(resample.train)


@given(label_arrays(least=4), SEEDS)
@properties
def test_kfold_scores_every_row_once_and_every_fold_holds_every_class(labels, seed):
    folds = resamples(labels, evaluation("kfold", replicates=4), seed)
    assert sorted(np.concatenate([fold.score for fold in folds]).tolist()) == list(range(len(labels)))
    for fold in folds:
        assert rows_once(fold) == list(range(len(labels)))
        assert np.all(np.abs(np.bincount(labels[fold.score]) - np.bincount(labels) / 4) < 1)
        for part in PARTS:
            assert set(labels[getattr(fold, part)]) == set(labels)


@given(label_arrays(), SEEDS)
@properties
def test_kfold_trains_on_every_class_even_where_folds_outnumber_its_rows(labels, seed):
    for fold in resamples(labels, evaluation("kfold", replicates=5), seed):
        assert set(labels[fold.train]) == set(labels)


@given(label_arrays(least=20), SEEDS, st.sampled_from(METHODS))
@properties
def test_same_seed_same_rows_and_another_seed_other_rows(labels, seed, method):
    first, again, other = (resamples(labels, evaluation(method), s) for s in (seed, seed, seed ^ 1))
    assert all(same_rows(a, b) for a, b in zip(first, again, strict=True))
    assert not any(same_rows(a, b) for a, b in zip(first, other, strict=True))
    assert same_rows(first[0], first[1]) == (method == "holdout")


@pytest.mark.parametrize("method", ["bootstrap", "shuffle", "holdout"])
def test_more_replicates_keep_the_first_ones(method):
    labels = np.arange(60) % 3
    few, many = (resamples(labels, evaluation(method, replicates=r), 0) for r in (2, 5))
    assert all(same_rows(a, b) for a, b in zip(few, many[:2], strict=True))


def test_rows_stay_the_same_between_versions():
    """A study that is resumed with a later version must meet the rows it began with."""
    first, second = resamples(np.arange(20) % 2, evaluation("bootstrap", replicates=2), 0)
    assert first.train.tolist() == [1, 2, 4, 5, 7, 8, 8, 8, 9, 10, 10, 13, 15, 16, 17, 17, 18, 19]
    assert first.stop.tolist() == [0, 11]
    assert first.score.tolist() == [3, 6, 12, 14]
    assert second.train.tolist() == [0, 1, 1, 2, 2, 3, 4, 4, 7, 9, 9, 12, 12, 12, 12, 13, 15, 19]


@pytest.mark.parametrize("stop_fraction", [0.1, 0.3])
def test_bootstrap_scores_about_a_third_of_the_rows_it_draws_from(stop_fraction):
    labels = np.arange(20_000) % 2
    resample = resamples(labels, evaluation("bootstrap", stop_fraction=stop_fraction), 0)[0]
    assert len(resample.stop) == stop_fraction * 20_000
    assert len(resample.score) / 20_000 == pytest.approx((1 - stop_fraction) * np.exp(-1), abs=0.01)
    assert np.bincount(resample.train).max() > 3  # rows are there as often as they were drawn


@pytest.mark.parametrize("method", METHODS)
def test_stopping_on_score_sets_no_rows_aside(method):
    labels = np.arange(100) % 2
    for resample in resamples(labels, evaluation(method, stop_on="score"), 0):
        assert np.array_equal(resample.stop, resample.score)
        both = np.concatenate([np.unique(resample.train), resample.score])
        assert sorted(both.tolist()) == list(range(100))


@given(grouped_labels(), SEEDS, st.sampled_from(METHODS))
@properties
def test_groups_are_never_split_and_all_rows_are_used(data, seed, method):
    labels, groups = data
    for resample in resamples(labels, evaluation(method), seed, groups):
        train, stop, score = (set(groups[getattr(resample, part)]) for part in PARTS)
        assert len(train) + len(stop) + len(score) == len(train | stop | score)
        assert rows_once(resample) == list(range(len(labels)))
        assert set(labels[resample.train]) == set(labels)
        if method != "kfold":
            assert set(labels[resample.stop]) == set(labels[resample.score]) == set(labels)


@given(grouped_labels(), SEEDS)
@properties
def test_bootstrap_of_groups_trains_on_equally_many_rows_in_every_replicate(data, seed):
    labels, groups = data
    lengths = {len(resample.train) for resample in resamples(labels, evaluation("bootstrap"), seed, groups)}
    assert len(lengths) == 1


@given(grouped_labels(), SEEDS)
@properties
def test_kfold_scores_every_group_once(data, seed):
    labels, groups = data
    folds = resamples(labels, evaluation("kfold"), seed, groups)
    scored = np.concatenate([np.unique(groups[fold.score]) for fold in folds])
    assert sorted(scored.tolist()) == list(range(groups.max() + 1))


@given(SEEDS, st.sampled_from(["bootstrap", "shuffle"]), st.integers(3, 5))
@properties
def test_a_class_that_is_a_minority_in_its_groups_still_gets_into_every_part(seed, method, holders):
    groups = np.repeat(np.arange(24), 6)
    labels = groups % 2
    labels[np.arange(holders) * 12] = 2  # one row in some groups of class 0
    for resample in resamples(labels, evaluation(method), seed, groups):
        for part in PARTS:
            assert set(labels[getattr(resample, part)]) == {0, 1, 2}


@given(st.integers(3, 300), SEEDS, st.sampled_from(METHODS))
@properties
def test_without_classes_each_row_is_in_one_part_and_parts_have_their_sizes(rows, seed, method):
    parts = resamples(np.zeros(rows, int), evaluation(method), seed)
    aside = max(1, int(0.1 * rows + 0.5))
    for part in parts:
        assert rows_once(part) == list(range(rows))
        assert len(part.train)
        assert len(part.score)
        assert len(part.stop) == aside
        if method == "bootstrap":
            assert len(part.train) == rows - aside
        elif method == "kfold":
            assert len(part.score) in (rows // 3, -(-rows // 3))
        else:
            assert len(part.score) == max(1, int(0.2 * rows + 0.5))
    if method == "kfold":
        assert sorted(np.concatenate([part.score for part in parts]).tolist()) == list(range(rows))


@given(st.lists(st.integers(1, 6), min_size=6, max_size=30), SEEDS, st.sampled_from(METHODS))
@properties
def test_without_classes_groups_are_never_split(sizes, seed, method):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    parts = resamples(np.zeros(len(groups), int), evaluation(method), seed, groups)
    for part in parts:
        train, stop, score = (set(groups[getattr(part, name)]) for name in PARTS)
        assert len(train) + len(stop) + len(score) == len(train | stop | score) == len(sizes)
        assert min(len(train), len(stop), len(score)) >= 1
    if method == "bootstrap":
        assert len({len(part.train) for part in parts}) == 1


@pytest.mark.parametrize("method", METHODS)
def test_without_classes_one_group_is_refused(method):
    with pytest.raises(DataError, match="at least 2 groups, one to train on and one to score, it has 1; add groups"):
        resamples(np.zeros(9, int), evaluation(method), 0, np.zeros(9, int))


def test_a_class_of_one_row_is_refused_by_name():
    labels = np.array([0] * 30 + [1])
    with pytest.raises(DataError, match=r"at least 2 rows.*class 'maybe' has 1; add rows.*task='regression'"):
        resamples(labels, evaluation("bootstrap"), 0, names=["yes", "maybe"])


def test_a_class_of_one_group_is_refused():
    with pytest.raises(DataError, match=r"at least 2 groups.*class 1 has 1; add groups"):
        resamples(np.repeat([0, 0, 0, 1], 5), evaluation("bootstrap"), 0, np.repeat([0, 1, 2, 3], 5))


@pytest.mark.parametrize("method", METHODS)
def test_too_few_rows_for_three_parts_are_refused(method):
    with pytest.raises(DataError, match=r"got 4 rows, which leaves none for 'stop'; add rows"):
        resamples(np.array([0, 0, 1, 1]), evaluation(method, replicates=2), 0)


@pytest.mark.parametrize("replicates", [1, 9])
def test_kfold_refuses_one_fold_or_more_folds_than_rows(replicates):
    with pytest.raises(DataError, match=rf"no more than rows or groups \(8\), got {replicates}; use"):
        resamples(np.arange(8) % 2, evaluation("kfold", replicates=replicates), 0)
