"""What a server may do to a transaction: refuse it, end it, be full, hang or be gone."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import sqlalchemy as sa
from hpo_storage import engine, retry
from hpo_storage.database import Database, connect
from hpo_storage.retry import Patience, retried
from hpo_storage.studies import create_study, list_studies, progress
from hpo_storage.tables import STUDIES

from hpo.errors import StorageAwayError, StorageBusyError, StorageError, StorageRefusedError
from tests.helpers.processes import wait_until
from tests.helpers.proxy import Proxy

PASSWORD = "hunter2secret"


@pytest.fixture(params=["postgresql", "mariadb"])
def backend(request: pytest.FixtureRequest) -> str:
    """Servers only."""
    return str(request.param)


def rename(connection: sa.Connection, study_id: int, name: str) -> None:
    connection.execute(STUDIES.update().where(STUDIES.c.id == study_id).values(name=name))


def in_thread(function: Callable[[], None]) -> Callable[[], BaseException | None]:
    """Run it beside, and return how to wait for its end and for what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def join() -> BaseException | None:
        thread.join(60)
        assert not thread.is_alive()
        return raised[0] if raised else None

    return join


def test_a_connection_that_is_lost_as_soon_as_it_is_made_is_told(db: Database, monkeypatch: pytest.MonkeyPatch):
    """As of a pooler whose server is gone. SQLAlchemy would say that it is closed, not that nobody answers."""

    def is_away(connection: object) -> None:
        raise db.engine.dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    db.engine.dispose()
    monkeypatch.setattr(db.engine.dialect, "do_ping", is_away)
    with db.begin_read() as connection:  # which is as far as its first statement
        assert connection.scalar(sa.select(1)) == 1


def test_a_deadlock_is_tried_again(db: Database):
    """Fault 16: two transactions that lock two rows in opposite orders both end."""
    first, second = (create_study(db, name, {}, {}, {}, 1) for name in "ab")
    both_hold_one, calls = threading.Barrier(2), []

    @retried
    def swap(one: int, other: int) -> None:
        calls.append(one)
        with db.begin_write() as connection:
            rename(connection, one, f"{one}-of-{len(calls)}")
            with suppress(threading.BrokenBarrierError):
                both_hold_one.wait(5)
            rename(connection, other, f"{other}-of-{len(calls)}")

    join = in_thread(lambda: swap(second, first))
    swap(first, second)
    assert join() is None
    assert len(calls) == 3, "one of the two was the victim and tried again"


def test_what_is_refused_forever_is_told():
    calls = []

    @retried
    def refused() -> None:
        calls.append(time.monotonic())
        raise StorageBusyError("refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "RETRY_SECONDS", 0.2)
        with pytest.raises(StorageBusyError):
            refused()
    assert len(calls) > 2
    assert calls[-1] - calls[0] < 2


def test_other_errors_are_not_tried_again():
    calls = []

    @retried
    def away() -> None:
        calls.append(1)
        raise StorageAwayError("away")

    with pytest.raises(StorageAwayError):
        away()
    assert len(calls) == 1


@contextmanager
def account(url: str, backend: str) -> Iterator[tuple[str, sa.Engine]]:
    """The URL for an account of its own that may have one connection at a time."""
    name = f"hpo_{secrets.token_hex(4)}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    database = admin.url.database
    postgres = backend == "postgresql"
    create = (
        [f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 1", f"GRANT pg_read_all_data TO {name}"]
        if postgres
        else [
            f"CREATE USER {name}@'%%' IDENTIFIED BY '{PASSWORD}' WITH MAX_USER_CONNECTIONS 1",
            f"GRANT ALL ON {database}.* TO {name}@'%%'",
        ]
    )
    with admin.connect() as connection:
        for statement in create:
            connection.exec_driver_sql(statement)
    try:
        yield admin.url.set(username=name, password=PASSWORD).render_as_string(hide_password=False), admin
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP ROLE {name}" if postgres else f"DROP USER {name}@'%%'")
        admin.dispose()


def test_too_many_connections_are_waited_for(url: str, backend: str):
    """Fault 17: a bounded wait, then a clear error; and no error where one becomes free in time."""
    with account(url, backend) as (own, _):
        first = connect(own)
        began = time.monotonic()
        with pytest.raises(StorageAwayError, match="no connection became free") as caught:
            connect(own, patience=Patience(0.5))
        assert 0.5 <= time.monotonic() - began < 10
        assert PASSWORD not in str(caught.value)
        opened: list[Database] = []
        heard: list[StorageAwayError] = []
        join = in_thread(lambda: opened.append(connect(own, patience=Patience(30, heard.append))))
        wait_until(lambda: heard)
        assert opened == []
        first.close()
        assert join() is None
        opened[0].close()


@pytest.mark.parametrize("backend", ["mariadb"], indirect=True)  # the PostgreSQL may trust who comes from here
def test_a_wrong_password_is_not_an_outage(url: str, backend: str):
    with account(url, backend) as (own, _), pytest.raises(StorageError, match="check host, port, user") as caught:
        connect(own.replace(PASSWORD, "wrong-secret"))
    assert type(caught.value) is StorageRefusedError
    assert "wrong-secret" not in str(caught.value)


def test_a_missing_database_is_not_an_outage(url: str):
    with pytest.raises(StorageError, match=r"no_such_database") as caught:
        connect(sa.make_url(url).set(database="no_such_database").render_as_string(hide_password=False))
    assert type(caught.value) is StorageRefusedError


def kill(url: str, backend: str, session: int) -> None:
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        end = f"SELECT pg_terminate_backend({session})" if backend == "postgresql" else f"KILL {session}"
        connection.exec_driver_sql(end)
    admin.dispose()


def session_id(connection: sa.Connection, backend: str) -> int:
    query = "SELECT pg_backend_pid()" if backend == "postgresql" else "SELECT connection_id()"
    return int(connection.exec_driver_sql(query).scalar_one())


def test_a_connection_that_ends_within_a_transaction(url: str, db: Database, backend: str):
    """Fault 3: what was written is undone, and the next transaction has a new connection."""
    study_id = create_study(db, "a", {}, {}, {}, 1)
    with pytest.raises(StorageAwayError), db.begin_write() as connection:  # noqa: PT012
        rename(connection, study_id, "b")
        kill(url, backend, session_id(connection, backend))
        rename(connection, study_id, "c")
    with db.begin_read() as connection:
        assert connection.scalar(sa.select(STUDIES.c.name)) == "a"


def test_a_connection_that_ended_while_idle_is_replaced(
    url: str, db: Database, backend: str, monkeypatch: pytest.MonkeyPatch
):
    with db.begin_read() as connection:
        session = session_id(connection, backend)
    kill(url, backend, session)
    monkeypatch.setattr(engine, "IDLE_SECONDS", 0.0)
    assert list_studies(db) == []


def test_a_server_that_is_gone_is_away(db: Database, backend: str):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    driver = db.engine.url.drivername
    with pytest.raises(StorageAwayError, match="that the server runs") as caught:
        connect(f"{driver}://u:{PASSWORD}@127.0.0.1:{port}/d")
    assert PASSWORD not in str(caught.value)


READ_ONLY = {
    "postgresql": ["SET TRANSACTION READ ONLY", "DELETE FROM hpo_studies"],
    "mariadb": ["SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'runs with --read-only'"],
    "mysql": ["SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1836, MESSAGE_TEXT = 'running in read-only mode'"],
    "galera": ["SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1047, MESSAGE_TEXT = 'WSREP has not yet prepared node'"],
}


@pytest.mark.parametrize(
    ("backend", "server"),
    [("postgresql", "postgresql"), ("mariadb", "mariadb"), ("mariadb", "mysql"), ("mariadb", "galera")],
    indirect=["backend"],
)
def test_a_server_that_became_read_only_is_away(db: Database, backend: str, server: str):
    """After a failover: another connection may reach the new primary."""
    with db.begin_read() as connection:
        before = session_id(connection, backend)
    with pytest.raises(StorageAwayError) as caught, db.begin_write() as connection:  # noqa: PT012
        for statement in READ_ONLY[server]:
            connection.exec_driver_sql(statement)
    assert type(caught.value) is StorageAwayError
    with db.begin_read() as connection:
        assert session_id(connection, backend) != before


@pytest.fixture
def proxied(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Proxy, Database]]:
    monkeypatch.setenv("HPO_ANSWER_SECONDS", "3")
    proxy = Proxy(url)
    db = connect(proxy.url)
    yield proxy, db
    db.close()
    proxy.close()


def test_a_server_that_hangs_is_given_up_and_used_again(proxied: tuple[Proxy, Database]):
    """Fault 5: no answer and no reset."""
    proxy, db = proxied
    study_id = create_study(db, "a", {}, {}, {}, 2)
    proxy.freeze()
    for _ in range(2):  # within a transaction on a used connection, then on a new one
        began = time.monotonic()
        with pytest.raises(StorageAwayError):
            progress(db, study_id)
        assert time.monotonic() - began < 20  # the usual limit is 30
    proxy.restore()
    assert progress(db, study_id).open == 2


def test_a_server_that_hangs_at_commit(proxied: tuple[Proxy, Database]):
    proxy, db = proxied
    study_id = create_study(db, "a", {}, {}, {}, 2)
    with pytest.raises(StorageAwayError), db.begin_write() as connection:  # noqa: PT012
        rename(connection, study_id, "b")
        proxy.freeze()
    proxy.restore()
    assert progress(db, study_id).open == 2


def test_a_paused_transaction_holds_up_nobody_for_long(url: str, monkeypatch: pytest.MonkeyPatch):
    """The server ends it, and its owner is told when it goes on."""
    monkeypatch.setenv("HPO_ANSWER_SECONDS", "3")
    db = connect(url)
    study_id = create_study(db, "a", {}, {}, {}, 1)
    holds, goes_on = threading.Event(), threading.Event()

    def paused() -> None:
        with db.begin_write() as connection:
            rename(connection, study_id, "paused")
            holds.set()
            goes_on.wait(30)

    join = in_thread(paused)
    assert holds.wait(30)

    @retried
    def other() -> None:
        with db.begin_write() as connection:
            rename(connection, study_id, "other")

    other()
    goes_on.set()
    assert isinstance(join(), StorageAwayError)
    with db.begin_read() as connection:
        assert connection.scalar(sa.select(STUDIES.c.name)) == "other"
    db.close()


def test_a_lock_that_is_held_on_is_told(url: str, monkeypatch: pytest.MonkeyPatch):
    # MariaDB's limit for locks is in whole seconds, and must be well below the limit for answers.
    monkeypatch.setenv("HPO_ANSWER_SECONDS", "4")
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.1)
    holder, db = sa.create_engine(url), connect(url)
    study_id = create_study(db, "a", {}, {}, {}, 1)

    @retried
    def other() -> None:
        with db.begin_write() as connection:
            rename(connection, study_id, "other")

    with holder.begin() as connection:  # one that the server does not end
        rename(connection, study_id, "held")
        with pytest.raises(StorageBusyError):
            other()
    holder.dispose()
    db.close()


def test_the_process_list_shows_no_password(url: str, backend: str):
    """Fault 33: URLs go to the driver in this process only."""
    with account(url, backend) as (own, _):
        db = connect(own)
        assert PASSWORD not in repr(db) + str(db) + db.url
        with open(f"/proc/{os.getpid()}/cmdline") as file:  # noqa: PTH123
            assert PASSWORD not in file.read()
        db.close()
