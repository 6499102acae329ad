"""A study's prepared arrays on disk, shared by all trainers through memory maps. Needs numpy only."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PARTS = ("train", "stop", "score")


@dataclass(frozen=True, slots=True)
class ReplicateData:
    """Features (rows, features) float32 and class numbers (rows,) int32 of one replicate's parts."""

    train_x: npt.NDArray[np.float32]
    train_y: npt.NDArray[np.int32]
    stop_x: npt.NDArray[np.float32]
    stop_y: npt.NDArray[np.int32]
    score_x: npt.NDArray[np.float32]
    score_y: npt.NDArray[np.int32]


def open_prepared(folder: Path) -> dict[str, Any]:
    """The facts about the data."""
    facts: dict[str, Any] = json.loads((folder / "prepared.json").read_text("utf-8"))
    return facts


def open_replicate(folder: Path, index: int) -> ReplicateData:
    """The arrays of one replicate, memory-mapped."""
    return ReplicateData(
        *(np.load(folder / f"{part}_{axis}.{index}.npy", mmap_mode="r") for part in PARTS for axis in "xy")
    )
