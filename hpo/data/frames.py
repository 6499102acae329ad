"""Data that is handed over in Python, and the Parquet file that stands for it."""

import base64
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.errors import DataError, use
from hpo.processes import unusable
from hpo.words import bytes_text, shown

if TYPE_CHECKING:
    import pandas as pd

TARGET = "target"
"""The name of a target that has none."""


def as_frame(data: object) -> object:
    """A table of another library as a pandas frame: polars, Arrow, sparse matrices, lists of rows, a dict of columns.

    All else is returned as it is.
    """
    if isinstance(data, str | PathLike) or data is None:
        return data
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, Mapping | list | tuple):
        return _from_lists(data)
    if hasattr(data, "toarray") and hasattr(data, "nnz"):
        return data.toarray()
    if hasattr(data, "__arrow_c_stream__") and not isinstance(data, pd.Series):
        import pyarrow as pa

        return pa.table(data).to_pandas()
    for convert in ("to_arrow", "to_pandas"):
        if hasattr(data, convert):
            return as_frame(getattr(data, convert)())
    return data


def _from_lists(data: "Mapping[Any, Any] | list[Any] | tuple[Any, ...]") -> object:
    """Rows or columns that Python's own lists hold; as it is where they are none."""
    import pandas as pd

    rows = [] if isinstance(data, Mapping) else list(data)
    if not isinstance(data, Mapping) and not (rows and all(isinstance(row, list | tuple | dict) for row in rows)):
        return data
    lengths = {len(values) for values in (data.values() if isinstance(data, Mapping) else rows)}
    if len(lengths) > 1 and not any(isinstance(row, dict) for row in rows):
        raise DataError(
            f"rows or columns must be of one length, got some of {' and '.join(map(str, sorted(lengths)[:2]))} values; "
            f"fill in what is missing",
            setting="data",
        )
    if isinstance(data, Mapping) or isinstance(rows[0], dict):
        return pd.DataFrame(data)
    return pd.DataFrame(rows, columns=[f"x{number}" for number in range(len(rows[0]))])


def with_target(data: object, target: object) -> "tuple[object, Any]":
    """Inputs and outputs as scikit-learn takes them, joined to a frame and the name of its target.

    `data` is a frame or an array (rows, columns), `target` a series, an array (rows,) or (rows, labels), or a list of
    as many values. All else is returned as it is: `target` names columns then. DataError where their lengths differ or
    names would be lost.
    """
    if isinstance(target, list | tuple):
        target = _listed(data, target)
    if isinstance(target, str) or not hasattr(target, "shape") or not hasattr(target, "__len__") or not target.shape:
        return data, target
    import numpy as np
    import pandas as pd

    if isinstance(target, pd.Index):
        return data, list(target)
    if isinstance(data, np.ndarray) and data.ndim == 2:
        data = pd.DataFrame(data, columns=[f"x{number}" for number in range(data.shape[1])])
    if not isinstance(data, pd.DataFrame):
        return data, target
    outputs = _outputs(target)
    if len(outputs) != len(data):
        raise DataError(
            f"there must be a target for each row, got {len(outputs)} for {len(data)} rows; give as many",
            setting="target",
        )
    both = sorted({str(name) for name in outputs.columns} & {str(name) for name in data.columns})
    if both:
        raise DataError(
            f"a target must not be an input too, got {', '.join(map(repr, both))} in both; leave it away in one",
            setting="target",
        )
    joined = pd.concat([data.reset_index(drop=True), outputs.reset_index(drop=True)], axis=1)
    return joined, [str(name) for name in outputs.columns]


def _listed(data: object, target: "list[Any] | tuple[Any, ...]") -> object:
    """A list of names as it is, one of values as a series or an array."""
    import numpy as np
    import pandas as pd

    if not isinstance(data, pd.DataFrame | np.ndarray) or not target:
        return target
    if isinstance(data, pd.DataFrame):
        names, columns = [str(name) for name in target], {str(name) for name in data.columns}
        if len(target) != len(data) or (len(set(names)) == len(names) and columns.issuperset(names)):
            return target
    is_flat = not any(isinstance(value, list | tuple) for value in target)
    return pd.Series(list(target)) if is_flat else np.array(target, dtype=object)


def _outputs(target: Any) -> "pd.DataFrame":  # noqa: ANN401 - anything like an array
    import numpy as np
    import pandas as pd

    if isinstance(target, pd.DataFrame):
        return target
    if isinstance(target, pd.Series):
        return target.to_frame(name=TARGET if target.name is None else target.name)
    values = np.asarray(target)
    if values.ndim == 1 or values.shape[1] == 1:
        return pd.DataFrame({TARGET: values.reshape(len(values))})
    return pd.DataFrame(values, columns=[f"y{number}" for number in range(values.shape[1])])


def _no_frame(data: object) -> DataError:
    """Why this is no frame, and what to do."""
    shape = getattr(data, "shape", None)
    rule, remedy = (
        "data must be a data frame of pandas or polars, a path, a built-in name, or arrays of inputs and targets",
        "convert it",
    )
    if isinstance(shape, tuple) and len(shape) not in (1, 2):
        rule, remedy = "data must be a frame, or an array of 2 dimensions (rows, columns)", "reshape it"
    elif isinstance(shape, tuple):
        remedy = f"give an array of as many targets as {use('target')}, or make it a data frame"
    got = shown(data) if shape is not None else type(data).__name__
    return DataError(f"{rule}, got {got}; {remedy}", setting="data")


def _stored_schema(data: bytes) -> Any:  # noqa: ANN401 - a pyarrow.Schema or None
    """The types that columns had before they were written as Parquet, as far as Arrow noted them; else None."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    noted = (pq.read_metadata(pa.BufferReader(data)).metadata or {}).get(b"ARROW:schema")
    try:
        return None if noted is None else pa.ipc.read_schema(pa.py_buffer(base64.b64decode(noted)))
    except (pa.ArrowException, ValueError):
        return None


def with_categories(frame: "pd.DataFrame", data: bytes) -> "dict[str, pd.Series]":
    """The columns of a Parquet file that were categories when they were written, and are not any more in the frame:
    Parquet keeps only those of text. The order of numbers is theirs."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    found, read = {}, pq.read_schema(pa.BufferReader(data))
    for place, column in enumerate(_stored_schema(data) or ()):
        if place < len(read) and read.field(place).name == column.name and pa.types.is_dictionary(column.type):
            name = str(column.name)
            if not isinstance(frame[name].dtype, pd.CategoricalDtype):
                found[name] = pd.Series(pd.Categorical(frame[name], ordered=column.type.ordered))
    return found


def write_frame(frame: object, path: Path) -> Path:
    """Write columns and values as Parquet, the same bytes for equal ones, and return the path.

    The index and what else pandas notes are left out. Raises DataError for what is no frame, has repeated
    column names or cannot be stored; ResourceError where there is no room for it.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(frame, pd.DataFrame):
        raise _no_frame(frame)
    names = [str(name) for name in frame.columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            f"column names must differ, got {', '.join(map(repr, repeated))} twice; rename one", setting="data"
        )
    columns = {name: _column(name, column) for name, (_, column) in zip(names, frame.items(), strict=True)}
    table = pa.table(columns)
    try:
        pq.write_table(table, path)
    except OSError as error:
        raise unusable(path.parent, error, f"a frame of {bytes_text(table.nbytes)} is written to it") from None
    return path


def _has_own_order(dtype: Any) -> bool:  # noqa: ANN401 - a pd.CategoricalDtype
    """Whether numbers are in an order that is not theirs, which Parquet would lose."""
    numeric = dtype.categories.dtype.kind in "iuf"
    return bool(dtype.ordered and numeric and not dtype.categories.is_monotonic_increasing)


def _column(name: str, values: "pd.Series") -> Any:  # noqa: ANN401 - a pyarrow.Array
    """A column as Parquet holds it: what it does not know, such as intervals, periods and mixed values, as text."""
    import pandas as pd
    import pyarrow as pa

    own = (pd.IntervalDtype, pd.PeriodDtype)
    dtype: Any = values.dtype
    if isinstance(dtype, pd.CategoricalDtype) and (isinstance(dtype.categories.dtype, own) or _has_own_order(dtype)):
        words = pd.Index([str(category) for category in dtype.categories])
        return pa.array(pd.Categorical.from_codes(values.cat.codes, words, ordered=dtype.ordered))
    plain = values.astype(object) if isinstance(dtype, own) else values
    try:
        return pa.array(plain.to_numpy() if isinstance(dtype, pd.SparseDtype) else plain, from_pandas=True)
    except (pa.ArrowException, OverflowError, TypeError) as error:
        reason = str(error).splitlines()[0]
    if not all(isinstance(value, str | int | float | pd.Interval | pd.Period) for value in plain[plain.notna()]):
        raise DataError(
            f"a column must hold numbers, texts, times or booleans, {name!r} holds {dtype} ({reason}); "
            f"convert it, for instance to text, or leave it away",
            setting="data",
        )
    texts = [None if missing else str(value) for value, missing in zip(plain, plain.isna(), strict=True)]
    return pa.array(texts, type=pa.string())
