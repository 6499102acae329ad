"""`hpo` processes on an empty database of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.databases import KINDS, SERVER_KINDS, new_database
from tests.helpers.fleet import Fleet


def fleet_on(kind: str, folder: Path) -> Iterator[Fleet]:
    with new_database(kind, folder) as url:
        fleet = Fleet(url, folder)
        yield fleet
        fleet.end()


@pytest.fixture(params=KINDS)
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """On each kind of database, unless the test says which."""
    yield from fleet_on(request.param, tmp_path)


@pytest.fixture(params=SERVER_KINDS)
def server_fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """On each kind that is not a file."""
    yield from fleet_on(request.param, tmp_path)


@pytest.fixture
def local_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """On a file."""
    yield from fleet_on("sqlite", tmp_path)
