"""Optuna's tables as we write them are as Optuna writes them, and its own tools read them."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from hpo_storage.database import Database, connect, upgrade
from hpo_storage.optuna import STUDIES, TRIALS, start_trial
from hpo_storage.records import Outcome
from hpo_storage.slots import finish
from hpo_storage.studies import create_study, delete_study, find_study
from hpo_storage.tables import SLOTS
from hpo_storage.workers import stop_worker
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState, create_trial

MakeOutcome = Callable[..., Outcome]
TIMES = {"datetime_start", "datetime_complete"}


def schema(path: Path) -> set[tuple[str, ...]]:
    connection = sqlite3.connect(path)
    rows = set(connection.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%hpo_%'"))
    versions = connection.execute("SELECT * FROM version_info, alembic_version").fetchall()
    connection.close()
    return rows | {tuple(map(str, row)) for row in versions}


def stock(db: Database) -> RDBStorage:
    return RDBStorage(db.engine.url.render_as_string(hide_password=False))


def written(db: Database, study: str) -> dict[str, list[dict[str, Any]]]:
    """The study's rows in Optuna's tables, without times and keys; trials are told by their number."""
    with db.begin_read() as connection:
        study_id = connection.scalar(sa.select(STUDIES.c.study_id).where(STUDIES.c.study_name == study))
        trials = connection.execute(sa.select(TRIALS).where(TRIALS.c.study_id == study_id)).all()
        numbers = {trial.trial_id: trial.number for trial in trials}
        found = {}
        for table in models.BaseModel.metadata.sorted_tables:
            keys = {column.name for column in table.primary_key} | {"study_id", "study_name", *TIMES}
            if "study_id" in table.c:
                query = sa.select(table).where(table.c.study_id == study_id)
            elif "trial_id" in table.c:
                query = sa.select(table).where(table.c.trial_id.in_(numbers))
            else:
                continue
            rows = [
                {name: value for name, value in row._mapping.items() if name not in keys - {"trial_id"}}
                for row in connection.execute(query)
            ]
            for row in rows:
                if "trial_id" in row:
                    row["trial_id"] = numbers[row["trial_id"]]
            found[table.name] = sorted(rows, key=repr)
    return found


def test_our_upgrade_makes_the_tables_that_optuna_makes(file_db: Database, path: Path, tmp_path: Path):
    theirs = tmp_path / "theirs.db"
    storage = RDBStorage(f"sqlite:///{theirs}")
    storage.engine.dispose()
    assert schema(path) == schema(theirs)


def test_a_database_that_optuna_made_is_upgraded(empty_url: str):
    storage = RDBStorage(empty_url)
    optuna.create_study(storage=storage, study_name="theirs").add_trial(optuna.trial.create_trial(value=1.0))
    storage.engine.dispose()
    ours = connect(empty_url)
    upgrade(ours)
    assert create_study(ours, "ours", {}, {}, {}, 1) == 2
    ours.close()


def test_we_write_what_optuna_writes(bench, outcome: MakeOutcome):
    """A complete, a pruned, a failed and a running trial, through both."""
    first, second, third = bench.claim(), bench.claim(), bench.claim()
    finish(bench.db, first, outcome(0.5, reason="ümlaut"))
    finish(bench.db, second, outcome(None, state="pruned", standard_error=None, reason="hopeless", info={}))
    storage = stock(bench.db)
    study = optuna.create_study(storage=storage, study_name="stock")
    [template] = optuna.load_study(study_name="churn", storage=storage).get_trials(states=[TrialState.RUNNING])
    distributions = template.distributions
    for claimed in (first, second, third):
        attributes = {"slot": claimed.slot, "attempt": 1}
        trial_id = storage.create_new_trial(
            study._study_id,
            create_trial(
                state=TrialState.RUNNING, params=claimed.params, distributions=distributions, user_attrs=attributes
            ),
        )
        if claimed is third:
            continue
        attributes = (
            {"standard_error": 0.25, "reason": "ümlaut", "info": {"parameters": 1234, "widths": [20, 10]}}
            if claimed is first
            else {"reason": "hopeless"}
        )
        for key, value in attributes.items():
            storage.set_trial_user_attr(trial_id, key, value)
        for step, loss in {0: 0.25, 1: 0.75}.items():
            storage.set_trial_intermediate_value(trial_id, step, loss)
        if claimed is first:
            storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.5])
        else:
            storage.set_trial_state_values(trial_id, TrialState.PRUNED)
    ours, theirs = written(bench.db, "churn"), written(bench.db, "stock")
    assert ours == theirs
    assert {name for name, rows in ours.items() if rows} == {
        "studies",
        "study_directions",
        "trials",
        "trial_params",
        "trial_user_attributes",
        "trial_values",
        "trial_intermediate_values",
    }
    storage.engine.dispose()


def test_both_sides_commit_together(bench, outcome: MakeOutcome, monkeypatch: pytest.MonkeyPatch):
    """An error after all rows are written leaves neither side changed."""
    claimed = bench.claim()
    before = written(bench.db, "churn")
    monkeypatch.setattr("hpo_storage.optuna._set_attributes", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench.claim()
    with pytest.raises(ZeroDivisionError):
        finish(bench.db, claimed, outcome())
    monkeypatch.undo()
    assert written(bench.db, "churn") == before
    with bench.db.begin_read() as connection:
        assert connection.scalars(sa.select(SLOTS.c.state).order_by(SLOTS.c.number)).all() == ["claimed"]
    finish(bench.db, claimed, outcome())


@pytest.mark.parametrize("step", ["claim", "finish"])
def test_a_step_is_one_commit(bench, outcome: MakeOutcome, step: str):
    claimed = bench.claim()
    commits: list[object] = []
    sa.event.listen(bench.db.engine, "commit", commits.append)
    if step == "claim":
        bench.claim()
    else:
        finish(bench.db, claimed, outcome())
    assert len(commits) == 1


def test_a_study_at_work_read_by_optuna(bench, outcome: MakeOutcome):
    finish(bench.db, bench.claim(), outcome(0.5))
    finish(bench.db, bench.claim(), outcome(0.25, state="raced out", reason="raced out"))
    last = bench.claim()
    storage = stock(bench.db)
    study = optuna.load_study(study_name="churn", storage=storage)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.RUNNING]
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    first, second, third = study.trials
    assert first.intermediate_values == {0: 0.25, 1: 0.75}
    assert first.user_attrs["standard_error"] == 0.25
    assert first.user_attrs["info"] == {"parameters": 1234, "widths": [20, 10]}
    assert (second.value, second.user_attrs["raced_out"]) == (0.25, True)
    assert (third.number, third.params, third.user_attrs) == (2, last.params, {"slot": 2, "attempt": 1})
    assert first.datetime_start is not None
    assert abs((third.datetime_start - first.datetime_start).total_seconds()) < 60
    for plot in (optuna.visualization.plot_optimization_history, optuna.visualization.plot_slice):
        assert plot(study).data
    storage.engine.dispose()


def test_optuna_asks_and_tells_in_a_study_of_ours(bench, outcome: MakeOutcome):
    """Not for use, but it shows that the rows are complete: its samplers learn from them."""
    for value in (0.5, 0.25, 0.75):
        finish(bench.db, bench.claim(), outcome(value))
    storage = stock(bench.db)
    study = optuna.load_study(
        study_name="churn", storage=storage, sampler=optuna.samplers.TPESampler(n_startup_trials=1)
    )
    trial = study.ask()
    assert 0 <= trial.suggest_float("dropout", 0.0, 0.5) <= 0.5
    study.tell(trial, 0.125)
    assert (study.best_value, trial.number) == (0.125, 3)
    storage.engine.dispose()


def test_a_value_outside_its_distribution_is_refused(bench):
    with pytest.raises(ValueError, match=r"got dropout = 0\.9, not in"), bench.db.begin_write() as connection:
        start_trial(
            connection,
            bench.study_id,
            {"dropout": 0.9},
            {"dropout": optuna.distributions.FloatDistribution(0, 0.5)},
            {},
        )


def test_names_that_differ_in_case_are_different(db: Database):
    first, second = (create_study(db, name, {}, {}, {}, 1) for name in ("churn", "Churn"))
    assert first != second
    found = [find_study(db, name) for name in ("churn", "Churn", "CHURN")]
    assert [study and study.id for study in found] == [first, second, None]
    storage = stock(db)
    assert optuna.load_study(study_name="Churn", storage=storage)._study_id == second
    storage.engine.dispose()


def test_deleting_is_as_optuna_deletes(bench, outcome: MakeOutcome):
    finish(bench.db, bench.claim(), outcome(0.5))
    bench.claim()
    stop_worker(bench.db, bench.worker_id)
    storage = stock(bench.db)
    study = optuna.create_study(storage=storage, study_name="stock")
    study.set_user_attr("a", 1)
    study.tell(study.ask(), 1.0)
    delete_study(bench.db, bench.study_id)
    assert [s.study_name for s in optuna.get_all_study_summaries(storage)] == ["stock"]
    optuna.delete_study(study_name="stock", storage=storage)
    with bench.db.begin_read() as connection:
        for table in models.BaseModel.metadata.sorted_tables:
            if table.name != "version_info":
                assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0, table.name
    storage.engine.dispose()
