"""Reading a table: a CSV or Parquet file, a copy of one, a built-in set, or a frame handed over as Parquet.

CSV is checked row by row with the csv module before pandas reads it: pandas would accept rows of other
lengths, rename columns of the same name and read on after an open quote.
"""

import codecs
import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hpo.data.fingerprint import opened, unreadable
from hpo.data.frames import stored_schema, with_categories
from hpo.data.spec import DataSpec
from hpo.errors import DataError, use

UNNAMED = "(unnamed column) "
"""Begins the name of a CSV column that has none."""
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_DECIMAL_COMMA = r"\s*[+-]?\d*,?\d+([eE][+-]?\d+)?\s*"
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; UTF-16's begins UTF-32's."""
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x1f\x8b": "compressed",
    b"\x89HDF": "HDF5",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A table and how it was read, in `notes`. `sha256` is of the file's bytes, "" for a built-in set.

    `as_written`: all columns are texts as they stand in the file, words for missing values among them.
    """

    name: str
    frame: pd.DataFrame
    sha256: str
    notes: tuple[str, ...] = ()
    as_written: bool = False


def read_source(spec: DataSpec, copy: Path | None = None) -> Source:
    """Read what `spec` names, or a copy of it: of a frame, which has no other source, a Parquet file.

    Raises DataError where it cannot be read, or where its content is not what the spec was made for.
    """
    if spec.kind == "builtin":
        from hpo.data.builtin import load_builtin

        return Source(spec.source, load_builtin(spec.source), "")
    if spec.kind == "frame" and not copy:
        raise DataError("the data is a frame handed over in Python, got none; call hpo.tune(frame, ...) again")
    name = "the data frame" if spec.kind == "frame" else spec.source
    data = _content(copy or Path(spec.source))
    sha256 = hashlib.sha256(data).hexdigest()
    if spec.sha256 and sha256 != spec.sha256:
        raise DataError(
            f"the data must stay the same during a study, {name} was changed; put it back, or start a new study, of a "
            f"copy where something still writes to it"
        )
    if data[:4] == b"PAR1":
        if spec.encoding != "utf-8" or not spec.missing_words:
            raise DataError(
                f"an encoding and missing words are for CSV files, {name} is Parquet; leave them away",
                setting="missing_words" if spec.encoding == "utf-8" else "encoding",
            )
        return Source(name, _read_parquet(name, data, spec.preparation), sha256)
    as_written = spec.preparation > 1
    frame, notes = _read_csv(name, data, spec.encoding, spec.missing_words, as_written)
    return Source(name, frame, sha256, notes, as_written)


def _content(path: Path) -> bytes:
    try:
        with opened(path) as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from None


def _read_parquet(name: str, data: bytes, preparation: int = 1) -> pd.DataFrame:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(data))
        _refuse_duplicates(name, [str(column) for column in table.column_names])
        frame: pd.DataFrame = table.to_pandas().reset_index(drop=True)
        if preparation > 1:
            frame = frame.assign(**with_categories(frame, table.schema, stored_schema(data)))
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{name} is no readable Parquet file: {reason}; write the file again") from None
    frame.columns = pd.Index([str(column) for column in frame.columns])
    if frame.empty:
        raise DataError(f"{name} must hold rows, it has none; check how it was written")
    return frame


def _read_csv(
    name: str, data: bytes, encoding: str, missing_words: bool, as_written: bool = False
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The frame, all texts where it is read `as_written`, and notes on how it was read."""
    text = _decoded(name, data, encoding)
    separator = _separator(text)
    header, rows = _check_rows(name, text, separator)
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=0,
            names=header,
            index_col=False,
            skipinitialspace=True,
            low_memory=False,
            keep_default_na=missing_words and not as_written,
            na_values=[""],
            dtype="string[pyarrow]" if as_written else None,
        )
    except (pd.errors.ParserError, ValueError) as error:
        raise DataError(f"{name} is no readable CSV file: {error}; check how it was written") from None
    if len(frame) != rows:
        raise DataError(
            f"{name} is ambiguous: it has {rows} or {len(frame)} rows, depending on how blank lines and "
            f"quotes are read; write the file again without them"
        )
    notes = []
    if separator != ",":
        notes.append(f"fields are separated by {_SEPARATORS[separator]}s")
    if separator == ";" and not as_written and (changed := _convert_decimal_commas(frame)):
        notes.append(f"numbers are read with decimal commas: {', '.join(map(repr, changed))}")
    return frame, tuple(notes)


def _separator(text: str) -> str:
    """The one of `_SEPARATORS` that is most frequent in the header, outside quotes; a comma where none is."""
    header = re.search(r"[^\r\n]*\S[^\r\n]*", text)
    line = re.sub(r'"[^"]*("|$)', "", header.group() if header else "")
    return max(_SEPARATORS, key=line.count)


def _convert_decimal_commas(frame: pd.DataFrame) -> list[str]:
    """Make numbers of the columns that hold texts like `3,14` only, in place; returns their names."""
    changed = []
    for name in frame.columns:
        if not isinstance(frame[name].dtype, pd.StringDtype):
            continue
        known = frame[name].dropna()
        if known.str.contains(",", regex=False).any() and known.str.fullmatch(_DECIMAL_COMMA).all():
            frame[name] = pd.to_numeric(frame[name].str.replace(",", ".", regex=False)).astype(float)
            changed.append(name)
    return changed


def _decoded(name: str, data: bytes, encoding: str) -> str:
    """The text of a CSV file; DataError names the line of what cannot be text."""
    if not data.strip():
        raise DataError(f"{name} must hold a header and rows, it is empty; check how it was written")
    for start, what in _OTHER_FORMATS.items():
        if data.startswith(start):
            raise DataError(f"data must be a CSV or Parquet file, {name} is {what}; unpack or convert it first")
    _check_mark(name, data, encoding)
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "replace")
        remedy = f"save the file as UTF-8, or name its encoding, for instance {use('encoding', 'cp1252')}"
        reason = f"byte 0x{data[error.start]:02x} is not {encoding.upper()}; {remedy}"
        raise _at_line(name, _line(before, len(before)), reason, setting="encoding") from None
    except UnicodeError as error:  # of an encoding that no text file has
        raise DataError(
            f"{name} is not {encoding.upper()}: {error}; use the {use('encoding')} that it was saved in",
            setting="encoding",
        ) from None
    if (place := text.find("\0")) >= 0:
        remedy = f"write it again as text, or name its encoding, for instance {use('encoding', 'utf-16-le')}"
        raise _at_line(name, _line(text, place), f"a NUL byte, which text in {encoding.upper()} has not; {remedy}")
    return text


def _check_mark(name: str, data: bytes, encoding: str) -> None:
    """Refuse a file whose first bytes say that it is in another encoding."""
    marked = next((family for mark, family in _MARKS.items() if data.startswith(mark)), None)
    if marked is not None and not encoding.startswith(marked):
        raise DataError(
            f"a CSV file must be in the encoding that it is read in, {name} is {marked.upper()} and is read "
            f"as {encoding.upper()}; use {use('encoding', marked)}, or save it as UTF-8",
            setting="encoding",
        )


def _check_rows(name: str, text: str, separator: str) -> tuple[list[str], int]:
    """The column names and the number of rows; DataError names the line of the first bad row."""
    records = _records(name, text, separator)
    line, first = next(records, (1, [""]))
    header = [column.strip() for column in first]
    if len(header) == 1 and "|" in header[0]:
        raise _at_line(name, line, "fields are separated by '|'; separate them by commas, semicolons or tabs")
    _refuse_duplicates(f"{name}, line {line}", [column for column in header if column])
    rows = 0
    for line, row in records:
        if len(row) != len(header):
            what = "is the file cut off?"
            if len(row) > len(header):
                what = f"is a {_SEPARATORS[separator]} not in quotes?"
            raise _at_line(name, line, f"{len(row)} fields where the header has {len(header)}; {what}")
        rows += 1
    if rows == 0:
        raise DataError(f"{name} must hold rows, it has only a header; check how it was written")
    return _named(header), rows


def _records(name: str, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each record that is not blank; DataError where a quote is wrong."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    line = 1
    try:
        for row in reader:
            if row and row != [""]:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        reason = str(error)
        if "unexpected end" in reason or "field limit" in reason:
            reason = "a quote is opened and never closed"
        elif "expected after" in reason:
            reason = "a quoted field goes on after its closing quote; write a quote inside of quotes twice"
        raise _at_line(name, line, reason) from None


def _refuse_duplicates(place: str, columns: list[str]) -> None:
    twice = [column for column, times in Counter(columns).items() if times > 1]
    if twice:
        names = ", ".join(repr(column) for column in twice[:5])
        raise DataError(f"{place}: column names must differ, {names} occurs more than once; rename or remove columns")


def _named(header: list[str]) -> list[str]:
    """The header with a name for each column that has none; `UNNAMED` begins it."""
    return [column or f"{UNNAMED}{number}" for number, column in enumerate(header, start=1)]


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _at_line(name: str, line: int, reason: str, setting: str = "data") -> DataError:
    return DataError(f"{name}, line {line}: {reason}", setting=setting)
