"""Statistics of paired replicates."""

from collections.abc import Sequence

import numpy as np


def standard_error(values: Sequence[float]) -> float | None:
    """Standard error of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def typical_deviation(samples: Sequence[Sequence[float]]) -> float | None:
    """The standard deviation within a typical sample; None where no sample has two values.

    Each sample holds one trial's paired differences to the incumbent, replicate by replicate. The median of their
    variances is taken, not the mean: hopeless trials differ by much and erratically, and would hide the smaller
    spread among good ones, which a race must tell apart. Each variance is divided by the median of a chi-square
    variable over its degrees of freedom (Wilson & Hilferty 1931), so that samples of different size agree.
    """
    variances = [_unbiased_median_variance(sample) for sample in samples if len(sample) > 1]
    return float(np.median(variances) ** 0.5) if variances else None


def _unbiased_median_variance(sample: Sequence[float]) -> float:
    freedom = len(sample) - 1
    return float(np.var(sample, ddof=1) / (1 - 2 / (9 * freedom)) ** 3)
