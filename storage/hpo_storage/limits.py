"""What ends a study before its budget does, by the database's clock."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hpo.errors import StudyError, use
from hpo_storage.database import now
from hpo_storage.positions import between, newer_trials
from hpo_storage.records import Limit, Limits, Position, Purpose
from hpo_storage.tables import SLOTS


def check_limits(limits: Limits) -> None:
    """Raise StudyError where a limit is not a positive number of seconds."""
    given = {
        "time_limit": limits.wall_seconds,
        "trainer_seconds": limits.trainer_seconds,
        "trial_timeout": limits.trial_seconds,
    }
    for setting, seconds in given.items():
        if seconds is not None and not 0 < seconds < float("inf"):
            raise StudyError(
                f"a limit must be more than 0 seconds, got {seconds:g}; use {use(setting, 3600)}", setting=setting
            )


def limits_of(study: sa.Row[*tuple[Any, ...]]) -> Limits:
    """The limits in a study's row."""
    return Limits(
        wall_seconds=study.wall_seconds, trainer_seconds=study.trainer_seconds, trial_seconds=study.trial_seconds
    )


def reached(
    connection: sa.Connection, study: sa.Row[*tuple[Any, ...]], position: Position | None = None
) -> Limit | None:
    """The limit that the study (its row) has reached, None for none. From a position on, only what is newer is read."""
    if study.first_claim is None or (study.wall_seconds is None and study.trainer_seconds is None):
        return None
    time = now(connection)
    if study.wall_seconds is not None and (time - study.first_claim).total_seconds() >= study.wall_seconds:
        return "wall time"
    if study.trainer_seconds is None:
        return None
    spent = _spent(connection, study.id, time) if position is None else _spent_since(connection, study, time, position)
    return "trainer seconds" if spent >= study.trainer_seconds else None


def _spent(connection: sa.Connection, study_id: int, time: datetime) -> float:
    """The seconds that all attempts at trials have taken so far, those included that run."""
    trials = sa.and_(SLOTS.c.study_id == study_id, SLOTS.c.purpose == Purpose.TRIAL)
    total = sa.select(sa.func.sum(SLOTS.c.seconds)).where(trials)
    running = sa.select(SLOTS.c.started).where(trials, SLOTS.c.state == "claimed")
    ran = sum((between(started, time) for started in connection.scalars(running)), start=0.0)
    return float(connection.scalar(total) or 0.0) + ran


def _spent_since(
    connection: sa.Connection, study: sa.Row[*tuple[Any, ...]], time: datetime, position: Position
) -> float:
    """The same, by what was known at the position."""
    newer = newer_trials(connection, study.id, position)
    return sum((between(trial.started, trial.finished or time) for trial in newer), start=position.seconds)
