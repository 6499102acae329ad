"""Numbers among the inputs, prepared once, put into the scaling that a trial asks for. Needs numpy only.

They are prepared as distances from their median in interquartile ranges. Each scaling is a function of these.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

SMOOTH = 3.0
"""Robustly scaled numbers stay within ± this."""
ROWS_AT_ONCE = 16_384
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scales:
    """How k of the inputs are scaled, each fitted on the train rows.

    Attributes:
        places: (k,) which of the inputs they are.
        low, high, mean, deviation: (k,) of the standard scaling: where numbers are clipped, and then their moments.
        starts: (k + 1,) where each input's part of the next two begins.
        values, scores: (m,) ascending numbers, and those of a normal distribution in their place.
    """

    places: npt.NDArray[np.intp]
    low: Floats
    high: Floats
    mean: Floats
    deviation: Floats
    starts: npt.NDArray[np.intp]
    values: Floats
    scores: Floats

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
        return (np.clip(numbers, self.low, self.high) - self.mean) / self.deviation

    def _quantile(self, numbers: Floats) -> Floats:
        for column, start in enumerate(self.starts[:-1]):
            part = slice(start, self.starts[column + 1])
            numbers[:, column] = np.interp(numbers[:, column], self.values[part], self.scores[part])
        return numbers


def _robust(numbers: Floats) -> Floats:
    """Clipped smoothly, as in RealMLP (Holzmüller, Grinsztajn and Steinwart, 2024)."""
    return numbers / np.sqrt(1 + (numbers / SMOOTH) ** 2)
