"""Initial kernels, drawn by numpy on the host: the same numbers for every backend.

Distributions are those of the Keras initializers of the same name, with their default settings.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Initializer = Callable[[np.random.Generator, int, int], FloatArray]
Fan = Callable[[int, int], float]

# Standard deviation of a standard normal truncated at two deviations, as Keras and TensorFlow use it.
_TRUNCATED_DEVIATION = 0.87962566103423978
_DEFAULT_SIZE = np.float32(0.05)


def _inputs(inputs: int, _: int) -> float:
    return inputs


def _mean(inputs: int, units: int) -> float:
    return (inputs + units) / 2


def _truncated_normal(scale: float, fan: Fan) -> Initializer:
    """A normal cut off at two of its deviations, with variance scale / fan after the cut."""

    def draw(rng: np.random.Generator, inputs: int, units: int) -> FloatArray:
        values = rng.standard_normal((inputs, units), dtype=np.float32)
        while (outside := np.abs(values) > 2.0).any():
            values[outside] = rng.standard_normal(int(outside.sum()), dtype=np.float32)
        return values * np.float32((scale / fan(inputs, units)) ** 0.5 / _TRUNCATED_DEVIATION)

    return draw


def _uniform(scale: float, fan: Fan) -> Initializer:
    """A uniform around 0 with variance scale / fan."""

    def draw(rng: np.random.Generator, inputs: int, units: int) -> FloatArray:
        limit = np.float32((3.0 * scale / fan(inputs, units)) ** 0.5)
        return (rng.random((inputs, units), dtype=np.float32) * 2 - 1) * limit

    return draw


def _random_normal(rng: np.random.Generator, inputs: int, units: int) -> FloatArray:
    return rng.standard_normal((inputs, units), dtype=np.float32) * _DEFAULT_SIZE


def _random_uniform(rng: np.random.Generator, inputs: int, units: int) -> FloatArray:
    return (rng.random((inputs, units), dtype=np.float32) * 2 - 1) * _DEFAULT_SIZE


def orthogonal(rng: np.random.Generator, inputs: int, units: int) -> FloatArray:
    """Kernel (inputs, units) with orthonormal columns, or rows where it is wider than high (Saxe et al. 2014)."""
    q, r = np.linalg.qr(rng.standard_normal((max(inputs, units), min(inputs, units))))
    q *= np.sign(np.diag(r))  # so that all orthogonal matrices are equally likely
    return (q if inputs >= units else q.T).astype(np.float32, order="C")


# Kernels (inputs, units). LeCun et al. 1998; Glorot & Bengio 2010; He et al. 2015, arXiv:1502.01852.
INITIALIZERS: dict[str, Initializer] = {
    "random_normal": _random_normal,
    "random_uniform": _random_uniform,
    "variance_scaling": _truncated_normal(1.0, _inputs),
    "lecun_normal": _truncated_normal(1.0, _inputs),
    "lecun_uniform": _uniform(1.0, _inputs),
    "glorot_normal": _truncated_normal(1.0, _mean),
    "glorot_uniform": _uniform(1.0, _mean),
    "he_normal": _truncated_normal(2.0, _inputs),
    "he_uniform": _uniform(2.0, _inputs),
    "orthogonal": orthogonal,
}
