"""What may name a database: a URL, or a file of SQLite. It loads nothing, so that commands start quickly."""

from os import PathLike, fspath

DEFAULT_URL = "sqlite:///hpo.db"
FILE_ENDINGS = (".db", ".sqlite", ".sqlite3")
"""A plain name that ends like this stands for an SQLite file."""


def database_url(given: str | PathLike[str] | None) -> str:
    """The URL of what a user gave: a URL, the name of an SQLite file, or nothing, which is the default."""
    if isinstance(given, PathLike):
        return f"sqlite:///{fspath(given)}"
    if not given:
        return DEFAULT_URL
    return f"sqlite:///{given}" if "://" not in given and given.endswith(FILE_ENDINGS) else given
