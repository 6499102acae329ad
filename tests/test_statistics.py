"""Statistics of paired replicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.evaluation.metrics import log_loss
from hpo.statistics import pooled_deviation, standard_error

numbers = st.floats(-100, 100)


def test_standard_error():
    assert standard_error([1.0]) is None
    assert standard_error([1.0, 3.0]) == pytest.approx(1.0)


@given(st.lists(st.lists(numbers, min_size=2, max_size=6), min_size=1, max_size=9), numbers)
def test_pooled_deviation_ignores_the_samples_means(samples, shift):
    moved = [[value + shift for value in sample] for sample in samples]
    assert pooled_deviation(moved) == pytest.approx(pooled_deviation(samples), rel=1e-6, abs=1e-6)


def test_pooled_deviation_is_unbiased_for_samples_of_any_size():
    rng = np.random.default_rng(0)
    samples = [rng.normal(place, 2.0, size).tolist() for place, size in enumerate([2, 3, 5] * 5000)]
    assert pooled_deviation(samples) == pytest.approx(2.0, rel=0.02)
    assert pooled_deviation([[1.0], []]) is None


@given(st.lists(st.lists(st.floats(-500, 500), min_size=3, max_size=3), min_size=1, max_size=20))
def test_log_loss_is_that_of_the_softmax(rows):
    logits = np.array(rows, dtype=np.float32)
    labels = np.arange(len(rows)) % 3
    wide = logits.astype(np.longdouble)
    expected = np.mean([np.log(np.exp(row - row[label]).sum()) for row, label in zip(wide, labels, strict=True)])
    assert log_loss(labels, logits) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_log_loss_of_broken_logits_is_not_finite(bad):
    logits = np.zeros((4, 3), np.float32)
    logits[1] = bad
    assert not np.isfinite(log_loss(np.zeros(4, int), logits))


def test_log_loss_is_never_clipped():
    assert log_loss(np.array([1]), np.array([[1000.0, 0.0]])) == 1000.0
