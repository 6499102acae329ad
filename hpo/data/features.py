"""From a table's columns to a network's inputs: fitted on one replicate's train rows, kept, and applied to any rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.columns import LARGEST, kind_of, listed, numbers, texts
from hpo.data.inputs import INPUTS, Input, Number, Values, fitted_inputs
from hpo.data.kinds import times
from hpo.data.resampling import RowNumbers
from hpo.data.rescaling import Scales
from hpo.data.scaling import SCALES
from hpo.errors import DataError
from hpo.study.facts import InputColumn

ROWS_AT_ONCE = 16_384
"""What is made on the way to the inputs stays in the processor's cache."""
Json = dict[str, Any]
Arrays = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureState:
    """What was learned from the train rows: the columns that are needed, and the inputs they become, in order."""

    columns: tuple[InputColumn, ...]
    inputs: tuple[Input, ...]

    @property
    def width(self) -> int:
        """How many inputs a network has."""
        return sum(each.width for each in self.inputs)

    @property
    def scales(self) -> Scales:
        """How the numbers among the inputs are scaled."""
        ends = np.cumsum([each.width for each in self.inputs])
        numbers = [(place, each) for place, each in zip(ends, self.inputs, strict=True) if isinstance(each, Number)]
        return Scales.of([int(place) - 1 for place, _ in numbers], [each.scale for _, each in numbers])

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float32]:
        """The inputs (rows, width) of any rows, whatever the order of their columns; `scales` makes more of numbers.

        DataError for a column that is not there, or that holds what it cannot.
        """
        if absent := [column.name for column in self.columns if column.name not in frame.columns]:
            raise DataError(
                f"the inputs need the columns of the training table, {listed(absent)} are missing; add them"
            )
        out = np.empty((len(frame), self.width), np.float32)
        for first in range(0, len(frame), ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            values = {column.name: read_column(column, frame[column.name].iloc[part], first) for column in self.columns}
            place = 0
            for each in self.inputs:
                each.write(values[each.name], out[part, place : place + each.width])
                place += each.width
        return out

    def to_json(self) -> tuple[Json, Arrays]:
        """Plain values, and the arrays that they name; `from_json` is the inverse, to the bit."""
        arrays: Arrays = {}
        inputs = [_plain(each, f"{number}.", arrays) for number, each in enumerate(self.inputs)]
        return {"columns": [asdict(column) for column in self.columns], "inputs": inputs}, arrays

    @classmethod
    def from_json(cls, values: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[np.float64]]) -> Self:
        """Rebuild from `to_json`, lists for tuples."""
        columns = tuple(InputColumn(**_tuples(column)) for column in values["columns"])
        inputs = [_rebuilt(INPUTS, each, f"{number}.", arrays) for number, each in enumerate(values["inputs"])]
        return cls(columns, tuple(inputs))

    def save(self, path: Path) -> None:
        """Write `path` with the endings `.json` and `.npz`."""
        values, arrays = self.to_json()
        path.with_name(path.name + ".json").write_text(json.dumps(values), "utf-8")
        np.savez(path.with_name(path.name + ".npz"), allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        values = json.loads(path.with_name(path.name + ".json").read_text("utf-8"))
        with np.load(path.with_name(path.name + ".npz"), allow_pickle=False) as arrays:
            return cls.from_json(values, arrays)


def fit(frame: pd.DataFrame, columns: Sequence[InputColumn], train: RowNumbers) -> FeatureState:
    """Learn from the rows `train`, each as often as it is drawn.

    Inputs that are the same in all train rows are left out, as other rows may have values there of any size. So the
    width depends on `train`.
    """
    found = [fitted_inputs(column, read_column(column, frame[column.name])[train]) for column in columns]
    used = tuple(column for column, inputs in zip(columns, found, strict=True) if inputs)
    return FeatureState(used, tuple(each for inputs in found for each in inputs))


def read_column(column: InputColumn, values: pd.Series, first: int = 0) -> Values:
    """The values as inputs take them: float64 with NaN, datetime64[s] with NaT, or str and None; no copy where that is
    what they are. DataError for text among numbers or dates; its row is counted from `first` on."""
    if column.kind == "number":
        return _numbers(column.name, values, first)
    if column.kind == "date":
        return _dates(column.name, values, first)
    return values.to_numpy() if _is_clean(values) else _words(values)


def _is_clean(values: pd.Series) -> bool:
    return values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) in ("string", "empty")


def _words(values: pd.Series) -> Values:
    """Texts; whole numbers without a point, as they are where none is missing."""
    if pd.api.types.is_float_dtype(values.dtype):
        words = [None if np.isnan(n) else str(int(n)) if n.is_integer() else str(n) for n in numbers(values).tolist()]
        return np.array(words, dtype=object)
    return texts(values)


def _numbers(name: str, values: pd.Series, first: int) -> Values:
    if values.dtype == np.float64:
        found: Values = values.to_numpy()
    elif pd.api.types.is_bool_dtype(values.dtype) or kind_of(values) == "numeric":
        found = numbers(values)
    else:
        found = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        _check(name, "numbers", values, np.isnan(found), first)
    with np.errstate(invalid="ignore"):
        beyond = np.abs(found) > LARGEST
    return np.where(beyond, np.nan, found) if beyond.any() else found


def _dates(name: str, values: pd.Series, first: int) -> Values:
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return times(values).to_numpy()
    found = pd.to_datetime(values.astype(object), format="ISO8601", errors="coerce", utc=True).dt.tz_convert(None)
    dates = found.to_numpy().astype("datetime64[s]")
    _check(name, "dates such as 2024-12-31", values, np.isnat(dates), first)
    return dates


def _check(name: str, what: str, values: pd.Series, unread: npt.NDArray[np.bool_], first: int) -> None:
    """DataError where something is there that could not be read."""
    wrong = np.flatnonzero(unread & values.notna().to_numpy())
    if len(wrong):
        got = str(values.iloc[wrong[0]])
        raise DataError(
            f"column {name!r} must hold {what}, as in training, row {first + wrong[0] + 1:,} has {got!r}; "
            f"correct it, or leave it empty"
        )


def _plain(value: Any, prefix: str, arrays: Arrays) -> Json:  # noqa: ANN401 - an input or a scale
    """Fields by name; arrays go to `arrays`, under the prefix and the field's name."""
    plain: Json = {"kind": value.kind}
    for field in fields(value):
        held = getattr(value, field.name)
        if isinstance(held, np.ndarray):
            arrays[prefix + field.name] = held
        else:
            plain[field.name] = _plain(held, prefix, arrays) if hasattr(held, "kind") else held
    return plain


def _rebuilt(kinds: Mapping[str, Any], plain: Mapping[str, Any], prefix: str, arrays: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The inverse of `_plain`."""
    kind, held = kinds[plain["kind"]], {name: value for name, value in _tuples(plain).items() if name != "kind"}
    for name in (name for name, value in held.items() if isinstance(value, Mapping)):
        held[name] = _rebuilt(SCALES, held[name], prefix, arrays)
    for field in fields(kind):
        if prefix + field.name in arrays:
            held[field.name] = arrays[prefix + field.name]
    return kind(**held)


def _tuples(plain: Mapping[str, Any]) -> Json:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
