"""Numbers among the inputs, prepared once, put into the scaling that a trial asks for. Needs numpy only.

They are prepared as distances (`hpo.data.scaling`). Each scaling is a function of these: finite, and not decreasing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from hpo.data.scaling import Scale

SMOOTH = 3.0
"""Robustly scaled numbers stay within ± this."""
MOST_DEVIATIONS = 12.0
"""Standard numbers are clipped to ± this."""
ROWS_AT_ONCE = 16_384
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scales:
    """How k of the inputs are scaled, each fitted on the train rows.

    Attributes:
        places: (k,) which of the inputs they are.
        mean, deviation: (k,) of the standard scaling.
        starts: (k + 1,) where each input's part of the next two begins.
        values, scores: (m,) ascending numbers, and those of a normal distribution in their place.
    """

    places: npt.NDArray[np.intp]
    mean: Floats
    deviation: Floats
    starts: npt.NDArray[np.intp]
    values: Floats
    scores: Floats

    @classmethod
    def of(cls, places: Sequence[int], scales: Sequence[Scale]) -> Self:
        """Those of single inputs, together."""
        starts = np.cumsum([0, *(len(scale.quantile.values) for scale in scales)])
        return cls(
            places=np.array(places, np.intp),
            mean=np.array([scale.standard.mean for scale in scales], np.float64),
            deviation=np.array([scale.standard.deviation for scale in scales], np.float64),
            starts=starts.astype(np.intp),
            values=np.concatenate([np.empty(0), *(scale.quantile.values for scale in scales)]),
            scores=np.concatenate([np.empty(0), *(scale.quantile.scores for scale in scales)]),
        )

    def apply(self, scaling: str, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The inputs (rows, width) in that scaling, one of standard, robust and quantile."""
        scale = {"standard": self._standard, "robust": _robust, "quantile": self._quantile}[scaling]
        scaled = np.array(inputs)
        for first in range(0, len(scaled), ROWS_AT_ONCE):
            rows = scaled[first : first + ROWS_AT_ONCE]
            rows[:, self.places] = scale(rows[:, self.places].astype(np.float64))
        return scaled

    def save(self, path: Path) -> None:
        """Write an `.npz` file."""
        np.savez(path, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**arrays)

    def _standard(self, numbers: Floats) -> Floats:
        return np.clip((numbers - self.mean) / self.deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS)

    def _quantile(self, numbers: Floats) -> Floats:
        for column, start in enumerate(self.starts[:-1]):
            part = slice(start, self.starts[column + 1])
            numbers[:, column] = np.interp(numbers[:, column], self.values[part], self.scores[part])
        return numbers


def _robust(numbers: Floats) -> Floats:
    """Clipped smoothly, as in RealMLP (Holzmüller, Grinsztajn and Steinwart, 2024)."""
    return numbers / np.sqrt(1 + (numbers / SMOOTH) ** 2)
