"""Real SQLite files with studies made through `storage`, without training."""

import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hpo_spaces import Categorical, load_space
from hpo_storage.database import Database, connect
from hpo_storage.records import Outcome, StudyRecord, TrialState
from hpo_storage.slots import claim, finish, release
from hpo_storage.studies import create_study
from hpo_storage.workers import start_worker, stop_worker

from hpo.cli.main import main
from hpo.data.spec import DataSpec
from hpo.objectives.mlp import MlpPart
from hpo.settings import EvaluationSpec, SearchSpec
from hpo.study.spec import ObjectiveSpec, SpaceSpec, StudySpec
from tests.helpers.databases import read, upgraded_file
from tests.helpers.records import make_replicate

WINE = DataSpec(kind="builtin", source="wine", target="target")
MLP = SpaceSpec(reference="mlp", description=load_space("mlp").describe())
FACTS = {
    "rows": 178,
    "features": 13,
    "classes": ["a", "b", "c"],
    "class_counts": [59, 71, 48],
    "columns": [{"name": f"x{index}", "kind": "numeric"} for index in range(13)],
    "prior_loss": 1.0861,
    "notes": ["column 'id' is left out: every value is different"],
    "replicates": 3,
    "train_rows": 160,
}


def make_spec(name: str, *, data: DataSpec = WINE, space: SpaceSpec = MLP) -> dict[str, Any]:
    part = MlpPart(data=data, evaluation=EvaluationSpec(replicates=3)).to_json()
    objective = ObjectiveSpec(name="mlp", part=part)
    return StudySpec(name=name, objective=objective, space=space, search=SearchSpec()).to_json()


def make_outcome(state: str, value: float, widths: Sequence[int], batch_size: int) -> Outcome:
    """`state` may be "raced out"; a complete trial has three replicates, a failed one none, others one."""
    info = {"parameters": 1000 * len(widths), "widths": list(widths), "batch_size": batch_size}
    count = {"complete": 3, "failed": 0}.get(state, 1)
    replicates = tuple(
        make_replicate(
            index,
            value + 0.1,
            score_loss=None if state == "pruned" else value + (index - 1) / 100,
            best_epoch=2,
            curve=(1.5, value + 0.3, value + 0.1, value + 0.2),
        )
        for index in range(count)
    )
    reasons = {
        "raced out": "raced out after 1 of 3 replicates",
        "pruned": "learning curve cannot reach the incumbent's",
        "failed": "loss was not finite at epoch 3 of replicate 0\x1b[31m",
    }
    scored = state in ("complete", "raced out")
    return Outcome(
        state=TrialState(state),
        value=value if scored else None,
        standard_error=0.0058 if state == "complete" else None,
        reason=reasons.get(state),
        info=info,
        replicates=replicates,
    )


@dataclass(frozen=True)
class Bench:
    """A folder with `hpo.db`, which commands run in."""

    folder: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'hpo.db'}"

    def read(self, name: str) -> StudyRecord:
        return read(self.url, name)

    def _database(self) -> Database:
        path = self.folder / "hpo.db"
        return connect(self.url if path.exists() else upgraded_file(path))

    def add(
        self, name: str, states: Sequence[str], budget: int | None = None, *, running: bool = False, **spec: Any
    ) -> None:
        """A study whose first trials ended as `states` say; "interrupted" ones are open again."""
        space, random_ = load_space("mlp"), random.Random(name)
        database = self._database()
        study_id = create_study(
            database, name, make_spec(name, **spec), FACTS, {"python": "3.11"}, budget or len(states)
        )
        worker = start_worker(database, study_id, host=socket.gethostname(), pid=os.getpid())
        for index, state in enumerate(states):
            claimed = claim(
                database,
                study_id,
                worker,
                lambda offer: space.decode([random_.random() for _ in range(space.size)]),
                space.distributions(),
            )
            assert claimed is not None
            if state == "interrupted":
                release(database, claimed, counts=False)
                continue
            if state == "running":
                continue
            architecture = space.architecture(claimed.params)
            value = 0.9 - 0.8 * index / len(states) if state != "raced out" else 1.2
            finish(database, claimed, make_outcome(state, value, architecture.widths, architecture.batch_size))
        if not running:
            stop_worker(database, worker)
        database.close()

    def add_trial(self, name: str, params: Mapping[str, Any]) -> None:
        """A finished study of one trial, of value 0.5, with dimensions that have these values only."""
        database = self._database()
        study_id = create_study(database, name, make_spec(name), FACTS, {}, 1)
        worker = start_worker(database, study_id, host=socket.gethostname(), pid=os.getpid())
        distributions = {key: Categorical(key, (value,)).distribution() for key, value in params.items()}
        claimed = claim(database, study_id, worker, lambda offer: params, distributions)
        assert claimed is not None
        finish(database, claimed, make_outcome("complete", 0.5, (8,), 32))
        stop_worker(database, worker)
        database.close()


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Hpo = Callable[..., Ended]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An empty folder, made the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPO_STORAGE", raising=False)
    return Bench(tmp_path)


@pytest.fixture
def hpo(capfd: pytest.CaptureFixture[str]) -> Hpo:
    """Run a command in this process, as the installed script does."""

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        code = main(arguments)
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return run
