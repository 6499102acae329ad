"""Scalings: what they do to usual numbers, and that single absurd ones ruin none of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.data.rescaling import SMOOTH, Scales
from hpo.data.scaling import absurd_note, fitted_scale

KINDS = ("standard", "robust", "quantile")

NUMBERS = st.lists(st.floats(-1e100, 1e100, allow_nan=False), min_size=2, max_size=60)
NORMAL = np.sort(np.random.default_rng(0).normal(5, 2, 1000))
COUNTS = np.sort(np.where(np.arange(1000) % 20 == 0, np.arange(1000) / 100, 0.0))


def scaled_by(kind, ordered):
    """What the scaling that is fitted to these makes of numbers, by way of float32."""
    scale = fitted_scale(ordered)
    scales = Scales.of([0], [scale])
    return lambda numbers: scales.apply(kind, scale(numbers).astype(np.float32)[:, None])[:, 0].astype(float)


def test_standard_numbers_have_mean_0_and_deviation_1():
    scaled = scaled_by("standard", NORMAL)(NORMAL)
    assert scaled == pytest.approx((NORMAL - NORMAL.mean()) / NORMAL.std())


def test_robust_numbers_are_in_units_of_the_middle_half_and_bend_towards_3():
    low, middle, high = np.quantile(NORMAL, [0.25, 0.5, 0.75])
    scale = scaled_by("robust", NORMAL)
    units = (NORMAL - middle) / (high - low)
    assert scale(NORMAL) == pytest.approx(units / np.sqrt(1 + (units / 3) ** 2))
    assert scale(np.array([1e90])) == pytest.approx(SMOOTH)


def test_robust_numbers_that_are_mostly_one_are_in_units_of_half_the_range():
    scaled = scaled_by("robust", COUNTS)(COUNTS)
    assert scaled[0] == 0
    assert scaled[-1] == pytest.approx(2 / np.sqrt(1 + 4 / 9))  # as far as the range, which is two halves


def test_quantiles_are_those_of_a_normal_distribution():
    uniform = np.linspace(0, 1, 10_001)
    scale = scaled_by("quantile", uniform)
    assert scale(np.array([0.5, 0.1587, 0.9772])) == pytest.approx([0, -1, 2], abs=0.02)
    assert scale(np.array([-9.0, 9.0])) == pytest.approx([-3.29, 3.29], abs=0.01)


def test_the_most_frequent_number_is_in_the_middle_of_its_quantiles():
    scaled = scaled_by("quantile", COUNTS)(COUNTS)
    assert scaled[0] == pytest.approx(-0.063, abs=1e-2)  # 95% are 0: the quantile .475
    assert scaled[-1] > 3


@pytest.mark.parametrize("kind", KINDS)
@given(numbers=NUMBERS, others=NUMBERS)
def test_every_scale_is_finite_and_monotone(kind, numbers, others):
    ordered = np.sort(numbers)
    scale = scaled_by(kind, ordered)
    scaled = scale(np.sort(others + numbers)).astype(np.float32)
    assert np.isfinite(scaled).all()
    assert (np.diff(scaled) >= -1e-6).all()
    if kind != "standard":
        assert np.abs(scaled).max() <= 3.3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("absurd", [1e20, -3.4e38, -1e100])
@pytest.mark.parametrize("usual", [NORMAL[::5], COUNTS])
def test_fault_50_one_absurd_number_leaves_the_others_apart(kind, absurd, usual):
    """It is drawn three times, as a bootstrap may."""
    drawn = np.sort([*usual, absurd, absurd, absurd])
    without, scaled = scaled_by(kind, usual)(usual), scaled_by(kind, drawn)(drawn)
    assert np.abs(scaled).max() <= 12
    assert np.ptp(scaled_by(kind, drawn)(usual)) > 0.8 * np.ptp(without)


@pytest.mark.parametrize(
    ("absurd", "text"),
    [
        (1e20, "column 'x': row 17 has 1e+20, 10^20 times the usual; inputs are clipped"),
        (-3.4e38, "column 'x': row 17 has -3.4e+38, 10^38 times the usual; inputs are clipped"),
    ],
)
def test_fault_50_absurd_numbers_are_told_with_their_row(absurd, text):
    values = np.random.default_rng(0).normal(0, 2, 200)
    values[[3, 16]] = np.nan, absurd
    assert absurd_note("x", values) == text
    values[20] = absurd / 2
    assert "(2 rows have such numbers)" in absurd_note("x", values)
    assert "a row has" in absurd_note("x", values, rows=False)


@pytest.mark.parametrize("values", [NORMAL, COUNTS, np.full(9, np.nan), np.ones(9), np.exp(3 * NORMAL)])
def test_usual_numbers_are_not_told(values):
    assert absurd_note("x", values) is None
