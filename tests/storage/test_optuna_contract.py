"""What we rely on of Optuna's `RDBStorage` beyond what it promises, and what Optuna's tools read of ours."""

import logging
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from storage.database import Database, upgrade
from storage.optuna import read_trials, settled
from storage.records import Outcome
from storage.slots import finish
from storage.studies import create_study

MakeOutcome = Callable[..., Outcome]


def dump(path: Path) -> list[str]:
    """Every row of every table."""
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def schema(path: Path) -> set[tuple[str, ...]]:
    connection = sqlite3.connect(path)
    rows = set(connection.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%hpo_%'"))
    versions = connection.execute("SELECT * FROM version_info, alembic_version").fetchall()
    connection.close()
    return rows | {tuple(map(str, row)) for row in versions}


def test_our_upgrade_makes_the_tables_that_optuna_makes(db: Database, path: Path, tmp_path: Path):
    theirs = tmp_path / "theirs.db"
    storage = RDBStorage(f"sqlite:///{theirs}")
    storage.engine.dispose()
    assert schema(path) == schema(theirs)


def test_a_database_that_optuna_made_is_upgraded(tmp_path: Path):
    from storage.database import connect

    url = f"sqlite:///{tmp_path}/theirs.db"
    storage = RDBStorage(url)
    optuna.create_study(storage=storage, study_name="theirs").add_trial(optuna.trial.create_trial(value=1.0))
    storage.engine.dispose()
    ours = connect(url)
    upgrade(ours)
    assert create_study(ours, "ours", {}, {}, {}, 1) == 2
    ours.close()


def test_both_sides_commit_together(bench):
    before = dump(bench.path)
    with bench.db.begin_write() as connection:
        bench.db.optuna.create_study(connection, "other")
        connection.exec_driver_sql("UPDATE hpo_studies SET budget = 99")
        assert dump(bench.path) == before
    after = "\n".join(dump(bench.path))
    assert "'other'" in after
    assert ",99," in after


@pytest.mark.parametrize("step", ["start", "finish", "delete"])
def test_a_rollback_leaves_neither_side_changed(bench, outcome: MakeOutcome, step: str):
    claimed = bench.claim()
    before = dump(bench.path)
    tables = bench.db.optuna
    with pytest.raises(RuntimeError, match="undo"), bench.db.begin_write() as connection:  # noqa: PT012
        connection.exec_driver_sql("UPDATE hpo_studies SET budget = 99")
        if step == "start":
            tables.start_trial(connection, bench.study_id, {}, {}, {"slot": 5})
        elif step == "finish":
            tables.finish_trial(
                connection,
                claimed.trial_id,
                "complete",
                value=0.5,
                attributes={"a": 1},
                intermediate={0: 0.5},
            )
        else:
            tables.delete_study(connection, bench.study_id)
        raise RuntimeError("undo")
    assert dump(bench.path) == before
    finish(bench.db, claimed, outcome())


def test_an_error_of_optunas_undoes_ours_even_where_it_is_swallowed(bench):
    """Optuna ignores some violated constraints after a rollback: then nothing of ours may be committed."""
    before = dump(bench.path)
    with pytest.raises(RuntimeError, match="was rolled back"), bench.db.begin_write() as connection:  # noqa: PT012
        connection.exec_driver_sql("UPDATE hpo_studies SET budget = 99")
        storage = bench.db.optuna.join(connection)
        session = storage.scoped_session()
        session.execute(sa.text("SELECT 1"))
        session.rollback()
        session.close()
    assert dump(bench.path) == before


def test_a_running_trial_with_all_its_parameters_is_one_commit(bench):
    commits = []
    sa.event.listen(bench.db.engine, "commit", lambda connection: commits.append(connection))
    claimed = bench.claim()
    assert len(commits) == 1
    trial = read_trials(bench.db, bench.study_id)[0]
    assert (trial.state, trial.number) == (TrialState.RUNNING, claimed.number)
    assert trial.params == claimed.params
    assert trial.user_attrs == {"slot": 0, "attempt": 1}


def test_a_result_is_one_commit(bench, outcome: MakeOutcome):
    claimed = bench.claim()
    commits = []
    sa.event.listen(bench.db.engine, "commit", lambda connection: commits.append(connection))
    finish(bench.db, claimed, outcome())
    assert len(commits) == 1


def test_optuna_reads_the_study(bench, outcome: MakeOutcome):
    finish(bench.db, bench.claim(), outcome(0.5))
    finish(bench.db, bench.claim(), outcome(0.25, raced_out=True, reason="raced out"))
    bench.claim()
    storage = RDBStorage(f"sqlite:///{bench.path}")
    study = optuna.load_study(study_name="churn", storage=storage)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.RUNNING]
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    first, second, _ = study.trials
    assert first.intermediate_values == {0: 0.25, 1: 0.75}
    assert first.user_attrs["standard_error"] == 0.25
    assert first.user_attrs["info"] == {"parameters": 1234, "widths": [20, 10]}
    assert (second.value, second.user_attrs["raced_out"]) == (0.25, True)
    for plot in (optuna.visualization.plot_optimization_history, optuna.visualization.plot_slice):
        assert plot(study).data
    storage.engine.dispose()


def test_following_a_study(bench, outcome: MakeOutcome):
    first, second, third = bench.claim(), bench.claim(), bench.claim()
    finish(bench.db, first, outcome())
    finish(bench.db, third, outcome())
    trials = read_trials(bench.db, bench.study_id)
    assert [t.number for t in trials] == [0, 1, 2]
    after = settled(trials)
    assert after == first.trial_id
    finish(bench.db, second, outcome(state="pruned", value=None))
    trials = read_trials(bench.db, bench.study_id, after)
    assert [(t.number, t.state) for t in trials] == [(1, TrialState.PRUNED), (2, TrialState.COMPLETE)]
    after = settled(trials, after)
    assert read_trials(bench.db, bench.study_id, after) == []
    assert settled([], after) == after


def test_optunas_log_stays_quiet_and_as_it_was(db: Database, caplog: pytest.LogCaptureFixture):
    optuna.logging.enable_propagation()
    before = optuna.logging.get_verbosity()
    with caplog.at_level(logging.DEBUG):
        create_study(db, "quiet", {}, {}, {}, 1)
    optuna.logging.disable_propagation()
    assert optuna.logging.get_verbosity() == before
    assert [r for r in caplog.records if r.name.startswith("optuna")] == []


def test_the_joined_storage_knows_no_url(bench):
    with bench.db.begin_write() as connection:
        storage = bench.db.optuna.join(connection)
        assert storage.url == "sqlite://"
        assert str(bench.path).encode() not in pickle.dumps(storage)
