"""Budgets beyond all sense, and studies that have become long: what a trial costs is the same in all of them."""

import importlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from hpo_spaces import load_space
from hpo_storage.checks import broken_rules
from hpo_storage.database import Database, connect, upgrade
from hpo_storage.slots import finish
from hpo_storage.studies import extend_study, find_study, look, open_studies, progress
from hpo_storage.tables import SLOTS
from hpo_storage.workers import start_worker

from hpo.search.advisor import Advisor
from hpo.search.incumbent import Leaderboard
from hpo.settings import SearchSpec
from tests.helpers.databases import opened
from tests.helpers.fleet import synthetic
from tests.helpers.invariants import invariants
from tests.helpers.records import make_outcome, make_replicate

BEYOND_SENSE = 1_000_000_000
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MLP = load_space("mlp")


def slots(url: str) -> int:
    with opened(url) as database, database.begin_read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(SLOTS)) or 0


@pytest.mark.slow
def test_fault_65_a_budget_beyond_all_sense(fleet):
    run = fleet.start("run", "--study", "s", *synthetic(0.01, BEYOND_SENSE), "--trainers", 1, "--no-report")
    fleet.wait_for(lambda: fleet.exists("s"))
    fleet.wait_for_trials("s", 3)
    run.send(signal.SIGINT)
    assert run.wait() == 130, run.output
    found = fleet.progress("s")
    assert found.budget == BEYOND_SENSE
    assert (found.claimed, found.open) == (0, BEYOND_SENSE - found.finished)
    assert slots(fleet.url) <= found.finished + 1
    with opened(fleet.url) as database:
        assert broken_rules(database) == []
        assert [study.open for study in open_studies(database)] == [found.open]


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("setting", "most"), [("trials", 2**31 - 1), ("trainers", 1000), ("population", 1000)])
def test_fault_65_a_number_that_nothing_can_hold_is_named_at_once(fleet, setting: str, most: int):
    run = fleet.start("run", "--study", "s", *synthetic(0, 3), f"--{setting}", 10**12)
    assert run.wait() == 2
    assert f"--{setting}" in run.output
    assert f"must be a whole number from 1 to {most}" in run.output
    assert "Traceback" not in run.output
    assert not fleet.exists("s")


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["HPO_LEASE_SECONDS", "sleep"])
def test_fault_65_a_time_that_no_clock_can_wait_for_is_named_at_once(fleet, name: str):
    words = ("run", "--study", "s", *synthetic(1e308 if name == "sleep" else 0, 1))
    run = fleet.start(*words, **({} if name == "sleep" else {name: "1e308"}))
    assert run.wait() == 2
    assert name in run.output
    assert "1000000" in run.output
    assert "Traceback" not in run.output


@pytest.mark.slow
def test_fault_65_a_study_is_extended_while_others_claim(fleet):
    watcher = fleet.create("s", 2, 0.01)
    workers = [fleet.start("worker", "--study", "s", "--trainers", 2) for _ in range(2)]
    with opened(fleet.url) as database:
        study_id = find_study(database, "s").id
        for budget in range(6, 41, 2):
            extend_study(database, study_id, budget)
            fleet.wait_for_trials("s", budget - 8)
    record = fleet.finish("s", *workers)
    assert record.budget == 40
    assert watcher.wait() == 0, watcher.output


@pytest.mark.slow
def test_fault_65_slots_that_an_older_version_made_at_once_are_used_up(fleet):
    watcher = fleet.create("s", 12, 0.01)
    with opened(fleet.url) as database, database.begin_write() as connection:
        common = {"study_id": find_study(database, "s").id, "purpose": "trial", "state": "open", "seconds": 0.0}
        made = [{**common, "number": number, "attempts": 0, "failures": 0} for number in range(12)]
        connection.execute(SLOTS.insert(), made)
    assert (fleet.progress("s").open, fleet.progress("s").finished) == (12, 0)
    workers = [fleet.start("worker", "--study", "s", "--trainers", 2) for _ in range(2)]
    fleet.wait_for_trials("s", 3)
    with opened(fleet.url) as database:
        extend_study(database, find_study(database, "s").id, 20)
    assert fleet.finish("s", *workers).budget == 20
    assert watcher.wait() == 0, watcher.output


def work_done(connection: sa.Connection) -> int:
    """What the database has done for this session so far: instructions of SQLite's machine, or rows read."""
    match connection.dialect.name:
        case "sqlite":
            return int(connection.info["instructions"][0])
        case "postgresql":
            connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
            connection.commit()
            connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
            rows = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables"
            return int(connection.exec_driver_sql(rows).scalar_one())
        case _:
            states = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'")
            return sum(int(count) for _, count in states)


@contextmanager
def counted(database: Database) -> Iterator[list[int]]:
    """How much work the database does in the block, and how many statements."""
    statements: list[object] = []

    def count(*about: object) -> None:
        statements.append(about[2])

    def instructions(connection: Any, record: Any, proxy: Any) -> None:
        done = record.info.setdefault("instructions", [0])
        connection.set_progress_handler(lambda: done.__setitem__(0, done[0] + 1), 1)

    if database.on_sqlite:
        sa.event.listen(database.engine, "checkout", instructions)
    done: list[int] = []
    with database.engine.connect() as connection:
        before = work_done(connection)
    sa.event.listen(database.engine, "before_cursor_execute", count)
    yield done
    sa.event.remove(database.engine, "before_cursor_execute", count)
    with database.engine.connect() as connection:
        done += [work_done(connection) - before, len(statements)]


def costs_of_a_trial(database: Database, study_id: int) -> list[int]:
    """Of all that a worker does for one: look, claim, look, tell, rules, and a poll for other studies."""
    worker_id = start_worker(database, study_id, host="elsewhere", pid=2, role="worker")
    advisor = Advisor(database, study_id, worker_id, MLP, SearchSpec(sampler="random"), Leaderboard(SearchSpec()))
    outcome = make_outcome(0.5, replicates=tuple(make_replicate(index) for index in range(3)))
    for trials in (2, 5):  # the first ones also prepare statements
        with counted(database) as done:
            for _ in range(trials):
                advisor.look()
                claimed = advisor.ask()
                assert claimed is not None
                advisor.look()
                advisor.tell(claimed, outcome)
                advisor.history.rules(claimed.slot)
                open_studies(database)
    assert advisor.progress == progress(database, study_id)
    return done


@pytest.fixture
def bookkeeping(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, which makes long studies in bulk."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("bookkeeping")


def test_fault_80_a_trial_costs_the_same_in_a_long_study(fleet, bookkeeping):
    costs = []
    database = connect(fleet.url)
    upgrade(database)
    for name, earlier in (("short", 50), ("long", 2000)):
        study_id = bookkeeping.make_study(database, name, earlier + 7)
        worker_id = start_worker(database, study_id, host="elsewhere", pid=1, role="worker")
        bookkeeping.fill(database, study_id, worker_id, earlier)
        costs.append(costs_of_a_trial(database, study_id))
        invariants(fleet.url, name, earlier + 7)
    database.close()
    (short, statements), (long, same) = costs
    assert same == statements
    assert long < 1.5 * short + 100, costs


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_80_a_trial_that_runs_for_long_makes_no_look_longer(fleet, bookkeeping):
    """What ended after it began is read once, though it has not ended."""
    database = connect(fleet.url)
    upgrade(database)
    study_id = bookkeeping.make_study(database, "s", 70)
    worker_id = start_worker(database, study_id, host="elsewhere", pid=2, role="worker")
    advisor = Advisor(database, study_id, worker_id, MLP, SearchSpec(sampler="random"), Leaderboard(SearchSpec()))
    watcher = look(database, study_id, None)
    long = advisor.ask()
    costs = []
    for trials in (5, 64):
        for _ in range(trials):
            claimed = advisor.ask()
            assert claimed is not None
            finish(database, claimed, make_outcome(0.5))
        watcher = look(database, study_id, watcher.position)
        assert len(watcher.trials) == trials
        with counted(database) as done:
            assert look(database, study_id, watcher.position).trials == []
        costs.append(done)
    assert costs[0] == costs[1]
    assert long is not None
    finish(database, long, make_outcome(0.5))
    assert [trial.number for trial in look(database, study_id, watcher.position).trials] == [long.number]
    database.close()
    invariants(fleet.url, "s", 70)
