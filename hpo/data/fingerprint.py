"""Names of the built-in data sets, and the content hash of a file.

Standard library only: supervisors import it.
"""

import hashlib
import os
import re
import stat
from io import BufferedReader
from pathlib import Path

from hpo.errors import DataError, ResourceError
from hpo.machine import usable_memory
from hpo.words import bytes_text

BUILTIN_NAMES = ("digits", "breast_cancer", "wine", "iris")
TEACHING_NAMES = ("xor", "circles", "two_gaussians", "spirals", "plane", "gaussian_bumps")
"""Of the generated ones."""
COPIES = 2
"""A table's bytes and what is made of them are in memory at once."""
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])", re.IGNORECASE)
_NO_DISKS = ("/dev/fd/", "/dev/std", "/proc/")
"""What these name differs from process to process, or has no end."""


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex; DataError where it cannot be read."""
    try:
        with opened(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None


def opened(path: Path) -> BufferedReader:
    """Open a file to read its bytes; returns at once, whatever is there.

    DataError for what is no file on a disk: who reads a pipe or a device may wait for ever, and each process that reads
    it gets something else. ResourceError for a file that is too large for this machine.
    """
    _refuse_address(path)
    try:
        _check(path, path.stat())
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = os.fdopen(descriptor, "rb")
    except FileNotFoundError:
        names = ", ".join((*BUILTIN_NAMES, *TEACHING_NAMES))
        raise DataError(
            f"data must be a file that exists, there is no {path}; check the path, or use a built-in set: {names}"
        ) from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    try:
        _check(path, os.fstat(descriptor))  # another one may have taken its place
    except BaseException:
        file.close()
        raise
    return file


def _refuse_address(path: Path) -> None:
    """DataError for an address in the net, one of whose slashes a path has lost."""
    found = _ADDRESS.match(str(path))
    if found is not None and not path.exists():
        address = str(path).replace(found.group(), f"{found[1]}://", 1)
        raise DataError(
            f"data must be a file on this machine, got the address {address}; download it first, for instance with "
            f"curl -LO, and give the path of what came"
        )


def _check(path: Path, found: os.stat_result) -> None:
    """Raise an InputError where what was found is no file that can be read as a table here."""
    if stat.S_ISDIR(found.st_mode):
        raise DataError(f"data must be a file, {path} is a folder; name one file in it")
    if not stat.S_ISREG(found.st_mode) or str(path).startswith(_NO_DISKS):
        kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
        what = next((name for is_kind, name in kinds.items() if is_kind(found.st_mode)), "not on a disk")
        raise DataError(
            f"data must be a file that can be read more than once, {path} is {what}; write its content to a file first"
        )
    most = usable_memory() // COPIES
    if found.st_size > most:
        raise ResourceError(
            f"a table must fit into the memory of this machine, {path} has {bytes_text(found.st_size)}, and at most "
            f"{bytes_text(most)} can be read here; use fewer rows or columns, or a machine with more memory",
            setting="data",
        )


def unreadable(path: Path, error: Exception) -> DataError:
    """The error to raise where `path` cannot be read."""
    reason = getattr(error, "strerror", None) or error
    return DataError(
        f"data must be a file that can be read, {path} cannot ({reason}); check the path and its permissions"
    )
