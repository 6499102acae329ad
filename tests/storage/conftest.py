"""A real SQLite file with one study, and values to finish its trials with."""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from storage.database import Database, connect, upgrade
from storage.records import Outcome, ReplicateRecord
from storage.slots import Claim, SlotOffer, claim
from storage.studies import create_study
from storage.workers import start_worker

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
    path: Path
    study_id: int
    worker_id: str

    def claim(self, propose: Callable[[SlotOffer], dict[str, Any]] = propose) -> Claim:
        claimed = self.try_claim(propose)
        assert claimed is not None
        return claimed

    def try_claim(self, propose: Callable[[SlotOffer], dict[str, Any]] = propose) -> Claim | None:
        return claim(self.db, self.study_id, self.worker_id, propose, DISTRIBUTIONS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hpo.db"


@pytest.fixture
def db(path: Path) -> Iterator[Database]:
    database = connect(f"sqlite:///{path}")
    upgrade(database)
    yield database
    database.close()


@pytest.fixture
def bench(db: Database, path: Path) -> Bench:
    study_id = create_study(db, "churn", SPEC, FACTS, ENVIRONMENT, 3)
    worker_id = start_worker(db, study_id, host=socket.gethostname(), pid=os.getpid())
    return Bench(db=db, path=path, study_id=study_id, worker_id=worker_id)


def make_outcome(value: float | None = 0.5, **changes: Any) -> Outcome:
    """A complete trial of two replicates around `value`."""
    center = 0.5 if value is None else value
    replicates = tuple(
        ReplicateRecord(
            index=index,
            stop_loss=center + 0.125,
            score_loss=center + shift,
            best_epoch=1,
            seconds=0.25,
            curve=(1.5, center + 0.125, 0.75),
        )
        for index, shift in enumerate((-0.25, 0.25))
    )
    settings: dict[str, Any] = {
        "state": "complete",
        "value": value,
        "standard_error": 0.25,
        "info": {"parameters": 1234, "widths": [20, 10]},
        "replicates": replicates,
    }
    return Outcome(**{**settings, **changes})


@pytest.fixture
def outcome() -> Callable[..., Outcome]:
    return make_outcome
