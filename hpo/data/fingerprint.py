"""Names of the built-in data sets, and the content hash of a file.

Standard library only: supervisors import it.
"""

import hashlib
from pathlib import Path

from hpo.errors import DataError

BUILTIN_NAMES = ("digits", "breast_cancer", "wine", "iris")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex; DataError where there is no such file or it cannot be read."""
    check_readable(path)
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None


def check_readable(path: Path) -> None:
    """Raise DataError where `path` is missing or is a folder."""
    try:
        found, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    if is_folder:
        raise DataError(f"data must be a CSV or Parquet file, {path} is a folder; name one file in it")
    if not found:
        names = ", ".join(BUILTIN_NAMES)
        raise DataError(
            f"data must be a file that exists, there is no {path}; check the path, or use a built-in set: {names}"
        )


def unreadable(path: Path, error: Exception) -> DataError:
    """The error to raise where `path` cannot be read."""
    reason = getattr(error, "strerror", None) or error
    return DataError(
        f"data must be a file that can be read, {path} cannot ({reason}); check the path and its permissions"
    )
