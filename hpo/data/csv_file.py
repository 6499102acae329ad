"""CSV as a frame of texts, as they are written: what they mean is told from whole columns later.

A file without quotes is split by Arrow, which refuses rows of other lengths. All else goes through the csv module,
which is slower and names the line of what is wrong: quotes, and whatever Arrow did not take.
"""

import csv
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from hpo.data.header import has_header
from hpo.data.named import named, numbered, refuse_duplicates
from hpo.data.text import at_line, check_mark, decoded
from hpo.errors import DataError

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_TOLD = re.compile(rb'\s*"?sep=([,;\t|])"?[ \t]*(\r\n|\n|\r)', re.IGNORECASE)
"""A first line with which spreadsheets say what separates fields."""
_MARK = b"\xef\xbb\xbf"
_SAMPLE = 200
"""Rows that tell whether the first one is a header."""
_CHUNK = 10_000
_TEXT = pa.large_string()

Record = tuple[int, list[str]]
"""Line number and fields."""


@dataclass(frozen=True, slots=True)
class _Text:
    """UTF-8 from the first record on, and how it is divided."""

    name: str
    data: bytes
    start: int
    line: int
    separator: str


def read_csv(name: str, data: bytes, encoding: str, header: bool | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The frame, all of whose columns are texts, and notes on how it was read.

    `header` says whether the first row names the columns; where it is None, a first row that looks like values is
    refused. DataError names the line of what is wrong.
    """
    csv.field_size_limit(sys.maxsize)
    text = _text(name, data, encoding)
    if b"\0" in text.data:
        decoded(name, data, encoding)  # names the line
    columns, skips = _columns(text, header)
    table = _split(text, len(columns), skips)
    if table is None:
        decoded(name, data, encoding)
        table = _collected(text, len(columns), skips)
    if table.num_rows == 0:
        raise DataError(f"{name} must hold rows, it has only a header; check how it was written")
    notes = [] if text.separator == "," else [f"fields are separated by {_SEPARATORS[text.separator]}s"]
    frame: pd.DataFrame = table.rename_columns(columns).to_pandas()
    return frame, tuple(notes)


def _text(name: str, data: bytes, encoding: str) -> _Text:
    """What is to be read; DataError where there is nothing, or where it is in another encoding."""
    check_mark(name, data, encoding)
    if encoding not in ("utf-8", "ascii", "utf-8-sig") or not data[:4096].strip():
        data = decoded(name, data, encoding).encode("utf-8", "replace")
    elif encoding == "ascii" and not data.isascii():
        decoded(name, data, encoding)
    start = len(_MARK) if data.startswith(_MARK) else 0
    if told := _TOLD.match(data, start):
        return _Text(name, data, told.end(), 1 + told.group().count(b"\n"), told[1].decode())
    return _Text(name, data, start, 1, _separator(data, start))


def _separator(data: bytes, start: int) -> str:
    """The one of `_SEPARATORS` that is most frequent in the header, outside quotes; a comma where none is."""
    header = re.compile(rb"[^\r\n]*\S[^\r\n]*").search(data, start)
    line = re.sub(rb'"[^"]*("|$)', b"", header.group() if header else b"").decode("utf-8", "replace")
    return max(_SEPARATORS, key=line.count)


def _columns(text: _Text, header: bool | None) -> tuple[list[str], bool]:
    """The names of the columns, and whether they are those of the first row."""
    first, *sample = list(islice(_records(text), 1 + _SAMPLE)) or [(1, [""])]
    line, fields = first[0], [field.strip() for field in first[1]]
    if any("\ufffd" in field for field in fields):
        decoded(text.name, text.data, "utf-8")  # names the line, unless it is meant
    _refuse_blanks(text, line, fields, [row for _, row in sample])
    if not has_header(f"{text.name}, line {line}", fields, [row for _, row in sample], header):
        return numbered(len(fields)), False
    refuse_duplicates(f"{text.name}, line {line}", [field for field in fields if field])
    return named(fields), True


def _refuse_blanks(text: _Text, line: int, fields: list[str], sample: list[list[str]]) -> None:
    """Refuse a file whose fields are separated by blanks."""
    widths = {len(row[0].split()) if len(row) == 1 else 0 for row in [fields, *sample]}
    if sample and len(widths) == 1 and (width := widths.pop()) > 1:
        raise at_line(
            text.name,
            line,
            f"{width} fields are separated by blanks; separate them by commas, semicolons or tabs, for instance "
            f"with: sed 's/^ *//; s/  */,/g' FILE > FILE.csv",
        )


def _split(text: _Text, columns: int, skips: bool) -> pa.Table | None:
    """The columns as Arrow splits lines; None where it does not, or where quotes need more care."""
    if text.data.find(b'"', text.start) >= 0 or columns == 1:
        return None
    names = [str(number) for number in range(columns)]
    start = text.start
    if skips:
        first = re.compile(rb"[^\r\n]*[^\s][^\r\n]*(\r\n|\n|\r)").search(text.data, start)
        if first is None:
            return None
        start = first.end()
    try:
        return arrow_csv.read_csv(
            pa.BufferReader(pa.py_buffer(text.data).slice(start)),
            read_options=arrow_csv.ReadOptions(column_names=names, block_size=1 << 22, use_threads=False),
            parse_options=arrow_csv.ParseOptions(delimiter=text.separator, quote_char=False),
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, _TEXT)),
        )
    except pa.ArrowException:
        return None


def _collected(text: _Text, columns: int, skips: bool) -> pa.Table:
    """The columns as the csv module reads them; DataError names the line of the first bad row."""
    records = islice(_records(text), int(skips), None)
    parts: list[list[pa.Array]] = []
    while chunk := list(islice(records, _CHUNK)):
        for line, row in chunk:
            if len(row) != columns:
                raise _other_length(text, line, len(row), columns)
        parts.append([pa.array(values, _TEXT) for values in zip(*(row for _, row in chunk), strict=True)])
    names = [str(number) for number in range(columns)]
    if not parts:
        return pa.table({name: pa.array([], _TEXT) for name in names})
    return pa.table([pa.chunked_array(list(arrays)) for arrays in zip(*parts, strict=True)], names=names)


def _other_length(text: _Text, line: int, fields: int, columns: int) -> DataError:
    what = "is the file cut off?"
    if fields > columns:
        what = f"is a {_SEPARATORS[text.separator]} not in quotes?"
    return at_line(text.name, line, f"{fields} fields where the header has {columns}; {what}")


def _records(text: _Text) -> Iterator[Record]:
    """Each record that is not blank; DataError where a quote is wrong."""
    bytes_io = io.BytesIO(text.data)
    bytes_io.seek(text.start)
    lines = io.TextIOWrapper(bytes_io, encoding="utf-8", errors="replace", newline="")
    reader = csv.reader(lines, delimiter=text.separator, strict=True, skipinitialspace=True)
    line, width = text.line, None
    try:
        for row in reader:
            if row and row != [""]:
                width = width or len(row)
                yield line, row
            elif row and width == 1:
                raise at_line(
                    text.name, line, "it is ambiguous whether this is a blank line or an empty value; write it as NA"
                )
            line = text.line + reader.line_num
    except csv.Error as error:
        reason = str(error)
        if "unexpected end" in reason:
            reason = "a quote is opened and never closed"
        elif "expected after" in reason:
            reason = "a quoted field goes on after its closing quote; write a quote inside of quotes twice"
        raise at_line(text.name, line, reason) from None
