"""A study's prepared arrays on disk, shared by all trainers through memory maps. Needs numpy only."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from hpo.data.rescaling import Scales
from hpo.study.facts import Facts

PARTS = ("train", "stop", "score")
FEATURES = "features.{}"
"""What a replicate's inputs were fitted to, with the endings `.json` and `.npz`."""
SCALES = "scales.{}.npz"
"""How the numbers among them are scaled."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class ReplicateData:
    """One replicate's parts: features (rows, features) float32; targets, class numbers (rows,) int32 or else
    (rows, outputs) float32; weights (rows,) float32, None where all rows count alike. With `scales`, the numbers among
    the features are yet to be scaled."""

    train_x: npt.NDArray[np.float32]
    train_y: npt.NDArray[Any]
    stop_x: npt.NDArray[np.float32]
    stop_y: npt.NDArray[Any]
    score_x: npt.NDArray[np.float32]
    score_y: npt.NDArray[Any]
    train_w: npt.NDArray[np.float32] | None = None
    stop_w: npt.NDArray[np.float32] | None = None
    score_w: npt.NDArray[np.float32] | None = None
    scales: Scales | None = None
    _scaled: "WeakValueDictionary[str, ReplicateData]" = field(default_factory=WeakValueDictionary, repr=False)

    def scaled(self, scaling: str) -> "ReplicateData":
        """The same in one of the scalings, or as it is for `none`; who asks again gets the same, while it is used."""
        if self.scales is None or scaling == "none":
            return self
        found = self._scaled.get(scaling)
        if found is None:
            parts = {f"{part}_x": self.scales.apply(scaling, getattr(self, f"{part}_x")) for part in PARTS}
            found = self._scaled[scaling] = replace(self, **parts, scales=None, _scaled=WeakValueDictionary())
        return found


def open_prepared(folder: Path) -> Facts:
    """The facts about the data."""
    return Facts.from_json(json.loads((folder / "prepared.json").read_text("utf-8")))


def open_replicate(folder: Path, index: int) -> ReplicateData:
    """The arrays of one replicate, memory-mapped."""
    files = {f"{part}_{axis}": folder / f"{part}_{axis}.{index}.npy" for part in PARTS for axis in "xyw"}
    arrays = {name: np.load(path, mmap_mode="r") for name, path in files.items() if path.exists()}
    scales = folder / SCALES.format(index)
    return ReplicateData(**arrays, scales=Scales.load(scales) if scales.exists() else None)
