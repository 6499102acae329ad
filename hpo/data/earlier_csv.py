"""CSV as the first version of preparation reads it, for the studies that were made with it.

It is checked row by row with the csv module before pandas reads it: pandas would accept rows of other
lengths, rename columns of the same name and read on after an open quote.
"""

import csv
import io
import re
from collections.abc import Iterator

import pandas as pd

from hpo.data.named import named, refuse_duplicates
from hpo.data.text import at_line, decoded
from hpo.errors import DataError

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_DECIMAL_COMMA = r"\s*[+-]?\d*,?\d+([eE][+-]?\d+)?\s*"


def read_csv(name: str, data: bytes, encoding: str, missing_words: bool) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The frame, and notes on how it was read."""
    text = decoded(name, data, encoding)
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
            keep_default_na=missing_words,
            na_values=[""],
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
    if separator == ";" and (changed := _convert_decimal_commas(frame)):
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


def _check_rows(name: str, text: str, separator: str) -> tuple[list[str], int]:
    """The column names and the number of rows; DataError names the line of the first bad row."""
    records = _records(name, text, separator)
    line, first = next(records, (1, [""]))
    header = [column.strip() for column in first]
    if len(header) == 1 and "|" in header[0]:
        raise at_line(name, line, "fields are separated by '|'; separate them by commas, semicolons or tabs")
    refuse_duplicates(f"{name}, line {line}", [column for column in header if column])
    rows = 0
    for line, row in records:
        if len(row) != len(header):
            what = "is the file cut off?"
            if len(row) > len(header):
                what = f"is a {_SEPARATORS[separator]} not in quotes?"
            raise at_line(name, line, f"{len(row)} fields where the header has {len(header)}; {what}")
        rows += 1
    if rows == 0:
        raise DataError(f"{name} must hold rows, it has only a header; check how it was written")
    return named(header), rows


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
        raise at_line(name, line, reason) from None
