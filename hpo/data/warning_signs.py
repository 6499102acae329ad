"""What in a table makes a good result doubtful: columns that run with the rows or give the target away, copies of rows,
classes of very few rows. Each finding is a line for people."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.columns import listed
from hpo.data.table import Table
from hpo.data.target import Target
from hpo.words import count_text

FEW_ROWS = 10
"""A class of fewer rows is judged by one or two of them."""
RUN_ROWS = 20
"""Fewer rows may be in order by chance."""
COPIES = 0.01
"""From this share of the rows on, copies are worth a line."""
LOOKED_AT = 10_000
"""Rows at most that single columns are tried on."""
LEFT = 0.02
"""A column that leaves less of the error than this gives the target away."""
LEAST_ERRORS = 10
"""What guessing must get wrong before a column can do better by more than chance."""
_MIX = np.uint64(0x9E3779B97F4A7C15)
_FLOATS = npt.NDArray[np.float64]
_VALUES = npt.NDArray[Any]


def warnings_about(table: Table) -> tuple[str, ...]:
    """All findings."""
    return (*_running(table.frame), *_giving_away(table), *_copies(table), *_rare_classes(table.target))


def _running(frame: pd.DataFrame) -> Iterator[str]:
    for name in frame.columns:
        values = frame[name]
        if values.dtype != object and runs_with_rows(values.to_numpy()):
            yield (
                f"column {str(name)!r} runs with the row number: if it only counts the rows, leave it out; if the rows "
                f"are in the order of time, an estimate on random rows may be too good"
            )


def runs_with_rows(values: _VALUES) -> bool:
    """Whether numbers or times never fall, or never rise, and mostly differ."""
    if len(values) < RUN_ROWS or pd.isna(values[0]) or pd.isna(values[-1]):
        return False
    later, before = values[1:], values[:-1]
    ordered = bool((later >= before).all() or (later <= before).all())  # false for missing ones
    return ordered and int((later != before).sum()) >= len(later) // 2


def _giving_away(table: Table) -> Iterator[str]:
    """Columns that alone predict the target, or a label, nearly perfectly for rows that they were not fitted on."""
    if len(table.frame) < RUN_ROWS:
        return
    fitted, tried = halves(len(table.frame), table.groups)
    outcomes = _outcomes(table.target)
    for name in table.frame.columns:
        values = _as_numbers(table.frame[name].iloc[np.concatenate([fitted, tried])])
        known, new = values[: len(fitted)], values[len(fitted) :]
        for label, outcome in outcomes:
            left = error_left(known, outcome[fitted], new, outcome[tried], classes=table.target.mean is None)
            if left is not None and left < LEFT:
                what = "the target" if label is None else f"the label {label!r}"
                yield (
                    f"column {str(name)!r} alone nearly gives {what} away: leave it out if it is not known before "
                    f"{what} is"
                )


def _outcomes(target: Target) -> list[tuple[str | None, _VALUES]]:
    """(rows,) of what is predicted, by label where there are several."""
    if target.task == "multilabel":
        return [(label, target.values[:, index]) for index, label in enumerate(target.classes)]
    return [(None, target.strata if target.task == "classification" else target.values[:, 0])]


def halves(rows: int, groups: npt.NDArray[np.intp] | None) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows to fit a column on and others to try it on, at most `LOOKED_AT` in all; groups are not split."""
    stream = np.random.default_rng(0)
    chosen = stream.permutation(rows)[:LOOKED_AT]
    if groups is None:
        return chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
    first = stream.permutation(int(groups.max()) + 1)[groups[chosen]] % 2 == 0
    return chosen[first], chosen[~first]


def error_left(known: _FLOATS, outcome: _VALUES, new: _FLOATS, truth: _VALUES, *, classes: bool) -> float | None:
    """The part of a guess's error that is left where a row has the outcome of the value that is nearest to its own.

    The guess is the most frequent class, or the mean. None where there are too few errors to tell.
    """
    if len(known) == 0 or len(new) == 0:
        return None
    values, place = np.unique(known, return_inverse=True)
    by_value, guess = _by_value(place, len(values), outcome, classes=classes)
    right = np.searchsorted(values, new).clip(0, len(values) - 1)
    left = (right - 1).clip(0)
    nearest = np.where(np.abs(new - values[left]) < np.abs(values[right] - new), left, right)
    if classes:
        wrong, usual = int((by_value[nearest] != truth).sum()), int((truth != guess).sum())
        return wrong / usual if usual >= LEAST_ERRORS else None
    spread = float(((truth - guess) ** 2).sum())
    return float(((truth - by_value[nearest]) ** 2).sum()) / spread if spread > 0 else None


def _by_value(place: npt.NDArray[np.intp], count: int, outcome: _VALUES, *, classes: bool) -> tuple[_VALUES, Any]:
    """The most frequent class, or the mean, of each value; and that of all rows."""
    if not classes:
        numbers = outcome.astype(np.float64)
        return np.bincount(place, numbers, count) / np.bincount(place, minlength=count), np.float64(numbers.mean())
    names, codes = np.unique(outcome, return_inverse=True)
    pairs, times = np.unique(place * len(names) + codes, return_counts=True)
    best = pairs[np.lexsort((times, pairs // len(names)))]
    last = np.searchsorted(best // len(names), np.arange(count), side="right") - 1
    return names[best[last] % len(names)], names[np.bincount(codes).argmax()]


def _as_numbers(values: pd.Series) -> _FLOATS:
    """(rows,): texts as the numbers of their values, times as seconds; missing ones lie below all others."""
    if values.dtype == object:
        return np.asarray(pd.factorize(values)[0], np.float64)
    missing = values.isna().to_numpy()
    found = values.to_numpy()
    numbers = found.astype(np.int64 if found.dtype.kind == "M" else np.float64).astype(np.float64)
    present = numbers[~missing]
    if len(present):
        numbers[missing] = 2 * present.min() - present.max() - 1
    return np.where(missing & (len(present) == 0), 0.0, numbers)


def _copies(table: Table) -> Iterator[str]:
    count, rows = copies(table), len(table.frame)
    if rows and count / rows >= COPIES:
        yield (
            f"{count:,} of {count_text(rows, 'row')} ({count / rows:.0%}) are exact copies of others: a network may be "
            f"scored on rows that it was trained on"
        )


def copies(table: Table) -> int:
    """How many rows equal an earlier one in all inputs and the target."""
    total = np.zeros(len(table.frame), np.uint64)
    columns = [table.frame[name] for name in table.frame.columns]
    for part in (*map(_bits, columns), *(_bits(pd.Series(outcome)) for _, outcome in _outcomes(table.target))):
        total = (total ^ part) * _MIX
        total ^= total >> np.uint64(29)
    return len(total) - len(np.unique(total))


def _bits(values: pd.Series) -> npt.NDArray[np.uint64]:
    """(rows,) that are equal where the values are."""
    if values.dtype == object:
        return pd.factorize(values)[0].astype(np.int64).view(np.uint64)
    found = values.to_numpy()
    if found.dtype.kind == "M":
        return found.astype(np.int64).view(np.uint64)
    numbers = found.astype(np.float64) + 0.0  # of -0.0 and 0.0 one
    numbers[np.isnan(numbers)] = np.nan
    return numbers.view(np.uint64)


def _rare_classes(target: Target) -> Iterator[str]:
    if target.task != "classification":
        return
    rare = [(name, count) for name, count in zip(target.classes, target.counts, strict=True) if count < FEW_ROWS]
    if rare:
        most = max(count for _, count in rare)
        which = "class" if len(rare) == 1 else "classes"
        yield (
            f"few rows ({'' if len(rare) == 1 else 'at most '}{most}) of the {which} {listed([n for n, _ in rare])}: "
            f"how well {'it is' if len(rare) == 1 else 'they are'} predicted cannot be judged"
        )
