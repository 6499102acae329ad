"""Writing arrays a part of their rows at a time: none is in memory as a whole. `hpo.data.prepared` reads them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from hpo.data.prepared import PARTS
from hpo.data.resampling import Resample

FloatArray = npt.NDArray[np.float32]
ROWS_AT_ONCE = 32_768


def write_inputs(
    folder: Path, number: int, part: Resample, width: int, rows: int, inputs: Callable[[int, int], FloatArray]
) -> Iterator[float]:
    """Write the inputs of one replicate's parts, and yield after each step which share of the table's `rows` is done.

    `inputs(first, end)` are those of the table's rows from `first` to `end`, (end - first, width).
    """
    with ExitStack() as stack:
        files = [
            stack.enter_context(_begun(folder / f"{name}_x.{number}.npy", len(getattr(part, name)), width))
            for name in PARTS
        ]
        for first in range(0, rows, ROWS_AT_ONCE):
            end = min(rows, first + ROWS_AT_ONCE)
            made = inputs(first, end)
            for name, file in zip(PARTS, files, strict=True):
                own = getattr(part, name)
                start, stop = np.searchsorted(own, (first, end))
                _append(file, made[own[start:stop] - first])
            yield end / rows


def widen(path: Path, width: int) -> None:
    """Put zeros behind each row of an array, so that it has this width."""
    whole = path.with_name(path.name + ".new")
    with path.open("rb") as narrow:
        np.lib.format.read_magic(narrow)
        (rows, before), _, _ = np.lib.format.read_array_header_1_0(narrow)
        with _begun(whole, rows, width) as file:
            for first in range(0, rows, ROWS_AT_ONCE):
                count = min(rows, first + ROWS_AT_ONCE) - first
                padded = np.zeros((count, width), np.float32)
                padded[:, :before] = np.frombuffer(narrow.read(4 * count * before), np.float32).reshape(count, before)
                _append(file, padded)
    whole.replace(path)


def _begun(path: Path, rows: int, width: int) -> BinaryIO:
    """A file of a float32 array, to append its rows to."""
    file = path.open("wb")
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, {**header, "shape": (rows, width)})
    return file


def _append(file: BinaryIO, rows: FloatArray) -> None:
    if rows.size:
        file.write(np.ascontiguousarray(rows, np.float32).data)
