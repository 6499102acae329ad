"""Tables in formats of their own, each recognized by its content: Parquet, Arrow, JSON, Excel, NumPy."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from hpo.data.header import has_header
from hpo.data.named import named, numbered, refuse_duplicates
from hpo.data.packed import is_format
from hpo.data.text import at_line, decoded
from hpo.errors import DataError, ResourceError

Read = tuple[pd.DataFrame, tuple[str, ...]]
Reader = Callable[[str, bytes, bool | None], Read]
"""Takes the file's name, its content and whether its first row is a header; returns the frame, and notes."""

_JSON = re.compile(rb"(\xef\xbb\xbf)?\s*(\[\s*[\[{]|\{\s*[\"}])")


def reader_of(name: str, data: bytes) -> tuple[str, Reader] | None:
    """The format and what reads it; None where it may be CSV. DataError for a zip archive that is no table."""
    for start, format_and_reader in _READERS.items():
        if data.startswith(start):
            return format_and_reader
    if data.startswith(b"PK\x03\x04"):
        return _of_archive(name, data)
    return ("JSON", _read_json) if _JSON.match(data) else None


def _of_archive(name: str, data: bytes) -> tuple[str, Reader]:
    members = zipfile.ZipFile(io.BytesIO(data)).namelist()
    if all(member.endswith(".npy") for member in members):
        return "NumPy", _read_npz
    if "xl/workbook.xml" in members:
        return "Excel", _read_excel
    assert is_format(members)
    raise DataError(f"{name} is a document of an office program, but no .xlsx file; save its table as .xlsx or CSV")


def _read_parquet(name: str, data: bytes, header: bool | None) -> Read:
    import pyarrow.parquet

    return _from_arrow(name, "Parquet", lambda: pyarrow.parquet.read_table(io.BytesIO(data)))


def _read_feather(name: str, data: bytes, header: bool | None) -> Read:
    import pyarrow.ipc

    return _from_arrow(name, "Feather", lambda: pyarrow.ipc.open_file(data).read_all())


def _read_stream(name: str, data: bytes, header: bool | None) -> Read:
    import pyarrow.ipc

    return _from_arrow(name, "Arrow", lambda: pyarrow.ipc.open_stream(data).read_all())


def _from_arrow(name: str, format_name: str, read: Callable[[], Any]) -> Read:
    import pyarrow

    try:
        table = read()
        refuse_duplicates(name, [str(column) for column in table.column_names])
        frame: pd.DataFrame = table.to_pandas().reset_index(drop=True)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{name} is no readable {format_name} file: {reason}; write the file again") from None
    frame.columns = pd.Index([str(column) for column in frame.columns])
    return frame, ()


def _read_json(name: str, data: bytes, header: bool | None) -> Read:
    """One object for each row: each on a line of its own, or all in an array."""
    text = decoded(name, data, "utf-8")
    rows: Any
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise at_line(name, error.lineno, f"no readable JSON: {error.msg}; is the file cut off?") from None
        if not all(isinstance(row, dict) for row in rows):
            raise DataError(f"JSON must hold an object for each row, {name} holds other values; write it as CSV")
    else:
        rows = [_row(name, number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    names = list(dict.fromkeys(key for row in rows for key in row))
    return pd.DataFrame({key: column_of([row.get(key) for row in rows]) for key in names}), ()


def _row(name: str, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise at_line(
            name, number, f"no readable JSON: {error.msg}; each line must hold one row, as an object"
        ) from None
    if not isinstance(row, dict):
        raise at_line(name, number, "a row must be a JSON object with a value for each column")
    return row


def _read_excel(name: str, data: bytes, header: bool | None) -> Read:
    """The first sheet that holds something."""
    try:
        import openpyxl
    except ImportError:
        raise ResourceError(
            f"Excel files are read with openpyxl, which is not installed, got {name}; pip install 'hpo[excel]', or "
            f"save the table as CSV",
            setting="data",
        ) from None
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = {sheet.title: _cells(sheet) for sheet in book.worksheets}
    except Exception as error:  # it raises whatever it meets in a damaged file
        raise DataError(f"{name} is no readable Excel file: {error}; save it again") from None
    filled = {title: cells for title, cells in sheets.items() if cells}
    if not filled:
        raise DataError(f"{name} must hold a header and rows, its sheets are empty; check how it was written")
    title, (first, *rows) = next(iter(filled.items()))
    notes = (f"sheet {title!r} is read, the first of {len(filled)}",) if len(filled) > 1 else ()
    fields = ["" if value is None else str(value).strip() for value in first]
    texts = [["" if value is None else str(value) for value in row] for row in rows[:200]]
    if has_header(f"{name}, sheet {title!r}", fields, texts, header):
        refuse_duplicates(f"{name}, sheet {title!r}", [field for field in fields if field])
        names = named(fields)
    else:
        names, rows = numbered(len(fields)), [first, *rows]
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pd.DataFrame({key: column_of(values) for key, values in zip(names, columns, strict=True)}), notes


def _cells(sheet: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - of a package that is there or not
    """Its rows that hold something, without empty columns at the end."""
    rows = [row for row in sheet.iter_rows(values_only=True) if any(value is not None for value in row)]
    width = max((number + 1 for row in rows for number, value in enumerate(row) if value is not None), default=0)
    return [(*row[:width], *[None] * (width - len(row))) for row in rows]


def _read_npy(name: str, data: bytes, header: bool | None) -> Read:
    return arrays_frame(name, {"column": _loaded(name, data)}), ()


def _read_npz(name: str, data: bytes, header: bool | None) -> Read:
    import numpy as np

    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return arrays_frame(name, dict(arrays)), ()
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _no_array(name, error) from None


def _loaded(name: str, data: bytes) -> Any:  # noqa: ANN401 - an array
    import numpy as np

    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _no_array(name, error) from None


def _no_array(name: str, error: Exception) -> DataError:
    reason = "it holds Python objects, which can be code" if "allow_pickle" in str(error) else error
    return DataError(f"{name} is no readable NumPy file: {reason}; write numbers or texts with numpy.save")


def arrays_frame(name: str, arrays: dict[str, Any]) -> pd.DataFrame:
    """Arrays of as many rows side by side: NAME for one dimension, NAME_1, NAME_2, ... for two; or fields."""
    columns: dict[str, Any] = {}
    for key, array in arrays.items():
        if array.dtype.names:
            columns |= {field: array[field] for field in array.dtype.names}
        elif array.ndim == 2:
            columns |= {f"{key}_{number}": values for number, values in enumerate(array.T, start=1)}
        elif array.ndim == 1:
            columns[key] = array
        else:
            raise DataError(f"an array must have 1 or 2 dimensions, {key!r} in {name} has {array.ndim}; reshape it")
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{key}: {length:,}" for key, length in list(lengths.items())[:5])
        raise DataError(f"arrays must have as many rows, {name} has {said}; write those that belong together")
    return pd.DataFrame(columns)


def column_of(values: Sequence[Any]) -> pd.Series:
    """Python's values as a column: numbers, dates or booleans where all that are known are; else texts."""
    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    if len(kinds) <= 1 or kinds <= {int, float}:
        return pd.Series(list(values)) if known else pd.Series([None] * len(values), dtype=object)
    return pd.Series([None if value is None else _text(value) for value in values], dtype="str")


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


_READERS: dict[bytes, tuple[str, Reader]] = {
    b"PAR1": ("Parquet", _read_parquet),
    b"ARROW1": ("Feather", _read_feather),
    b"\xff\xff\xff\xff": ("Arrow", _read_stream),
    b"\x93NUMPY": ("NumPy", _read_npy),
}
