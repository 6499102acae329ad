"""What may name a database: a URL, or a file of SQLite; and how it is shown. It loads nothing, so that commands start
quickly."""

import re
from os import PathLike, fspath
from typing import TYPE_CHECKING

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


def database_url(given: str | PathLike[str] | None) -> str:
    """The URL of what a user gave: a URL, the name of an SQLite file, or nothing, which is the default."""
    if isinstance(given, PathLike):
        return f"sqlite:///{fspath(given)}"
    if not given:
        return DEFAULT_URL
    scheme, separator, rest = given.partition("://")
    if not separator:
        return f"sqlite:///{given}" if given.endswith(FILE_ENDINGS) else given
    return f"{DRIVERS.get(scheme, scheme)}://{rest}"


def shown_url(url: "URL") -> str:
    """For messages: without the password and without options, among which another may stand."""
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
