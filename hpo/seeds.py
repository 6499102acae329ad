"""Every random stream derives from (study seed, slot, replicate, purpose), so that nothing depends on
which worker, trainer or stack does the work."""

from typing import Literal

import numpy as np

Purpose = Literal["resample", "sample", "weights", "order", "dropout", "noise"]
_PURPOSES: dict[Purpose, int] = {"resample": 1, "sample": 2, "weights": 3, "order": 4, "dropout": 5, "noise": 6}


def generator(seed: int, purpose: Purpose, *, slot: int = 0, replicate: int = 0) -> np.random.Generator:
    """An independent random stream (SFC64: the fastest of numpy's for plain bits)."""
    entropy = np.random.SeedSequence(seed, spawn_key=(_PURPOSES[purpose], slot, replicate))
    return np.random.Generator(np.random.SFC64(entropy))


def integer_seed(seed: int, purpose: Purpose, *, slot: int = 0, replicate: int = 0) -> int:
    """A 31-bit seed for libraries that take an integer."""
    return int(generator(seed, purpose, slot=slot, replicate=replicate).integers(2**31))
