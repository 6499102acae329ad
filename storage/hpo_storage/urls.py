"""What may name a database: a URL, or a file of SQLite; and how it is shown. It loads nothing heavy, so that commands
start quickly."""

import os
import re
from os import PathLike
from typing import TYPE_CHECKING
from urllib.parse import quote

from hpo.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy import URL

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

_SECRET = re.compile("pass(?!file)|pwd|secret|token", re.IGNORECASE)
"""Options of a URL whose values nobody may see."""
LEAST_REDACTED = 4
"""A shorter password would be found within words."""
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
    scheme = scheme.lower() if separator else scheme
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


def shown_url(url: "URL") -> str:
    """For messages: without the password and without options, among which another may stand."""
    if url.get_backend_name() == "sqlite" and url.database:
        return file_url(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def without_password(url: "URL") -> "URL":
    """The same database, reached in the same way, for who has the password from elsewhere."""
    scheme = next((short for short, long in DRIVERS.items() if long == url.drivername), url.drivername)
    options = {name: value for name, value in url.query.items() if not _SECRET.search(name)}
    return url._replace(password=None, drivername=scheme).set(query=options)


def secrets_of(url: "URL") -> list[str]:
    """What of a URL nobody may see."""
    options = [value for name, value in url.query.items() if _SECRET.search(name)]
    texts = [str(url.password or ""), *(text for value in options for text in _each(value))]
    return [text for text in texts if text]


def redacted(text: str, url: "URL") -> str:
    """The text with `***` for what the URL keeps secret."""
    for secret in secrets_of(url):
        if len(secret) >= LEAST_REDACTED:
            text = text.replace(secret, "***")
    return text


def _each(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value
