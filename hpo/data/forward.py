"""Rows in time: each replicate learns from earlier rows and is scored on later ones.

Rows of one time are never parted. The last part of the table is cut into consecutive blocks, one per replicate: it is
scored there, and trains on all rows before, but for the latest of these, on which it stops. So what is scored was
never followed by a row that the network had seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.columns import kind_of, listed, numbers
from hpo.data.resampling import IntArray, Resample, RowNumbers
from hpo.data.target import Target
from hpo.errors import DataError, use
from hpo.settings import EvaluationSpec

SCORED_SHARE = 0.5
"""Of the rows, at most so many are in blocks that are scored: the first replicate trains on the others."""
MOST_NOTES = 3


@dataclass(frozen=True, slots=True)
class Times:
    """A column of times: its `name`, its `values` as given, and `ranks` (rows,) of the different ones, from 0 on."""

    name: str
    values: pd.Series
    ranks: IntArray

    def first(self, rows: RowNumbers) -> str:
        """The earliest time of these rows, as text."""
        row = int(rows[np.argmin(self.ranks[rows])])
        return str(self.values.iloc[row]).removesuffix(" 00:00:00")


def times_of(values: pd.Series, name: str) -> Times:
    """The times of a column of dates or numbers; DataError where a row has none, or something else.

    Rows are told by their numbers in the table, the index.
    """
    if missing := int(values.isna().sum()):
        where = "1 row" if missing == 1 else f"{missing:,} rows"
        raise DataError(
            f"every row needs a time, column {name!r} has none in {where}; fill these in, or remove these rows",
            setting="time",
        )
    moments = _moments(values)
    if (wrong := np.flatnonzero(pd.isna(moments))).size:
        row = int(wrong[0])
        raise DataError(
            f"times must be numbers, or dates such as 2024-05-31 or 2024-05-31 12:30, column {name!r} holds "
            f"{str(values.iloc[row])!r} in row {values.index[row] + 1:,}; say how they are written with "
            f"{use('kind', {name: 'date:%d.%m.%Y'})}, or use another {use('time')}",
            setting="time",
        )
    return Times(name, values, np.unique(moments, return_inverse=True)[1].astype(np.intp))


def _moments(values: pd.Series) -> npt.NDArray[np.generic]:
    """Numbers or datetimes in the order of time, (rows,), NaN or NaT where a value is neither."""
    if kind_of(values) == "numeric":
        return numbers(values)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values.to_numpy("datetime64[us]")
    as_numbers = pd.to_numeric(values, errors="coerce")
    if as_numbers.notna().all():
        return as_numbers.to_numpy()
    return pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True).to_numpy("datetime64[us]")


def forward(times: Times, evaluation: EvaluationSpec) -> tuple[Resample, ...]:
    """The resamples of a study whose rows are in time, one per replicate, the earliest block first.

    A block holds the share `score_fraction` of the rows, or less: all together at most `SCORED_SHARE`. `stop` is the
    share `stop_fraction` of the rows before it. Raises DataError where there are too few different times.
    """
    order = np.argsort(times.ranks, kind="stable").astype(np.int32)
    ends = np.cumsum(np.bincount(times.ranks))  # rows up to each time, with it
    cuts = _cuts(ends, evaluation)
    parts = []
    for start, end in zip(ends[cuts[:-1] - 1], ends[cuts[1:] - 1], strict=True):
        before, score = order[:start], np.sort(order[start:end])
        if evaluation.stop_on == "score":
            parts.append(Resample(np.sort(before), score, score))
            continue
        earlier = ends[ends < start]
        kept = earlier[_nearest(earlier, start * (1 - evaluation.stop_fraction)) - 1]
        parts.append(Resample(np.sort(before[:kept]), np.sort(before[kept:]), score))
    return tuple(parts)


def _cuts(ends: IntArray, evaluation: EvaluationSpec) -> IntArray:
    """How many different times lie before each block, and before the end, (replicates + 1,)."""
    blocks, times, rows = evaluation.replicates, len(ends), int(ends[-1])
    before = 1 if evaluation.stop_on == "score" else 2  # to train on, and to stop on
    if times < blocks + before:
        fewer = times - before
        remedy = f"use {use('replicates', fewer)}" if fewer >= 1 else f"use another {use('time')}"
        raise DataError(
            f"rows in time need a time or more for each block that is scored, and for what is before it: "
            f"{blocks + before} for {use('replicates', blocks)}, got {times} different ones; {remedy}",
            setting="replicates" if fewer >= 1 else "time",
        )
    block = rows * min(evaluation.score_fraction, SCORED_SHARE / blocks)
    numbers = np.arange(blocks + 1)
    nearest = _nearest(ends, rows - block * (blocks - numbers))
    # Each block has a time of its own, and so has what is before the first.
    latest, earliest = times - (blocks - numbers), before + numbers
    nearest = np.minimum.accumulate((np.minimum(nearest, latest) - numbers)[::-1])[::-1] + numbers
    cuts: IntArray = np.maximum(nearest, earliest)
    return cuts


def _nearest(ends: IntArray, rows: npt.ArrayLike) -> IntArray:
    """The number of times whose rows are nearest to so many, 1 or more."""
    bounds = np.asarray(ends, float)
    after = np.minimum(np.searchsorted(bounds, rows), len(bounds) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.asarray(rows) - bounds[before] <= bounds[after] - np.asarray(rows)
    found: IntArray = np.where(nearer, before, after) + 1
    return found


def forward_notes(times: Times, target: Target, parts: Sequence[Resample]) -> list[str]:
    """What a person should know of the division; DataError where a replicate could learn nothing."""
    for number, part in enumerate(parts, start=1):
        values = target.values[part.train]
        if not (values != values[:1]).any():
            raise DataError(
                f"the target must vary in the rows that a replicate trains on, it is the same in all {len(values):,} "
                f"of replicate {number}, which come before {times.first(part.score)}; use fewer {use('replicates')}, "
                f"a lower {use('score_fraction')}, or another {use('time')}",
                setting="time",
            )
    blocks = "1 block" if len(parts) == 1 else f"{len(parts)} blocks"
    lengths = " to ".join(f"{length:,}" for length in sorted({len(parts[0].train), len(parts[-1].train)}))
    notes = [
        f"rows are divided by {times.name!r}: {blocks} from {times.first(parts[0].score)} on are scored, each after "
        f"training on rows before it ({lengths})"
    ]
    unmet = _unmet_classes(target, parts) if target.task == "classification" else {}
    notes += [
        f"replicate {number} is scored on rows of classes that it has not met in training: {listed(names)}"
        for number, names in list(unmet.items())[:MOST_NOTES]
    ]
    if len(unmet) > MOST_NOTES:
        notes.append(f"so are {len(unmet) - MOST_NOTES} more replicates")
    return notes


def _unmet_classes(target: Target, parts: Sequence[Resample]) -> dict[int, list[str]]:
    """The classes that only the scored rows of a replicate have, by its number, from 1 on, where there are any."""
    found = {}
    for number, part in enumerate(parts, start=1):
        new = np.setdiff1d(target.strata[part.score], target.strata[part.train])
        if new.size:
            found[number] = [target.classes[code] for code in new.tolist()]
    return found
