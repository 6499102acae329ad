"""A study's prepared arrays on disk, shared by all trainers through memory maps. Needs numpy only."""

import json
import os
import shutil
from collections.abc import Mapping
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
ROOM = 4
"""Scaled inputs are kept where so many times their size is free."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class ReplicateData:
    """One replicate's parts: features (rows, features) float32; targets, class numbers (rows,) int32 or else
    (rows, outputs) float32; weights (rows,) float32, None where all rows count alike. With `scales`, the numbers among
    the features are yet to be scaled; what is made of them is kept beside the `files` of the features, if there are
    such."""

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
    files: Mapping[str, Path] = field(default_factory=dict, repr=False)
    _scaled: "WeakValueDictionary[str, ReplicateData]" = field(default_factory=WeakValueDictionary, repr=False)

    def scaled(self, scaling: str) -> "ReplicateData":
        """The same in one of the scalings, or as it is for `none`; who asks again gets the same, while it is used."""
        if self.scales is None or scaling == "none":
            return self
        found = self._scaled.get(scaling)
        if found is None:
            train, stop, score = (self._features(f"{part}_x", scaling, self.scales) for part in PARTS)
            found = replace(
                self, train_x=train, stop_x=stop, score_x=score, scales=None, files={}, _scaled=WeakValueDictionary()
            )
            self._scaled[scaling] = found
        return found

    def _features(self, name: str, scaling: str, scales: Scales) -> npt.NDArray[np.float32]:
        """Scaled features of a part: made once for all trials and trainers, where there is room to keep them."""
        given: npt.NDArray[np.float32] = getattr(self, name)
        file = self.files.get(name)
        if file is None:
            return scales.apply(scaling, given)
        kept = file.with_suffix(f".{scaling}.npy")
        if not kept.exists():
            made = scales.apply(scaling, given)
            if not _is_kept(made, kept):
                return made
        found: npt.NDArray[np.float32] = np.load(kept, mmap_mode="r")
        return found


def _is_kept(made: npt.NDArray[np.float32], file: Path) -> bool:
    """Write the file, which several trainers may do at once; false where there is no room for it."""
    written = file.with_suffix(f".{os.getpid()}")
    try:
        if shutil.disk_usage(file.parent).free < ROOM * made.nbytes:
            return False
        with written.open("wb") as stream:
            np.save(stream, made)
        written.replace(file)
    except OSError:
        written.unlink(missing_ok=True)
        return False
    return True


def open_prepared(folder: Path) -> Facts:
    """The facts about the data."""
    return Facts.from_json(json.loads((folder / "prepared.json").read_text("utf-8")))


def open_replicate(folder: Path, index: int) -> ReplicateData:
    """The arrays of one replicate, memory-mapped."""
    files = {f"{part}_{axis}": folder / f"{part}_{axis}.{index}.npy" for part in PARTS for axis in "xyw"}
    arrays = {name: np.load(path, mmap_mode="r") for name, path in files.items() if path.exists()}
    scales = folder / SCALES.format(index)
    if not scales.exists():
        return ReplicateData(**arrays)
    return ReplicateData(**arrays, scales=Scales.load(scales), files=files)
