"""Real databases with one study, and values to finish its trials with.

Tests that take `db` or `bench` run on an SQLite file, a PostgreSQL and a MariaDB; on the servers in a database of
this session's own, emptied before each test, since making tables takes seconds there.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from hpo_storage.database import Database, connect, upgrade
from hpo_storage.migrations import VERSION_TABLE
from hpo_storage.records import Outcome, Purpose
from hpo_storage.slots import Claim, SlotOffer, claim
from hpo_storage.studies import create_study
from hpo_storage.workers import start_worker
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage

from tests.helpers.databases import KINDS, new_database, upgraded_file
from tests.helpers.records import make_outcome as any_outcome
from tests.helpers.records import make_replicate

VERSIONS = {VERSION_TABLE, "alembic_version", "version_info"}

DISTRIBUTIONS = {
    "dropout": FloatDistribution(0.0, 0.5),
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "activation": CategoricalDistribution(["relu", "tanh"]),
    "batch_exponent": IntDistribution(4, 9),
}
SPEC = {"name": "churn", "data": {"kind": "builtin", "source": "wine"}}
FACTS = {"rows": 178, "classes": ["a", "b"], "replicates": 2, "notes": ["ümlaut </script>"]}
ENVIRONMENT = {"python": "3.11", "hpo": "0.1.0"}


def propose(offer: SlotOffer) -> dict[str, Any]:
    """A point that tells its slot."""
    return {
        "dropout": offer.slot / 1000,
        "learning_rate": 0.01,
        "activation": "tanh",
        "batch_exponent": 5,
    }


@dataclass(frozen=True)
class Bench:
    """A study at work: its database, its id and one worker of it."""

    db: Database
    study_id: int
    worker_id: str

    def claim(self, propose: Callable[[SlotOffer], dict[str, Any]] = propose) -> Claim:
        claimed = self.try_claim(propose)
        assert claimed is not None
        return claimed

    def try_claim(
        self, propose: Callable[[SlotOffer], dict[str, Any]] = propose, purpose: Purpose = Purpose.TRIAL
    ) -> Claim | None:
        return claim(self.db, self.study_id, self.worker_id, propose, DISTRIBUTIONS, purpose=purpose)


@pytest.fixture(scope="session")
def emptied() -> Iterator[Callable[[str], str]]:
    """The URL of this session's database on a server, with all tables and, each time, no rows."""
    found: dict[str, tuple[str, list[sa.Table]]] = {}
    with ExitStack() as stack:

        def url_of(backend: str) -> str:
            if backend not in found:
                url = stack.enter_context(new_database(backend, Path()))
                database = connect(url)
                upgrade(database)
                found[backend] = (url, children_first(database))
            else:
                url, tables = found[backend]
                database = connect(url)
                with database.begin_write() as connection:
                    for table in tables:
                        connection.execute(table.delete())
            database.close()
            return url

        yield url_of


def children_first(database: Database) -> list[sa.Table]:
    """All tables that hold rows of studies."""
    tables = sa.MetaData()
    with database.begin_read() as connection:
        tables.reflect(connection)
    return [table for table in reversed(tables.sorted_tables) if table.name not in VERSIONS]


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(backend: str, path: Path, emptied: Callable[[str], str]) -> str:
    """Of a database with all tables and no rows."""
    return upgraded_file(path) if backend == "sqlite" else emptied(backend)


@pytest.fixture
def empty_url(backend: str, path: Path) -> Iterator[str]:
    """Of a database without tables."""
    with new_database(backend, path.parent) as url:
        yield url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hpo.db"


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    database = connect(url)
    yield database
    database.close()


@pytest.fixture
def file_db(path: Path) -> Iterator[Database]:
    """An SQLite file at `path`."""
    database = connect(upgraded_file(path))
    yield database
    database.close()


@pytest.fixture
def bench(db: Database) -> Bench:
    return bench_of(db)


@pytest.fixture
def make_bench() -> Callable[[Database], Bench]:
    return bench_of


def bench_of(db: Database) -> Bench:
    study_id = create_study(db, "churn", SPEC, FACTS, ENVIRONMENT, 3)
    worker_id = start_worker(db, study_id, host=socket.gethostname(), pid=os.getpid())
    return Bench(db=db, study_id=study_id, worker_id=worker_id)


@pytest.fixture
def optuna_trials() -> Iterator[Callable[..., list[optuna.trial.FrozenTrial]]]:
    """Reads a study's trials with Optuna's own storage."""
    storages = []

    def read(db: Database, name: str = "churn") -> list[optuna.trial.FrozenTrial]:
        storages.append(RDBStorage(db.engine.url.render_as_string(hide_password=False)))
        return optuna.load_study(study_name=name, storage=storages[-1]).trials

    yield read
    for storage in storages:
        storage.engine.dispose()


def make_outcome(value: float | None = 0.5, **changes: Any) -> Outcome:
    """A complete trial of two replicates around `value`."""
    center = 0.5 if value is None else value
    replicates = tuple(
        make_replicate(
            index,
            center + 0.125,
            score_loss=center + shift,
            best_epoch=1,
            seconds=0.25,
            curve=(1.5, center + 0.125, 0.75),
        )
        for index, shift in enumerate((-0.25, 0.25))
    )
    info = {"parameters": 1234, "widths": [20, 10]}
    return any_outcome(value, **({"standard_error": 0.25, "info": info, "replicates": replicates} | changes))


@pytest.fixture
def outcome() -> Callable[..., Outcome]:
    return make_outcome
