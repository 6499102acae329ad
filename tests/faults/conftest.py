"""Real `hpo` processes on databases of the tests' own, which may be stopped, killed and frozen."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.databases import KINDS
from tests.helpers.fleet import Fleet
from tests.helpers.servers import SERVERS, MissingError, Server

_names = itertools.count()


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[str], Server]]:
    """A server of this session's own, by its kind."""
    servers: dict[str, Server] = {}

    def server_of(kind: str) -> Server:
        if kind not in servers:
            try:
                servers[kind] = SERVERS[kind]()
            except MissingError as missing:
                pytest.skip(f"needs {missing}: it is not installed")
        servers[kind].restore()
        return servers[kind]

    yield server_of
    for server in servers.values():
        server.close()


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """Commands on an empty database; each test runs on every kind, unless it says which."""
    kind = getattr(request, "param", "sqlite")
    if kind == "sqlite":
        yield from _run(Fleet(f"sqlite:///{tmp_path}/hpo.db", tmp_path))
        return
    server = request.getfixturevalue("server_of")(kind)
    with server.database(f"hpo_{os.getpid()}_{next(_names)}") as url:
        try:
            yield from _run(Fleet(url, tmp_path, server))
        finally:
            server.restore()


def _run(fleet: Fleet) -> Iterator[Fleet]:
    try:
        yield fleet
    finally:
        fleet.end()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take `fleet` and say nothing else run on every database."""
    marked = any("fleet" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "fleet" in metafunc.fixturenames and not marked:
        metafunc.parametrize("fleet", KINDS, indirect=True)
