"""What may name a database: a URL, or a file of SQLite. It loads nothing, so that commands start quickly."""

from os import PathLike, fspath

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
