"""What a driver's error means to us, told by its code, and what can be done about it.

Texts are read only where a driver gives no code: psycopg has none of a connection that was not made.
"""

import re
import socket
import sqlite3

import sqlalchemy as sa
from sqlalchemy import exc

from hpo.errors import (
    StorageAwayError,
    StorageBusyError,
    StorageError,
    StorageHostError,
    StorageRefusedError,
)
from hpo_storage import sqlite
from hpo_storage.urls import redacted, shown_url

# SQLSTATE of PostgreSQL, numbers of MySQL and MariaDB.
_BUSY = {"40001", "40P01", "55P03", 1205, 1213}
"""A serialization failure, a deadlock, a lock waited for too long."""
READ_ONLY = {"25006", 1290, 1836, 1047}
"""After a failover, until this host's name leads to the new primary: read-only, or not yet a node of a cluster."""
_FULL_HOUSE = {"53300", 1040, 1203, 1226}
_RIGHTS = {"42501", 1044, 1142, 1143, 1227, 1370}
_LOGIN = {"28000", "28P01", 1045, 1130, 1524, 1698, 1820, 1862, 3118, 4151}
_NO_DATABASE = {"3D000", 1049}
_NO_ROOM = {"53100", 1021, 1026, 1114}
_NO_TABLES = {"3F000", "42P01", "42703", 1054, 1146}
_REFUSED = _RIGHTS | _LOGIN | _NO_DATABASE | _NO_ROOM | _NO_TABLES
_AWAY_CLASSES = ("08", "57", "53")
"""Of SQLSTATE: lost connections, an operator's intervention, too few resources; what lasts of them is above."""
_LOST_BY_MYSQL = {1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031, *range(2000, 3000)}

# Of a connection that PostgreSQL or PgBouncer refused: libpq gives texts only. In another language they are waited for.
_FULL_HOUSE_TEXTS = ("too many clients", "connection slots are reserved", "too many connections", "no more connections")
_LOGIN_TEXTS = (
    "authentication failed",
    "no pg_hba.conf entry",
    "no password supplied",
    "no such user",
    "not permitted",
)
_NO_DATABASE_TEXTS = ("does not exist", "no such database")
_NO_ENTRY_TEXTS = ("permission denied for database",)
_WRONG_TEXTS = ("invalid ", "certificate", "does not support", "startup parameter")

_DATA = "SELECT", "INSERT", "UPDATE", "DELETE"


def refusal(engine: sa.Engine, error: BaseException) -> StorageError | None:
    """What to tell of a driver's error, bare or wrapped by SQLAlchemy; None where it is no matter of the database, but
    a mistake in SQL or a violated constraint."""
    driver, statement, lost = error, "", False
    if isinstance(error, exc.DBAPIError):
        driver, statement, lost = error.orig or error, error.statement or "", error.connection_invalidated
        operational = isinstance(error, exc.OperationalError | exc.InterfaceError) or type(error) is exc.DatabaseError
        code = error_code(driver)
        if not (operational or lost or code in _REFUSED or code in READ_ONLY or str(code).startswith("XX")):
            return None
    kind = StorageAwayError if lost else _kind(engine.dialect.name, driver)
    return kind(explanation(engine, driver, statement))


def error_code(error: object) -> object:
    """SQLSTATE, or the number that MySQL or SQLite gives; None where there is none."""
    code = full_code(error)
    return code & 0xFF if isinstance(error, sqlite3.Error) and isinstance(code, int) else code


def full_code(error: object) -> object:
    """The same, of SQLite with what extends its number."""
    if (code := getattr(error, "sqlite_errorcode", None)) is not None:
        return code
    arguments = getattr(error, "args", ())
    if arguments and isinstance(arguments[0], int):
        return arguments[0]
    return getattr(error, "sqlstate", None)


def _kind(dialect: str, error: object) -> type[StorageError]:
    code = error_code(error)
    if dialect == "sqlite":
        return sqlite.kind_of(error)
    if code in _BUSY:
        return StorageBusyError
    if code in _REFUSED:
        return StorageRefusedError
    if code in _FULL_HOUSE or code in READ_ONLY or code in _LOST_BY_MYSQL:
        return StorageHostError if _is_unknown_host(error) else StorageAwayError
    if dialect != "postgresql":
        return StorageError
    if code is None:
        if _is_unknown_host(error):
            return StorageHostError
        wrong = _says(error, *_LOGIN_TEXTS, *_NO_DATABASE_TEXTS, *_NO_ENTRY_TEXTS, *_WRONG_TEXTS)
        return StorageRefusedError if wrong else StorageAwayError
    return StorageAwayError if str(code)[:2] in _AWAY_CLASSES else StorageError


def _says(error: object, *phrases: str) -> bool:
    text = str(error).lower()
    return any(phrase in text for phrase in phrases)


def _is_unknown_host(error: object) -> bool:
    """Whether the host has no address; psycopg, which asks for it, gives a text only."""
    named = isinstance(getattr(error, "original_exception", None), socket.gaierror)
    return named or (error_code(error) is None and _says(error, "failed to resolve host"))


def explanation(engine: sa.Engine, error: object, statement: str = "") -> str:
    """What the driver said of a statement or a connection, with what can be done about it."""
    code, url, dialect = error_code(error), engine.url, engine.dialect.name
    text, shown = redacted(" ".join(str(error).split()), url), shown_url(url)
    if _is_unknown_host(error):  # of a URL with a mistake, the host may be a piece of the password
        return "the database's host must have an address, got one that none is found for; check its name in the URL"
    if dialect == "sqlite":
        return sqlite.explanation(shown, error)
    if code in _RIGHTS or code == "3F000":
        verb = next(iter(statement.split()), "").upper()
        rule = f"the database's user must have the right to {verb or 'work'} there"
        return f"{rule}, got {shown}: {text}; {_grant(engine, verb, statement)}"
    return f"the database must be open to reading and writing, got {shown}: {text}; {_remedy(error, code)}"


def _remedy(error: object, code: object) -> str:
    if code in _FULL_HOUSE or (code is None and _says(error, *_FULL_HOUSE_TEXTS)):
        return "no connection became free: end other programs, or allow the server and this user more"
    if code in READ_ONLY:
        return "it is read-only now, as a whole or for this user: use the primary server, or allow writing"
    if code in _NO_ROOM:
        return "make room on the server's disk, or raise its quota"
    if code in _NO_TABLES:
        return "its tables are not hpo's, or not in the schemas that this user looks into: check both"
    if code in _NO_DATABASE or (code is None and _says(error, *_NO_DATABASE_TEXTS)):
        return "create it first, or correct its name or the user's"
    if code is None and _says(error, *_NO_ENTRY_TEXTS):
        return "as the database's owner give its user the right to CONNECT"
    if code is None and _says(error, *_WRONG_TEXTS):
        return "correct the options of the URL, or the server's settings"
    return "check host, port, user and password, and that the server runs"


def _grant(engine: sa.Engine, verb: str, statement: str) -> str:
    """What an administrator runs to give the right that was missing."""
    user = _quoted(engine, engine.url.username or "USER")
    if engine.dialect.name != "postgresql":
        rights = ", ".join(_DATA) if verb in _DATA else "ALL"
        database = _quoted(engine, engine.url.database or "DATABASE")
        return f"as an administrator run: GRANT {rights} ON {database}.* TO {user}"
    schema = _quoted(engine, engine.dialect.default_schema_name or "public")
    if verb in _DATA or verb == "WITH":
        return (
            f"as the tables' owner run: GRANT USAGE ON SCHEMA {schema} TO {user}; "
            f"GRANT {', '.join(_DATA)} ON ALL TABLES IN SCHEMA {schema} TO {user}; "
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {user}"
        )
    if re.match(r"CREATE\s+(TABLE|TYPE)", statement.strip(), re.IGNORECASE) or not verb:
        return f"as an administrator run: GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"
    return f"do it as the tables' owner, or run: GRANT OWNER TO {user}, with the owner's name"


def _quoted(engine: sa.Engine, name: str) -> str:
    return engine.dialect.identifier_preparer.quote(name)
