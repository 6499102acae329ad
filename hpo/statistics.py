"""Statistics of paired replicates."""

from collections.abc import Sequence

import numpy as np


def standard_error(values: Sequence[float]) -> float | None:
    """Standard error of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def pooled_deviation(samples: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation of several samples around their own means; None where no sample has two values."""
    arrays = [np.asarray(sample, dtype=float) for sample in samples if len(sample) > 1]
    freedom = sum(len(sample) - 1 for sample in arrays)
    if freedom == 0:
        return None
    return float((sum(((sample - sample.mean()) ** 2).sum() for sample in arrays) / freedom) ** 0.5)
