"""Numbers as a network takes them: scalings that one absurd value cannot ruin, fitted on train rows.

All are monotone and give finite numbers for finite ones. Numbers are float64 within LARGEST, none missing.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_QUANTILES = 1000
FARTHEST = 1e30
"""Distances are kept as float32, and their squares must be finite."""
EDGE = 0.1
REACH = 4.0
"""Outliers are so many times the middle 80% beyond these, about 11 deviations of a normal distribution."""
SPARSE_REACH = 20.0
"""The same where more than 80% are one number: so many times the usual distance from it."""
ABSURD = 1e5
"""How many times the usual distance from the median is told."""
ABSURD_SHARE = 0.02
SAMPLE = 10_000
"""Rows that tell what is usual."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Standard:
    """Mean and deviation of the distances that are no outliers."""

    kind: ClassVar[str] = "standard"
    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Quantile:
    """The normal distribution in place of the empirical one; the most frequent distances are at their middle."""

    kind: ClassVar[str] = "quantile"
    values: Floats
    scores: Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scale:
    """How a number is prepared, as its distance from a center in widths, and what scalings make of that.

    Robust scaling needs no more: median and interquartile range, or half the range where that is 0, as in RealMLP
    (Holzmüller, Grinsztajn and Steinwart, 2024).
    """

    kind: ClassVar[str] = "scale"
    center: float
    width: float
    standard: Standard
    quantile: Quantile

    def __call__(self, values: Floats) -> Floats:
        """The distances."""
        return _distances(values, self.center, self.width)


SCALES: dict[str, type[Scale | Standard | Quantile]] = {each.kind: each for each in (Scale, Standard, Quantile)}


def fitted_scale(ordered: Floats) -> Scale:
    """That of train rows in ascending order, which must not all be the same."""
    low, center, high = (_at(ordered, share) for share in (0.25, 0.5, 0.75))
    width = high - low
    if not width > 0:
        usual = _within(ordered, *usual_range(ordered))
        width = float(usual[-1] - usual[0]) / 2 or 1.0
    distances = _distances(ordered, center, width)
    return Scale(center=center, width=width, standard=_standard(distances), quantile=_quantile(distances))


def _distances(values: Floats, center: float, width: float) -> Floats:
    with np.errstate(over="ignore"):
        return np.clip((values - center) / width, -FARTHEST, FARTHEST)


def usual_range(ordered: Floats) -> tuple[float, float]:
    """What is no outlier by any measure, of numbers in ascending order."""
    low, high = _at(ordered, EDGE), _at(ordered, 1 - EDGE)
    if low < high:
        return low - REACH * (high - low), high + REACH * (high - low)
    reach = SPARSE_REACH * _usual_distance(ordered)
    return low - reach, low + reach


def absurd_note(name: str, values: Floats, *, rows: bool = True) -> str | None:
    """What a person should know of single numbers that are far beyond the others; None where there are none.

    `rows`: whether the place in `values` is the row of the table. Missing numbers are NaN.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    some = np.sort(known[:: max(1, len(known) // SAMPLE)])
    ordered = np.sort(known) if some[0] == some[-1] else some
    center, usual = _at(ordered, 0.5), _usual_distance(ordered)
    distance = np.abs(values - center)
    far = np.flatnonzero(distance > ABSURD * usual)
    if not 0 < len(far) <= max(1, ABSURD_SHARE * len(known)):
        return None
    worst = int(far[np.argmax(distance[far])])
    times = round(np.log10(distance[worst]) - np.log10(usual))
    where = f"row {worst + 1:,} has" if rows else "a row has"
    more = f" ({len(far):,} rows have such numbers)" if len(far) > 1 else ""
    return f"column {name!r}: {where} {values[worst]:g}, 10^{times} times the usual{more}; inputs are clipped"


def _standard(ordered: Floats) -> Standard:
    usual = _within(ordered, *usual_range(ordered))
    return Standard(mean=float(usual.mean()), deviation=float(usual.std()) or 1.0)


def _quantile(ordered: Floats) -> Quantile:
    count = min(MOST_QUANTILES, len(ordered))
    places = np.linspace(0, len(ordered) - 1, count)
    values, first, ties = np.unique(ordered[np.rint(places).astype(np.intp)], return_index=True, return_counts=True)
    shares = (first + (ties - 1) / 2 + 0.5) / count
    normal = NormalDist()
    return Quantile(values=values, scores=np.array([normal.inv_cdf(share) for share in shares.tolist()]))


def _within(ordered: Floats, low: float, high: float) -> Floats:
    return ordered[np.searchsorted(ordered, low) : np.searchsorted(ordered, high, side="right")]


def _at(ordered: Floats, share: float) -> float:
    """A quantile, between the two nearest numbers."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


def _usual_distance(ordered: Floats) -> float:
    """From the median, of the numbers that differ from it: their median distance; 1 where none differs."""
    distance = np.abs(ordered - _at(ordered, 0.5))
    differing = distance[distance > 0]
    return float(np.median(differing)) if len(differing) else 1.0
