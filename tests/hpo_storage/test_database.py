"""Opening databases: what works, and what every other URL is told."""

import contextlib
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from hpo_storage.database import Database, connect, holds_tables, now, upgrade
from hpo_storage.engine import make_engine, parse_url
from hpo_storage.migrations import VERSION_TABLE
from hpo_storage.sqlite import explanation, kind_of, use_write_ahead_log
from hpo_storage.tables import METADATA, database_time
from sqlalchemy.dialects import mysql, postgresql

from hpo.errors import StorageAwayError, StorageError

PASSWORD = "hunter2secret"


def test_a_new_file_is_made_and_upgraded_once(path: Path):
    for _ in range(2):
        database = connect(f"sqlite:///{path}")
        upgrade(database)
        tables = set(sa.inspect(database.engine).get_table_names())
        database.close()
        assert set(METADATA.tables) | {"studies", "trials", VERSION_TABLE, "alembic_version"} <= tables


def test_opening_changes_nothing(path: Path):
    database = connect(f"sqlite:///{path}")
    assert not holds_tables(database)
    assert list(path.parent.iterdir()) == []
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    assert not holds_tables(database)
    database.close()
    connect(f"sqlite:///{path}").close()
    assert path.read_bytes() == before
    database = connect(f"sqlite:///{path}")
    upgrade(database)
    assert holds_tables(database)
    database.close()


def test_sqlite_settings(file_db: Database):
    pragmas = ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
    with file_db.begin_write() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in pragmas]
    assert found == ["wal", 1, 1, 60_000]


def test_reading_needs_a_file_with_our_tables(path: Path):
    with pytest.raises(StorageError, match="must be a database to read"):
        connect(f"sqlite:///{path}", create=False)
    assert not path.exists()
    sqlite3.connect(path).close()
    with pytest.raises(StorageError, match="must hold hpo's tables"):
        connect(f"sqlite:///{path}", create=False)


def test_reading_an_upgraded_database(file_db: Database, path: Path):
    connect(f"sqlite:///{path}", create=False).close()


def set_revision(path: Path, revision: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", [revision])
    connection.close()


def test_a_newer_schema_is_refused(file_db: Database, path: Path):
    set_revision(path, "9999")
    with pytest.raises(StorageError, match=r"newer 9999; use the newer version of hpo"):
        upgrade(file_db)
    with pytest.raises(StorageError, match="newer 9999"):
        connect(f"sqlite:///{path}", create=False)


def test_another_optuna_schema_is_refused(path: Path, file_db: Database):
    with sqlite3.connect(path) as connection:
        connection.execute(f"DROP TABLE {VERSION_TABLE}")
        connection.execute("UPDATE alembic_version SET version_num = 'v2.4.0.a'")
    connection.close()
    with pytest.raises(StorageError, match=r"Optuna's tables must have schema .* got v2\.4\.0\.a"):
        upgrade(file_db)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)  # which asks for no password
def test_nor_is_one_among_the_options(empty_url: str):
    db = connect(f"{empty_url}?password={PASSWORD}")
    upgrade(db)
    with db.begin_write() as connection:
        connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v2.4.0.a'")
    with pytest.raises(StorageError, match="Optuna's tables must have schema") as caught:
        upgrade(db)
    assert PASSWORD not in str(caught.value)
    db.close()


@pytest.mark.parametrize("content", [b"id,target\n1,2\n" * 500, b"PK\x03\x04" + bytes(5000)])
def test_some_other_file_is_refused_and_left_alone(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"file is not a database; it is some other file"):
        connect(f"sqlite:///{path}")
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("hpo.db", r"got 'hpo\.db'; write sqlite:///FILE"),
        ("", "given as a URL"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:////no/such/folder/hpo.db", "in a folder that exists"),
        ("sqlite:////tmp", "got the folder '/tmp'"),
        ("oracle://u@h/d", "must be one of sqlite"),
        ("sqlite+nosuchdriver:///x.db", "needs its driver"),
    ],
)
def test_unusable_urls(url: str, message: str):
    with pytest.raises(StorageError, match=message):
        connect(url)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{PASSWORD}@127.0.0.1:1/d",
        f"postgresql+nosuchdriver://u:{PASSWORD}@127.0.0.1:1/d",
        f"postgresql://u:x/{PASSWORD}@127.0.0.1:port/d",
        f"oracle://u:{PASSWORD}@h/d",
        f"nosuch://u:{PASSWORD}@h/d",
        f"u:{PASSWORD}@h/d",
        f"postgresql://u:x@{PASSWORD}@127.0.0.1:1/d",
        f"mariadb://u:x@127.0.0.1/{PASSWORD}@127.0.0.1:1/d",
    ],
)
def test_a_password_is_never_shown(url: str):
    with pytest.raises(StorageError) as caught:
        connect(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert PASSWORD not in f"{error} {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_database_cannot_be_pickled_with_its_password(tmp_path: Path):
    db = Database(make_engine(parse_url(f"postgresql://u:{PASSWORD}@127.0.0.1:1/d")))
    assert PASSWORD not in f"{db} {db!r} {db.url}"
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)) as caught:
        pickle.dumps(db)
    assert PASSWORD not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_folder_nobody_can_write():
    with pytest.raises(StorageError, match="unable to open database file; check that its folder"):
        connect("sqlite:////proc/hpo.db")


READ_ONLY = """
import os, sys
from hpo.errors import StorageError
from hpo_storage.database import connect, upgrade
upgrade(connect(sys.argv[2]))  # imports all that is needed, while that can be read
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere
try:
    upgrade(connect(sys.argv[1]))
except StorageError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
@pytest.mark.parametrize("there", [False, True])
def test_a_read_only_folder(tmp_path: Path, file_db: Database, path: Path, there: bool):
    file_db.close()
    folder = tmp_path / "read-only"
    folder.mkdir()
    if there:
        shutil.copy(path, folder / "hpo.db")
        with sqlite3.connect(folder / "hpo.db") as connection:
            connection.execute(f"DELETE FROM {VERSION_TABLE}")
        connection.close()
        (folder / "hpo.db").chmod(0o444)
    folder.chmod(0o555)
    if os.geteuid() == 0:
        for parent in [*list(tmp_path.parents)[:3], tmp_path]:
            parent.chmod(parent.stat().st_mode | 0o055)
    done = subprocess.run(
        [
            sys.executable,
            "-B",
            "-c",
            READ_ONLY,
            f"sqlite:///{folder}/hpo.db",
            f"sqlite:///{tmp_path}/other.db",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    folder.chmod(0o755)
    assert (done.returncode, done.stderr) == (2, "")
    assert "check that its folder and file can be written" in done.stdout


def test_a_locked_database_says_who_to_stop(file_db: Database, path: Path):
    """Another program's lock outlasts the wait (shortened here)."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with file_db.begin_read() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=50")
    with (
        pytest.raises(StorageError, match="database is locked; another process has held it"),
        file_db.begin_write(),
    ):
        pass
    holder.close()


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (sqlite3.SQLITE_FULL, "see that the disk has room"),
        (sqlite3.SQLITE_IOERR_WRITE, "its disk fails or is full"),
        (sqlite3.SQLITE_PROTOCOL, "move it to a local disk"),
        (sqlite3.SQLITE_CORRUPT, "go back to a copy"),
        (sqlite3.SQLITE_BUSY_RECOVERY, "another process has held it"),
        (sqlite3.SQLITE_READONLY_CANTINIT, "can be written"),
    ],
)
def test_an_error_is_known_by_its_number(code: int, remedy: str):
    error = sqlite3.OperationalError("whatever it is called")
    error.sqlite_errorcode = code
    assert remedy in explanation("sqlite:///hpo.db", error)
    assert issubclass(kind_of(error), StorageAwayError) is (
        code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)
    )


def test_a_file_system_without_write_ahead_logs_is_refused():
    with contextlib.closing(sqlite3.connect(":memory:")) as raw, pytest.raises(StorageError, match="to a local disk"):
        use_write_ahead_log(raw, "sqlite:///hpo.db")


def test_a_full_disk_is_told_and_undone(file_db: Database):
    """The file may not grow: as with a full disk, in SQLite's own words (fault 15)."""
    with file_db.begin_read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StorageError, match="is full"), file_db.begin_write() as connection:  # noqa: PT012
        connection.execute(sa.text("CREATE TABLE filler (content BLOB)"))
        connection.execute(sa.text("INSERT INTO filler VALUES (zeroblob(10000000))"))
    assert "filler" not in sa.inspect(file_db.engine).get_table_names()


def test_other_errors_keep_their_type(file_db: Database):
    with pytest.raises(ZeroDivisionError), file_db.begin_write():
        _ = 1 / 0
    with pytest.raises(sa.exc.IntegrityError), file_db.begin_write() as connection:  # noqa: PT012
        for _ in range(2):
            connection.exec_driver_sql("INSERT INTO studies VALUES (1, 'a')")


def test_a_read_sees_one_state(file_db: Database):
    count = sa.text("SELECT count(*) FROM studies")
    with file_db.begin_read() as reading:
        assert reading.scalar(count) == 0
        with file_db.begin_write() as writing:
            writing.exec_driver_sql("INSERT INTO studies VALUES (1, 'a')")
        assert reading.scalar(count) == 0
    with file_db.begin_read() as reading:
        assert reading.scalar(count) == 1


def test_the_clock_is_the_databases_in_fractions_of_a_second(file_db: Database):
    with file_db.begin_read() as connection:
        times = [now(connection) for _ in range(3)]
        stored = connection.exec_driver_sql("SELECT strftime('%s', 'now')").scalar_one()
    assert times == sorted(times)
    assert abs(times[0].timestamp() - int(stored)) < 2
    assert times[0].utcoffset().total_seconds() == 0
    assert "(6)" in str(sa.select(database_time()).compile(dialect=mysql.dialect()))
    assert "clock_timestamp" in str(sa.select(database_time()).compile(dialect=postgresql.dialect()))
