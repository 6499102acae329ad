"""From a frame as read to a table that can be learned from: the target checked, useless columns dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.source import UNNAMED, Source
from hpo.errors import DataError

LARGEST = 1e100
"""Numbers beyond this are taken for infinite: their squares could not be computed with."""
MAX_FRACTIONAL_CLASSES = 10
MAX_INTEGER_CLASSES = 100
FEW_CLASSES = 20
ID_SHARE = 0.9
ID_ROWS = 20
MAX_LISTED = 10
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal")
_TEXTS = ("string", "boolean", "mixed-integer", "mixed", "empty")

Kind = Literal["numeric", "text"]


@dataclass(frozen=True, slots=True)
class Column:
    """A feature column of the user's table."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to learn from.

    `frame` holds the feature columns: float64 with NaN, or object with text and None. `labels` (rows,) int32
    count from 0 in the order of `classes`; `groups` (rows,) number the values of the group column. `notes`
    say how it was read and what was left out.
    """

    frame: pd.DataFrame
    columns: tuple[Column, ...]
    labels: npt.NDArray[np.int32]
    classes: tuple[str, ...]
    groups: npt.NDArray[np.intp] | None
    notes: tuple[str, ...]


def build_table(source: Source, target: str, group: str | None = None) -> Table:
    """Check the target and keep the columns that can be used; raises DataError where none of it can."""
    notes = list(source.notes)
    frame = source.frame
    _check_column(source, "target", target)
    if group is not None:
        _check_column(source, "group", group)
        if group == target:
            raise DataError(f"the group column must not be the target, got {group!r} for both; use another --group")
    known = frame[target].notna().to_numpy()
    if not known.any():
        raise DataError(f"the target needs values, column {target!r} is empty in all rows; use another --target")
    if missing := int((~known).sum()):
        notes.append(f"{missing:,} rows have no target and are not used")
        frame = frame.loc[known].reset_index(drop=True)
    labels, classes = _labels(frame[target], target)
    groups = None if group is None else _groups(frame[group], group)
    features, columns = _features(frame.drop(columns=[target] if group is None else [target, group]), notes)
    return Table(features, columns, labels, classes, groups, tuple(notes))


def _check_column(source: Source, role: str, name: str) -> None:
    columns = list(source.frame.columns)
    if name in columns:
        return
    close = get_close_matches(name.lower(), [column.lower() for column in columns], n=3)
    matches = [column for column in columns if column.lower() in close]
    if matches:
        names = " or ".join(repr(column) for column in matches[:3])
        remedy = f"did you mean {names}? Use --{role} {matches[0]!r}"
    else:
        remedy = f"use --{role} with one of: {_listed(columns)}"
    raise DataError(f"the {role} must be a column of {source.name}, got {name!r}; {remedy}")


def _labels(values: pd.Series, target: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Class number of each row, and the classes' names: numbers in their order, others by name."""
    kind = _kind(values)
    if kind is None:
        raise DataError(f"the target must hold numbers or text, {target!r} holds {values.dtype}; convert it to text")
    if kind == "numeric":
        numbers = _numbers(values)
        distinct, codes = np.unique(numbers, return_inverse=True)
        _refuse_regression(distinct, len(numbers), target)
        classes = tuple(str(int(n)) if n == np.floor(n) else str(n) for n in distinct.tolist())
    else:
        distinct, codes = np.unique(_texts(values).astype(str), return_inverse=True)
        classes = tuple(distinct.tolist())
    if len(classes) == 1:
        raise DataError(
            f"the target needs at least 2 classes, column {target!r} holds only {classes[0]!r}; use another --target"
        )
    return codes.astype(np.int32), classes


def _refuse_regression(distinct: npt.NDArray[np.float64], rows: int, target: str) -> None:
    """Refuse a numeric target that measures rather than names: over 10 different numbers with fractions, over
    20 integers that are more than 5% of the rows, or over 100 integers."""
    if not np.isfinite(distinct).all():
        raise DataError(f"the target must not be infinite, column {target!r} is in some rows; correct these")
    fractional = bool((distinct != np.floor(distinct)).any())
    most = MAX_FRACTIONAL_CLASSES if fractional else min(MAX_INTEGER_CLASSES, max(FEW_CLASSES, rows // 20))
    if len(distinct) > most:
        raise DataError(
            f"the target must name classes, column {target!r} has {len(distinct):,} different numbers "
            f"in {rows:,} rows, which looks like a quantity (regression, which hpo does not do); "
            f"use another --target, or divide its range into a few classes"
        )


def _groups(values: pd.Series, group: str) -> npt.NDArray[np.intp]:
    if missing := int(values.isna().sum()):
        raise DataError(f"every row needs a group, column {group!r} has none in {missing:,} rows; fill these in")
    codes, _ = pd.factorize(values)
    return codes


def _features(frame: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, tuple[Column, ...]]:
    """The columns that can be used; `notes` gets a line for what was left out."""
    kept: dict[str, pd.Series] = {}
    columns: list[Column] = []
    dropped: dict[str, list[str]] = {}
    for name in frame.columns:
        values, kind = _cleaned(name, frame[name], notes)
        if reason := _useless(name, frame[name], values):
            dropped.setdefault(reason, []).append(name)
        else:
            kept[name] = values
            columns.append(Column(name, kind))
    notes += [f"not used, {reason}: {_listed(names)}" for reason, names in dropped.items()]
    if not columns:
        reasons = "; ".join(notes) or "there is only the target"
        raise DataError(f"the table needs a column to learn from, none is left ({reasons}); add columns")
    return pd.DataFrame(kept), tuple(columns)


def _cleaned(name: str, values: pd.Series, notes: list[str]) -> tuple[pd.Series, Kind]:
    """The column as `Table.frame` holds it; one that is neither numbers nor text becomes empty."""
    kind = _kind(values)
    if kind is None:
        return pd.Series(np.full(len(values), None), dtype=object), "text"
    if kind == "text":
        return pd.Series(_texts(values), dtype=object), kind
    numbers = _numbers(values)
    infinite = np.abs(numbers) > LARGEST
    if infinite.any():
        notes.append(f"column {name!r}: {int(infinite.sum()):,} infinite or huge numbers are read as missing")
        numbers[infinite] = np.nan
    return pd.Series(numbers), kind


def _useless(name: str, raw: pd.Series, values: pd.Series) -> str | None:
    """Why nothing can be learned from a column; None where something can."""
    if name.startswith(UNNAMED):
        return "no name, so taken for row numbers"
    if _kind(raw) is None:
        return f"neither numbers nor text but {raw.dtype}"
    count, distinct = values.count(), values.nunique()
    if count == 0:
        return "empty in all rows"
    if distinct == 1 and count == len(values):
        return "the same value in all rows"
    if values.dtype == object and count >= ID_ROWS and distinct > ID_SHARE * count:
        return "texts that are nearly all different, like names or identifiers"
    return None


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:MAX_LISTED])
    return shown if len(names) <= MAX_LISTED else f"{shown} and {len(names) - MAX_LISTED:,} more"


def _kind(values: pd.Series) -> Kind | None:
    """Whether a column holds numbers or text (booleans and categories are text); None for anything else."""
    dtype: Any = values.dtype
    if pd.api.types.is_bool_dtype(dtype) or isinstance(dtype, pd.StringDtype | pd.CategoricalDtype):
        return "text"
    if pd.api.types.is_numeric_dtype(dtype):
        return None if pd.api.types.is_complex_dtype(dtype) else "numeric"
    if not pd.api.types.is_object_dtype(dtype):
        return None
    content = pd.api.types.infer_dtype(values, skipna=True)
    if content in _NUMBERS:
        return "numeric"
    is_text = content in _TEXTS and all(pd.api.types.is_scalar(value) for value in values)
    return "text" if is_text else None


def _numbers(values: pd.Series) -> npt.NDArray[np.float64]:
    """(rows,) with NaN where missing."""
    if values.dtype == object:
        values = values.where(values.notna(), np.nan)
    return values.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)


def _texts(values: pd.Series) -> npt.NDArray[np.object_]:
    """(rows,) with None where missing."""
    texts = values.astype(object).to_numpy(copy=True)
    missing = values.isna().to_numpy()
    texts[missing] = None
    if not isinstance(values.dtype, pd.StringDtype):
        texts[~missing] = [str(value) for value in texts[~missing]]
    return texts
