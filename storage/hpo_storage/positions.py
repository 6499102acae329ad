"""Positions of who follows a study: what it knows, so that each look reads only what is new.

Claims of a study follow one another, so its trials become visible in the order of their ids. They end in any order.
"""

from collections import Counter
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hpo_storage.records import ACCEPTED, Position, Purpose, TrialState
from hpo_storage.tables import SLOTS, TRIALS

_OF_BUDGET = TRIALS.join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)


def of_budget(study_id: int) -> sa.ColumnElement[bool]:
    """Whether a slot is one of the study's budget."""
    return sa.and_(SLOTS.c.study_id == study_id, SLOTS.c.purpose == Purpose.TRIAL)


def begun(connection: sa.Connection, study_id: int) -> Position:
    """The position of who knows all that there is. It adds up all slots, once."""
    slots = sa.select(SLOTS.c.state, sa.func.count().label("slots"), sa.func.sum(SLOTS.c.seconds).label("seconds"))
    states = connection.execute(slots.where(of_budget(study_id)).group_by(SLOTS.c.state)).all()
    trials = sa.select(TRIALS.c.id, TRIALS.c.number)
    last = connection.execute(
        trials.select_from(_OF_BUDGET).where(of_budget(study_id)).order_by(TRIALS.c.id.desc()).limit(1)
    ).first()
    running = trials.join(SLOTS, SLOTS.c.trial_id == TRIALS.c.id).where(of_budget(study_id), SLOTS.c.state == "claimed")
    return Position(
        last=-1 if last is None else last.id,
        number=-1 if last is None else last.number,
        running={trial.id: trial.number for trial in connection.execute(running)},
        results={TrialState(row.state): row.slots for row in states if row.state in ACCEPTED},
        seconds=sum((row.seconds for row in states), start=0.0),
    )


def advanced(connection: sa.Connection, study_id: int, position: Position) -> tuple[Position, list[sa.Row[Any]]]:
    """The position after all that there is now, and the trials that have ended since the one before."""
    newer = newer_trials(connection, study_id, position)
    ended = [trial for trial in newer if trial.state is not TrialState.RUNNING]
    last = max(newer, key=lambda trial: trial.id, default=None)
    moved = last is not None and last.id > position.last
    return Position(
        last=last.id if last is not None and moved else position.last,
        number=last.number if last is not None and moved else position.number,
        running={trial.id: trial.number for trial in newer if trial.state is TrialState.RUNNING},
        results=Counter(position.results) + Counter(trial.state for trial in ended if trial.state in ACCEPTED),
        seconds=position.seconds + sum(between(trial.started, trial.finished) for trial in ended),
    ), ended


def newer_trials(connection: sa.Connection, study_id: int, position: Position) -> list[sa.Row[Any]]:
    """Id, number, state and times of the trials that ran at the position and of those after it."""
    query = sa.select(TRIALS.c.id, TRIALS.c.number, TRIALS.c.state, TRIALS.c.started, TRIALS.c.finished)
    after = query.select_from(_OF_BUDGET).where(of_budget(study_id), TRIALS.c.id > position.last)
    newer: list[sa.Row[Any]] = []
    if position.running:
        newer += connection.execute(query.where(TRIALS.c.id.in_(position.running)))
    return [*newer, *connection.execute(after)]


def between(start: datetime, end: datetime) -> float:
    """Seconds; a clock that was set back must not give time back."""
    return max(0.0, (end - start).total_seconds())
