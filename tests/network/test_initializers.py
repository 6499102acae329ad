"""Initial kernels come from the distributions of the Keras initializers of the same name."""

import keras
import numpy as np
import pytest
from scipy import stats

from hpo.network.architecture import INITIALIZER_NAMES
from hpo.network.initializers import INITIALIZERS

INPUTS, UNITS = 300, 1000
DRAWN = [name for name in INITIALIZER_NAMES if name != "orthogonal"]
CUT = 2 / 0.87962566103423978  # where a truncated normal ends, in its own standard deviations
ENDS = {
    "random_uniform": 0.05,
    "variance_scaling": CUT * (1 / INPUTS) ** 0.5,
    "lecun_normal": CUT * (1 / INPUTS) ** 0.5,
    "lecun_uniform": (3 / INPUTS) ** 0.5,
    "glorot_normal": CUT * (2 / (INPUTS + UNITS)) ** 0.5,
    "glorot_uniform": (6 / (INPUTS + UNITS)) ** 0.5,
    "he_normal": CUT * (2 / INPUTS) ** 0.5,
    "he_uniform": (6 / INPUTS) ** 0.5,
}


def draw(name, inputs=INPUTS, units=UNITS, seed=1):
    return INITIALIZERS[name](np.random.default_rng(seed), inputs, units)


def draw_by_keras(name):
    initializer = type(keras.initializers.get(name))(seed=2)
    return np.asarray(initializer((INPUTS, UNITS))).astype(np.float64)


def test_registry_has_the_names_of_architectures():
    assert tuple(INITIALIZERS) == INITIALIZER_NAMES


@pytest.mark.parametrize("name", INITIALIZER_NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 9)])
def test_kernels_are_seeded_float32(name, shape):
    kernel = draw(name, *shape)
    assert kernel.shape == shape
    assert kernel.dtype == np.float32
    assert kernel.flags.c_contiguous
    np.testing.assert_array_equal(kernel, draw(name, *shape))
    # In one dimension there are but two orthogonal kernels, 1 and -1.
    assert shape == (1, 1) or (kernel != draw(name, *shape, seed=5)).any()


@pytest.mark.parametrize("name", DRAWN)
def test_distribution_is_that_of_keras(name):
    """300,000 numbers of each: mean and variance within five standard errors, and no sign of another shape."""
    ours, theirs = draw(name).astype(np.float64).ravel(), draw_by_keras(name).ravel()
    count, variance = len(ours), theirs.var()
    kurtosis = ((theirs - theirs.mean()) ** 4).mean() / variance**2
    assert abs(ours.mean()) < 5 * (variance / count) ** 0.5
    # The sample variance has variance (kurtosis - 1) variance² / count, here once for each of the two.
    assert abs(ours.var() / variance - 1) < 5 * (2 * (kurtosis - 1) / count) ** 0.5
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-5


@pytest.mark.parametrize("name", sorted(ENDS))
def test_values_reach_to_where_those_of_keras_end(name):
    """Of 300,000 numbers, about 70 or more are expected in the outermost thousandth."""
    for kernel in (draw(name), draw_by_keras(name)):
        assert 0.999 * ENDS[name] < np.abs(kernel).max() <= ENDS[name] * (1 + 1e-6)


@pytest.mark.parametrize(("inputs", "units"), [(40, 40), (60, 25), (25, 60), (1, 6), (6, 1)])
def test_orthogonal_kernels_are_orthonormal(inputs, units):
    kernel = draw("orthogonal", inputs, units).astype(np.float64)
    product = kernel.T @ kernel if inputs >= units else kernel @ kernel.T
    np.testing.assert_allclose(product, np.eye(min(inputs, units)), atol=1e-6)


def test_no_orthogonal_kernel_is_likelier_than_its_turned_ones():
    """Every number of a 3 × 3 kernel has mean 0 and variance 1/3: 2,000 kernels, within five standard errors."""
    rng = np.random.default_rng(3)
    kernels = np.array([INITIALIZERS["orthogonal"](rng, 3, 3) for _ in range(2000)])
    assert np.abs(kernels.mean(axis=0)).max() < 5 * (1 / 3 / 2000) ** 0.5
    # A square has mean 1/3 and variance 3/15 - 1/9 (a point on a sphere).
    assert np.abs((kernels**2).mean(axis=0) - 1 / 3).max() < 5 * ((3 / 15 - 1 / 9) / 2000) ** 0.5
