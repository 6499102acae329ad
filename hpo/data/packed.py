"""Files that hold another file in fewer bytes: recognized by their content, whatever they are called."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import IO

from hpo.errors import DataError, ResourceError, use
from hpo.machine import usable_memory
from hpo.words import bytes_text

_MOST_LAYERS = 3
_PIECE = 1 << 24
_ZIP = b"PK\x03\x04"


def unpacked(name: str, data: bytes) -> tuple[bytes, str]:
    """The content and how it was packed, as `gzip`; as it is, and "", where it was not.

    DataError where it is damaged, or several files; ResourceError where it is too large for this machine.
    """
    ways = []
    for _ in range(_MOST_LAYERS):
        way = next((way for mark, way in _WAYS.items() if data.startswith(mark)), None)
        if way is None or (way == "zip" and not (members := _members(name, data))):
            break
        ways.append(way)
        try:
            if way == "zip":
                data = _limited(name, zipfile.ZipFile(io.BytesIO(data)).open(members[0]))  # noqa: SIM115 - closed there
            else:
                data = _limited(name, _OPENERS[way](data))
        except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
            raise _damaged(name, way, error) from None
    return data, " and ".join(ways)


def _members(name: str, data: bytes) -> list[str]:
    """The one file of a zip archive; none where the archive is a format of its own, as those of spreadsheets are."""
    try:
        members = [info.filename for info in zipfile.ZipFile(io.BytesIO(data)).infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, ValueError) as error:
        raise _damaged(name, "zip", error) from None
    if is_format(members):
        return []
    members = [member for member in members if not member.startswith("__MACOSX/")]
    if len(members) != 1:
        shown = ", ".join(repr(member) for member in members[:5]) + (", ..." if len(members) > 5 else "")
        raise DataError(
            f"a zip archive must hold one table, {name} holds {len(members)} files ({shown}); unpack it, and give the "
            f"path of one as {use('data')}"
        )
    return members


def is_format(members: list[str]) -> bool:
    """Whether files are those of a spreadsheet, a document or NumPy's arrays."""
    own = {"[Content_Types].xml", "content.xml"} & set(members)
    return bool(own) or (bool(members) and all(member.endswith(".npy") for member in members))


def _limited(name: str, stream: IO[bytes] | io.BufferedIOBase) -> bytes:
    """All that a stream holds; ResourceError where that is more than can be used here."""
    most, size, pieces = usable_memory() // 2, 0, []
    with stream:
        while piece := stream.read(_PIECE):
            size += len(piece)
            if size > most:
                raise ResourceError(
                    f"a table must fit into the memory of this machine, what {name} holds has over {bytes_text(most)}; "
                    f"use fewer rows or columns, or a machine with more memory",
                    setting="data",
                )
            pieces.append(piece)
    return b"".join(pieces)


def _zstandard(data: bytes) -> io.BufferedIOBase:
    import pyarrow

    stream: io.BufferedIOBase = pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd")
    return stream


def _damaged(name: str, way: str, error: Exception) -> DataError:
    reason = str(error) or "it ends too early"
    return DataError(f"{name} is a {way} file that cannot be unpacked ({reason}); is it cut off? Copy it again")


_WAYS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", _ZIP: "zip"}
_OPENERS: dict[str, Callable[[bytes], io.BufferedIOBase]] = {
    "gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(data)),
    "bzip2": lambda data: bz2.BZ2File(io.BytesIO(data)),
    "xz": lambda data: lzma.LZMAFile(io.BytesIO(data)),  # noqa: SIM115
    "zstd": _zstandard,
}
