"""Positions of who follows a study: what it knows, so that each look reads only what is new.

Claims of a study follow one another, so its trials become visible in the order of their ids. They end in any order.
"""

from collections import Counter
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hpo_storage.records import ACCEPTED, SHOWN_TRIALS, Position, Purpose, TrialState
from hpo_storage.tables import SLOTS, TRIALS

_NUMBERS = sa.table(
    "trials", sa.column("trial_id", sa.Integer), sa.column("study_id", sa.Integer), sa.column("number", sa.Integer)
)
"""Optuna's trials: by its index, every database finds a study's latest ones without a look at the others."""


def of_budget(study_id: int) -> sa.ColumnElement[bool]:
    """Whether a slot is one of the study's budget."""
    return sa.and_(SLOTS.c.study_id == study_id, SLOTS.c.purpose == Purpose.TRIAL)


def begun(connection: sa.Connection, study_id: int) -> Position:
    """The position of who knows all that there is. It adds up all slots, once."""
    slots = sa.select(SLOTS.c.state, sa.func.count().label("slots"), sa.func.sum(SLOTS.c.seconds).label("seconds"))
    states = connection.execute(slots.where(of_budget(study_id)).group_by(SLOTS.c.state)).all()
    of_study = sa.select(_NUMBERS).where(_NUMBERS.c.study_id == study_id)
    last = connection.execute(of_study.order_by(_NUMBERS.c.trial_id.desc()).limit(1)).first()
    running = (
        sa.select(TRIALS.c.id, TRIALS.c.number)
        .join(SLOTS, SLOTS.c.trial_id == TRIALS.c.id)
        .where(of_budget(study_id), SLOTS.c.state == "claimed")
    )
    return Position(
        last=-1 if last is None else last.trial_id,
        number=-1 if last is None else last.number,
        running={trial.id: trial.number for trial in connection.execute(running)},
        results={TrialState(row.state): row.slots for row in states if row.state in ACCEPTED},
        seconds=sum((row.seconds for row in states), start=0.0),
    )


def advanced(connection: sa.Connection, study_id: int, position: Position) -> tuple[Position, list[sa.Row[Any]]]:
    """The position after all that there is now, and the trials that have ended since the one before."""
    after = _after(connection, study_id, position)
    newer = _read(connection, [*position.running, *after])
    ended = [trial for trial in newer if trial.state is not TrialState.RUNNING]
    last = max(after, default=position.last)
    return Position(
        last=last,
        number=after.get(last, position.number),
        running={trial.id: trial.number for trial in newer if trial.state is TrialState.RUNNING},
        results=Counter(position.results) + Counter(trial.state for trial in ended if trial.state in ACCEPTED),
        seconds=position.seconds + sum(between(trial.started, trial.finished) for trial in ended),
    ), ended


def newer_trials(connection: sa.Connection, study_id: int, position: Position) -> list[sa.Row[Any]]:
    """Id, number, state and times of the trials that ran at the position and of those after it."""
    return _read(connection, [*position.running, *_after(connection, study_id, position)])


def _after(connection: sa.Connection, study_id: int, position: Position) -> dict[int, int]:
    """Numbers by id of what was begun since, trials or not."""
    newer = _NUMBERS.c.study_id == study_id, _NUMBERS.c.trial_id > position.last
    return {row.trial_id: row.number for row in connection.execute(sa.select(_NUMBERS).where(*newer))}


def _read(connection: sa.Connection, ids: list[int]) -> list[sa.Row[Any]]:
    """In parts, as databases limit how many values a statement may have."""
    columns = (TRIALS.c.id, TRIALS.c.number, TRIALS.c.state, TRIALS.c.started, TRIALS.c.finished)
    query = sa.select(*columns).join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)
    parts = [ids[start : start + SHOWN_TRIALS] for start in range(0, len(ids), SHOWN_TRIALS)]
    found: list[sa.Row[Any]] = []
    for part in parts:
        found += connection.execute(query.where(TRIALS.c.id.in_(part), SLOTS.c.purpose == Purpose.TRIAL))
    return found


def between(start: datetime, end: datetime) -> float:
    """Seconds; a clock that was set back must not give time back."""
    return max(0.0, (end - start).total_seconds())
