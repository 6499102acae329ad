"""The migrations give the tables of `hpo_storage.tables`, from every older schema."""

import itertools
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hpo_storage.migrations
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hpo_spaces import load_space
from hpo_storage import database
from hpo_storage.checks import broken_rules
from hpo_storage.database import Database, connect, holds_tables, prepare, schema, upgrade
from hpo_storage.datasets import fetch_dataset
from hpo_storage.migrations import HEAD, VERSION_TABLE
from hpo_storage.records import Limits, Purpose
from hpo_storage.slots import claim
from hpo_storage.studies import create_study, extend_study, find_study, list_studies, open_studies, progress, read_study
from hpo_storage.tables import METADATA, SLOTS, WORKERS
from hpo_storage.workers import list_workers, requeue_orphans, start_worker, sweep
from sqlalchemy.dialects import mysql

from hpo.errors import StorageError

FIXTURES = Path(__file__).parent / "fixtures"
OLDER = ["0001", "0002", "0003"]


def same_type(context: object, inspected: object, declared: object, found: sa.types.TypeEngine, wanted: object) -> bool:
    """MySQL answers with the size of a blob that holds the declared length."""
    return False if isinstance(found, mysql.MEDIUMBLOB) else None  # type: ignore[return-value]


def test_head_is_alembics():
    script = ScriptDirectory(str(Path(hpo_storage.migrations.__file__).parent))
    assert script.get_heads() == [HEAD]
    assert sorted(script.revision for script in script.walk_revisions()) == [*OLDER, HEAD]


def check_declared(db: Database) -> None:
    def ours(name: str | None, kind: str, parents: dict) -> bool:
        return kind != "table" or str(name).startswith("hpo_")

    with db.begin_read() as connection:
        options = {"compare_type": same_type, "include_name": ours, "version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []


def test_migrated_tables_are_the_declared_ones(db: Database):
    check_declared(db)


def older_file(path: Path, revision: str) -> Database:
    """An SQLite file as that revision left it."""
    connection = sqlite3.connect(path)
    connection.executescript((FIXTURES / f"r{revision}.sql").read_text())
    connection.close()
    return connect(f"sqlite:///{path}")


@pytest.mark.parametrize("revision", OLDER)
def test_an_older_file_is_upgraded_when_it_is_prepared(path: Path, revision: str):
    """Fault 43."""
    db = older_file(path, revision)
    with pytest.raises(StorageError, match=rf"must have schema {HEAD}, got the older {revision}; run hpo\.upgrade"):
        connect(f"sqlite:///{path}", create=False)
    prepare(db)
    check_declared(db)
    assert [line for line in broken_rules(db) if "live lease" not in line] == []
    with db.begin_read() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    db.close()


def test_a_file_of_the_first_revision_keeps_all_it_holds(path: Path):
    db = older_file(path, "0001")
    prepare(db)
    study = read_study(db, "churn")
    assert [(t.slot, t.attempt, t.state, t.value) for t in study.trials] == [
        (0, 1, "complete", 0.5),
        (1, 1, "raced out", 0.25),
        (2, 1, "failed", None),
        (2, 2, "running", None),
    ]
    assert [r.score_loss for r in study.trials[0].replicates] == [0.25, 0.75]
    assert (study.limits, study.dataset, study.finished) == (Limits(), None, 2)
    with db.begin_read() as connection:
        slots = connection.execute(sa.select(SLOTS).order_by(SLOTS.c.number)).all()
        assert connection.scalar(sa.select(WORKERS.c.role)) == "run"
    assert [slot.seconds > 0 for slot in slots] == [True, True, True, False]
    assert [slot.started is not None for slot in slots] == [False, False, True, False]
    db.close()


def states_of(db: Database, name: str) -> list[str]:
    return [trial.state for trial in read_study(db, name).trials]


def test_a_file_of_the_second_revision_keeps_all_it_holds(path: Path):
    """Made by hpo itself: one study of each kind."""
    db = older_file(path, "0002")
    prepare(db)
    assert {s.name: (s.finished, s.budget) for s in list_studies(db)} == {
        "synthetic": (6, 6),
        "failed": (2, 2),
        "finished": (10, 10),
        "own-space": (2, 2),
        "frame": (2, 2),
        "unfinished": (3, 5),
    }
    assert Counter(states_of(db, "finished")) == {"complete": 4, "raced out": 1, "pruned": 5}
    assert states_of(db, "unfinished") == ["complete", "complete", "complete", "failed", "interrupted", "running"]
    reasons = [trial.reason for trial in read_study(db, "unfinished").trials[3:]]
    assert reasons == ["process killed: elsewhere:16474", None, None]
    found = progress(db, find_study(db, "finished").id)
    assert (found.complete, found.raced_out, found.pruned, found.failed) == (4, 1, 5, 0)
    assert progress(db, find_study(db, "failed").id).failed == 2
    best = min(trial.value for trial in read_study(db, "finished").trials if trial.state == "complete")
    assert best == next(s.best_value for s in list_studies(db) if s.name == "finished")
    fetch_dataset(db, find_study(db, "frame").dataset, path.with_suffix(".parquet"))
    db.close()


def test_a_file_of_the_third_revision_keeps_all_it_holds(path: Path):
    db = older_file(path, "0003")
    prepare(db)
    assert {s.name: (s.finished, s.budget) for s in list_studies(db)} == {"finished": (3, 3), "unfinished": (2, 4)}
    assert states_of(db, "unfinished") == ["complete", "complete", "running"]
    assert [(worker.host, worker.note) for worker in list_workers(db, alive_only=False)] == [("elsewhere", None)] * 2
    db.close()


@pytest.mark.parametrize(
    ("revision", "name", "slot", "attempts"),
    [("0001", "churn", 2, 2), ("0002", "unfinished", 3, 3), ("0003", "unfinished", 2, 1)],
)
def test_an_upgraded_study_goes_on(path: Path, revision: str, name: str, slot: int, attempts: int):
    db = older_file(path, revision)
    upgrade(db)
    [study] = open_studies(db)
    assert (study.name, study.open, study.claimed) == (name, 1, 1)
    assert requeue_orphans(db, study.id) == 0  # its worker may be on another host, for all that is known
    assert sweep(db) == 1
    worker, dimensions = start_worker(db, study.id, host="elsewhere", pid=1), load_space("mlp").distributions()
    claims = [claim(db, study.id, worker, lambda offer: POINT, dimensions) for _ in range(3)]
    # What broke off comes last, with the point that it had.
    assert [(c.slot, c.attempt) for c in claims if c] == [(slot + 1, 1), (slot, attempts + 1)]
    extend_study(db, study.id, slot + 3)
    assert broken_rules(db) == []
    assert progress(db, study.id).open == 1
    assert len(list_workers(db)) == 1
    db.close()


POINT = {"dropout": 0.25, "learning_rate": 0.01, "activation": "relu", "batch_exponent": 4}
DATA = {"kind": "builtin", "source": "wine", "target": "target", "sha256": ""}
SPACE = {"reference": "mlp", "description": {}}
EVALUATION = {"method": "kfold", "replicates": 3, "max_epochs": 50, "patience": 7}


def converted(spec: dict[str, Any]) -> dict[str, Any]:
    script = ScriptDirectory(str(Path(hpo_storage.migrations.__file__).parent)).get_revision("0003")
    return script.module.converted(spec)


def test_a_spec_names_its_objective_which_holds_data_and_evaluation():
    spec = {"name": "a", "data": DATA, "space": SPACE, "evaluation": EVALUATION, "search": {"pruner": "halving"}}
    assert converted(spec) == {
        "name": "a",
        "objective": {"name": "mlp", "part": {"data": DATA, "evaluation": EVALUATION}},
        "space": SPACE,
        "search": {"pruner": "halving"},
    }
    assert converted(converted(spec)) == converted(spec)


@pytest.mark.parametrize(("pruning", "pruner"), [(True, "curve"), (False, "none")])
def test_pruning_was_curve_or_none(pruning: bool, pruner: str):
    spec = {"name": "a", "data": DATA, "search": {"seed": 3, "pruning": pruning}}
    assert converted(spec)["search"] == {"seed": 3, "pruner": pruner}


@pytest.mark.parametrize(("source", "sleep"), [("synthetic", 0.0), ("synthetic:0", 0.0), ("synthetic:0.25", 0.25)])
def test_the_synthetic_objective_was_a_kind_of_data(source: str, sleep: float):
    spec = {"name": "a", "data": {"kind": "synthetic", "source": source, "target": "loss"}, "space": SPACE}
    part = {"sleep": sleep, "replicates": 3, "max_epochs": 50}
    objective = {"name": "synthetic", "part": part}
    assert converted({**spec, "evaluation": EVALUATION}) == {"name": "a", "objective": objective, "space": SPACE}
    assert converted(spec)["objective"]["part"] == {"sleep": sleep, "replicates": 5, "max_epochs": 200}


def set_revision(db: Database, revision: str) -> None:
    with db.begin_write() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")


def test_only_a_file_is_upgraded_unasked(empty_url: str, backend: str):
    """On a server others work with the older schema."""
    db = connect(empty_url)
    prepare(db)
    prepare(db)
    assert create_study(db, "a", {}, {}, {}, 1)
    if backend != "sqlite":
        set_revision(db, OLDER[0])
        with pytest.raises(StorageError, match=r"got the older 0001; run hpo\.upgrade"):
            prepare(db)
    set_revision(db, "9999")
    for function in (prepare, upgrade):
        with pytest.raises(StorageError, match="newer 9999; use the newer version"):
            function(db)
    db.close()


def trial(number: int, *, slot: int, state: str, value: str, raced_out: str, reason: str) -> str:
    """Into the first revision's table; an attempt's number is its trial's."""
    return (
        f"INSERT INTO hpo_trials VALUES ({number}, {slot}, {number}, {number}, '{state}', {value}, NULL, {raced_out}, "
        f"{reason}, '{{}}', 'w', 0, '2026-01-01 00:00:00', '2026-01-01 00:00:01')"
    )


def make_older(db: Database) -> None:
    """The tables of the first revision, with rows in them."""
    from alembic import command

    with pytest.MonkeyPatch.context() as patch:
        run = command.upgrade
        patch.setattr(command, "upgrade", lambda config, revision: run(config, OLDER[0]))
        upgrade(db)
    with db.begin_write() as connection:
        for statement in (
            "INSERT INTO studies (study_id, study_name) VALUES (7, 'a')",
            "INSERT INTO hpo_studies VALUES (7, 'a', '{}', '{}', '{}', 3, '2026-01-01 00:00:00')",
            "INSERT INTO hpo_workers VALUES ('w', 7, 'h', 1, NULL, '2026-01-01 00:00:00', '2026-01-01 00:00:00', NULL)",
            "INSERT INTO hpo_slots VALUES (1, 7, 0, 'open', NULL, 0, 0, NULL, NULL, NULL, NULL)",
            "INSERT INTO hpo_slots VALUES (2, 7, 1, 'complete', NULL, 1, 0, NULL, 1, NULL, NULL)",
            "INSERT INTO hpo_slots VALUES (3, 7, 2, 'complete', NULL, 1, 0, NULL, 2, NULL, NULL)",
            trial(1, slot=2, state="complete", value="0.5", raced_out="false", reason="NULL"),
            trial(2, slot=3, state="complete", value="0.25", raced_out="true", reason="'raced out after 1'"),
            trial(3, slot=1, state="failed", value="NULL", raced_out="false", reason="'interrupted'"),
            trial(4, slot=1, state="failed", value="NULL", raced_out="false", reason="'died'"),
        ):
            connection.exec_driver_sql(statement)


def test_an_upgrade_on_a_server_goes_through_each_revision(empty_url: str):
    """The older tables on each kind of database."""
    db = connect(empty_url)
    make_older(db)
    upgrade(db)
    check_declared(db)
    [worker] = list_workers(db, alive_only=False)
    assert (worker.study, worker.role, worker.trainers) == ("a", "run", 1)
    found = progress(db, 7)
    assert (found.open, found.complete, found.raced_out) == (1, 1, 1)
    told = [(trial.state, trial.value, trial.reason) for trial in read_study(db, "a").trials]
    assert told == [
        ("complete", 0.5, None),
        ("raced out", 0.25, "raced out after 1"),
        ("interrupted", None, None),
        ("failed", None, "died"),
    ]
    assert {slot.purpose for slot in slots_of(db)} == {Purpose.TRIAL}
    db.close()


def slots_of(db: Database) -> list[sa.Row]:
    with db.begin_read() as connection:
        return list(connection.execute(sa.select(SLOTS).order_by(SLOTS.c.number)))


def breaking_off(last: int) -> Callable[..., None]:
    """Ends the process, as it were, after so many changes of our tables."""
    made = itertools.count(1)

    def count(connection: object, cursor: object, statement: str, *others: object) -> None:
        if re.match(r"\s*(CREATE|ALTER) .*hpo_|INSERT INTO hpo_alembic", statement) and next(made) > last:
            raise RuntimeError("power cut")

    return count


def broken_off_upgrade(db: Database, last: int) -> None:
    count = breaking_off(last)
    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    try:
        upgrade(db)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", count)


@pytest.mark.parametrize("backend", ["mariadb"], indirect=True)
def test_a_first_start_that_was_broken_off_begins_again(empty_url: str):
    db = connect(empty_url)
    for last in (0, 1, 4, 9, 11, 13, 18):
        with pytest.raises(RuntimeError, match="power cut"):
            broken_off_upgrade(db, last)
    prepare(db)
    check_declared(db)
    db.close()


@pytest.mark.parametrize("backend", ["mariadb"], indirect=True)
def test_an_upgrade_that_was_broken_off_tells_the_remedy(empty_url: str):
    db = connect(empty_url)
    make_older(db)
    with pytest.raises(RuntimeError, match="power cut"):
        broken_off_upgrade(db, 2)
    with pytest.raises(StorageError, match=r"one that was broken off .* restore the copy made before it"):
        upgrade(db)
    db.close()


@pytest.mark.parametrize("backend", ["mariadb"], indirect=True)
def test_a_start_waits_for_another_ones_first(empty_url: str):
    """The older revision is visible before the newer one."""
    older, goes_on = threading.Event(), threading.Event()

    def pause(connection: object, cursor: object, statement: str, *others: object) -> None:
        if "CREATE TABLE hpo_dataset_chunks" in statement:
            older.set()
            assert goes_on.wait(60)

    sa.event.listen(sa.Engine, "before_cursor_execute", pause)
    first, second, look = (connect(empty_url) for _ in range(3))
    waiting = sa.text(
        "SELECT count(*) FROM information_schema.processlist WHERE state = 'User lock' AND db = database()"
    )
    with ThreadPoolExecutor() as pool:
        starts = [pool.submit(prepare, first)]
        assert older.wait(60)
        assert schema(look) == OLDER[0]
        starts.append(pool.submit(prepare, second))
        with look.begin_read() as connection:
            while not starts[1].done() and not connection.scalar(waiting):
                pass
        goes_on.set()
        assert [start.result(60) for start in starts] == [None, None]
    sa.event.remove(sa.Engine, "before_cursor_execute", pause)
    assert holds_tables(look)
    for db in (first, second, look):
        db.close()


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)  # MariaDB commits each change of a table
def test_an_upgrade_that_fails_leaves_nothing(empty_url: str, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: object) -> None:
        migrate(*args)
        raise RuntimeError("power cut")

    migrate = database._migrate
    db = connect(empty_url)
    with monkeypatch.context() as patch:
        patch.setattr(database, "_migrate", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            upgrade(db)
    assert sa.inspect(db.engine).get_table_names() == []
    upgrade(db)
    assert holds_tables(db)
    db.close()
