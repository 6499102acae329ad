"""Initial kernels, drawn by numpy on the host: the same numbers for every backend.

Distributions are those of the Keras initializers of the same name.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Initializer = Callable[[np.random.Generator, int, int], npt.NDArray[np.float32]]

# Standard deviation of a standard normal truncated at two deviations, as Keras and TensorFlow use it.
_TRUNCATED_DEVIATION = 0.87962566103423978


def _truncated_normal(rng: np.random.Generator, shape: tuple[int, int], deviation: float) -> npt.NDArray[np.float32]:
    values = rng.standard_normal(shape, dtype=np.float32)
    while (outside := np.abs(values) > 2.0).any():
        values[outside] = rng.standard_normal(int(outside.sum()), dtype=np.float32)
    return values * np.float32(deviation / _TRUNCATED_DEVIATION)


def he_normal(rng: np.random.Generator, inputs: int, units: int) -> npt.NDArray[np.float32]:
    """Kernel (inputs, units), variance 2 / inputs (He et al. 2015)."""
    return _truncated_normal(rng, (inputs, units), (2.0 / inputs) ** 0.5)


def lecun_normal(rng: np.random.Generator, inputs: int, units: int) -> npt.NDArray[np.float32]:
    """Kernel (inputs, units), variance 1 / inputs (Klambauer et al. 2017, for selu)."""
    return _truncated_normal(rng, (inputs, units), (1.0 / inputs) ** 0.5)


def glorot_uniform(rng: np.random.Generator, inputs: int, units: int) -> npt.NDArray[np.float32]:
    """Kernel (inputs, units), uniform with variance 2 / (inputs + units) (Glorot & Bengio 2010)."""
    limit = np.float32((6.0 / (inputs + units)) ** 0.5)
    return (rng.random((inputs, units), dtype=np.float32) * 2 - 1) * limit


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "he_normal": he_normal,
    "lecun_normal": lecun_normal,
}
