"""The text of a file: its encoding, and the errors that name a line of it."""

import codecs

from hpo.errors import DataError, use

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; UTF-16's begins UTF-32's."""


def decoded(name: str, data: bytes, encoding: str) -> str:
    """The text of a CSV file; DataError names the line of what cannot be text."""
    if not data.strip():
        raise DataError(f"{name} must hold a header and rows, it is empty; check how it was written")
    check_mark(name, data, encoding)
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "replace")
        remedy = f"save the file as UTF-8, or name its encoding, for instance {use('encoding', 'cp1252')}"
        reason = f"byte 0x{data[error.start]:02x} is not {encoding.upper()}; {remedy}"
        raise at_line(name, line_of(before, len(before)), reason, setting="encoding") from None
    except UnicodeError as error:  # of an encoding that no text file has
        raise DataError(
            f"{name} is not {encoding.upper()}: {error}; use the {use('encoding')} that it was saved in",
            setting="encoding",
        ) from None
    if (place := text.find("\0")) >= 0:
        remedy = f"write it again as text, or name its encoding, for instance {use('encoding', 'utf-16-le')}"
        raise at_line(name, line_of(text, place), f"a NUL byte, which text in {encoding.upper()} has not; {remedy}")
    return text


def check_mark(name: str, data: bytes, encoding: str) -> None:
    """Refuse a file whose first bytes say that it is in another encoding."""
    marked = next((family for mark, family in _MARKS.items() if data.startswith(mark)), None)
    if marked is not None and not encoding.startswith(marked):
        raise DataError(
            f"a CSV file must be in the encoding that it is read in, {name} is {marked.upper()} and is read "
            f"as {encoding.upper()}; use {use('encoding', marked)}, or save it as UTF-8",
            setting="encoding",
        )


def line_of(text: str, place: int) -> int:
    """The number of the line that holds this place."""
    return text.count("\n", 0, place) + 1


def at_line(name: str, line: int, reason: str, setting: str = "data") -> DataError:
    """The error to raise for what is wrong in a line."""
    return DataError(f"{name}, line {line}: {reason}", setting=setting)
