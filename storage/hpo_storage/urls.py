"""What may name a database: a URL, or a file of SQLite. It loads nothing heavy, so that commands start quickly."""

import os
import re
from os import PathLike
from urllib.parse import quote

from hpo.errors import StorageError

DEFAULT_URL = "sqlite:///hpo.db"
STORAGE_VARIABLE = "HPO_STORAGE"
"""Of the environment: names the database where a user does not."""
FILE_ENDINGS = (".db", ".sqlite", ".sqlite3")
"""A plain name that ends like this stands for an SQLite file."""


DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
"""The scheme that a URL's own one stands for."""

_OF_A_URL = re.compile(r"[A-Za-z][\w+.-]+:" if os.name == "nt" else r"[A-Za-z][\w+.-]*:")
"""How `file:x.db`, `sqlite:/x.db` and, where there are no drives, `C:\\x.db` begin: somebody means something else."""
_PLAIN = r"\w/\\.,:+=@~-"
"""What a path's name in a URL shows as it is; all else is escaped."""
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")


def database_url(given: str | PathLike[str] | None) -> str:
    """The URL of what a user gave: a URL, the name of an SQLite file, or nothing, which is the default.

    StorageError where a file's name cannot be shown. Other texts stay as they are, for whoever parses them to refuse.
    """
    if isinstance(given, PathLike):
        return file_url(os.fsdecode(given))
    if not given:
        return DEFAULT_URL
    scheme, separator, rest = given.partition("://")
    if separator:
        return f"{DRIVERS.get(scheme, scheme)}://{rest}"
    if _names_a_file(given):
        return file_url(os.path.expanduser(given))  # noqa: PTH111 - where there is no such user it stays as it is
    return given


def file_url(path: str) -> str:
    """The URL of an SQLite file, in which no character of its name has a meaning."""
    check_file_name(path)
    return f"sqlite:///{re.sub(f'[^{_PLAIN}]', lambda found: quote(found[0]), path)}"


def check_file_name(path: str) -> None:
    """StorageError where a message could not show a file's name so that it means the same file."""
    if _UNPRINTABLE.search(path):
        raise StorageError(f"an SQLite file must have a printable name, got {path!r}; name another file")


def _names_a_file(given: str) -> bool:
    return given.lower().endswith(FILE_ENDINGS) and not _OF_A_URL.match(given)
