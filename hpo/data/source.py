"""Reading a table: a file of any format, a copy of one, a built-in set, or a frame handed over as Parquet."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hpo.data import csv_file, earlier_csv
from hpo.data.fingerprint import opened, unreadable
from hpo.data.formats import reader_of
from hpo.data.frames import with_categories
from hpo.data.packed import unpacked
from hpo.data.refused import refuse_other
from hpo.data.spec import DataSpec
from hpo.errors import DataError, use


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
    name = shown_name(spec)
    data = _content(copy or Path(spec.source))
    sha256 = hashlib.sha256(data).hexdigest()
    if spec.sha256 and sha256 != spec.sha256:
        raise DataError(
            f"the data must stay the same during a study, {name} was changed; put it back, or start a new study, of a "
            f"copy where something still writes to it"
        )
    data, way = unpacked(name, data)
    frame, notes, as_written = _read(spec, name, data)
    if frame.empty:
        raise DataError(f"{name} must hold rows, it has none; check how it was written")
    return Source(name, frame, sha256, (*([f"the file is packed with {way}"] if way else []), *notes), as_written)


def shown_name(spec: DataSpec) -> str:
    """What messages call a table."""
    if spec.kind != "frame":
        return spec.source
    return {"frame": "the data frame", "-": "standard input"}.get(spec.source, "the answer to the query")


def _read(spec: DataSpec, name: str, data: bytes) -> tuple[pd.DataFrame, tuple[str, ...], bool]:
    """The table in a file's content, by its format, notes, and whether its columns are texts as written."""
    known = reader_of(name, data)
    if known is None:
        if spec.preparation == 1:
            return *earlier_csv.read_csv(name, data, spec.encoding, spec.missing_words), False
        refuse_other(name, data)
        return *csv_file.read_csv(name, data, spec.encoding, spec.header), True
    format_name, read = known
    if spec.encoding != "utf-8" or not spec.missing_words:
        raise DataError(
            f"an encoding and missing words are for CSV files, {name} is {format_name}; leave them away",
            setting="missing_words" if spec.encoding == "utf-8" else "encoding",
        )
    if spec.header is not None and format_name != "Excel":
        raise DataError(
            f"a header is for CSV and Excel files, {name} is {format_name}, which has its names elsewhere; leave "
            f"{use('header')} away",
            setting="header",
        )
    frame, notes = read(name, data, spec.header)
    if format_name == "Parquet" and spec.preparation > 1:
        frame = frame.assign(**with_categories(frame, data))
    return frame, notes, False


def _content(path: Path) -> bytes:
    try:
        with opened(path) as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from None
