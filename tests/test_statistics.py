"""Statistics of paired replicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
