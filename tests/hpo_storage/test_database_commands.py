"""hpo db upgrade, current and check."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from hpo_storage.checks import broken_rules
from hpo_storage.migrations import HEAD
from hpo_storage.slots import finish
from hpo_storage.tables import SLOTS, STUDIES, TRIALS

from hpo.cli.main import main


def test_from_nothing_to_current(empty_url: str, capsys: pytest.CaptureFixture[str]):
    assert main(["db", "current", "--storage", empty_url]) == 1
    captured = capsys.readouterr()
    assert "has no tables" in captured.out
    assert "run hpo db upgrade --storage" in captured.err
    assert main(["db", "check", "--storage", empty_url]) == 2
    for _ in range(2):
        assert main(["db", "upgrade", "--storage", empty_url]) == 0
    capsys.readouterr()
    assert main(["db", "current", "--storage", empty_url]) == 0
    assert f"has schema {HEAD}" in capsys.readouterr().out
    assert main(["db", "check", "--storage", empty_url]) == 0
    assert "is consistent" in capsys.readouterr().out


def expire(connection: sa.Connection) -> None:
    began = connection.scalar(sa.select(SLOTS.c.started).where(SLOTS.c.state == "claimed"))
    connection.execute(SLOTS.update().where(SLOTS.c.state == "claimed").values(lease_until=began - timedelta(days=1)))


def leave_a_gap(connection: sa.Connection) -> None:
    connection.execute(SLOTS.update().where(SLOTS.c.state == "claimed").values(number=2))


def lower_the_budget(connection: sa.Connection) -> None:
    connection.execute(STUDIES.update().values(budget=1))


def accept_twice(connection: sa.Connection) -> None:
    trial = connection.execute(sa.select(TRIALS).where(TRIALS.c.state == "complete")).first()
    assert trial is not None
    values = {**trial._mapping, "id": 999, "attempt": 2, "number": 9}
    connection.execute(TRIALS.insert().values(values))


def lose_value(connection: sa.Connection) -> None:
    connection.execute(TRIALS.update().where(TRIALS.c.state == "complete").values(value=None))


def change_optunas(connection: sa.Connection) -> None:
    connection.exec_driver_sql("UPDATE trial_values SET value = 0.125")


def reopen(connection: sa.Connection) -> None:
    connection.execute(SLOTS.update().where(SLOTS.c.state == "claimed").values(state="open"))


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (expire, "a running trial must have a live lease; trials 1 have not"),
        (leave_a_gap, "a budget of 3 must have at most as many slots, numbered from 0 without gaps, got 2"),
        (lower_the_budget, "a budget of 1 must have at most as many slots, numbered from 0 without gaps, got 2"),
        (
            accept_twice,
            "a slot must have one accepted result when it is complete, raced out or pruned; slots 0 have not",
        ),
        (lose_value, "complete and raced-out trials, and no others, must have a finite value; trials 0 have not"),
        (change_optunas, "Optuna's tables must say the same; trials 0 have not"),
        (reopen, "a running trial must have a live lease; trials 1 have not"),
    ],
)
def test_what_is_broken_is_named(bench, outcome, url: str, capsys: pytest.CaptureFixture[str], damage, rule: str):
    finish(bench.db, bench.claim(), outcome())
    bench.claim()
    assert broken_rules(bench.db) == []
    with bench.db.begin_write() as connection:
        damage(connection)
    assert main(["db", "check", "--storage", url]) == 1
    assert f"study churn: {rule}" in capsys.readouterr().out.splitlines()
