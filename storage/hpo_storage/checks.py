"""Whether what must always hold in a database does hold."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from hpo_storage.database import Database, now
from hpo_storage.records import ACCEPTED, FINISHED, VALUED, Purpose, TrialState
from hpo_storage.tables import SLOTS, STUDIES, TRIALS


def broken_rules(db: Database) -> list[str]:
    """One line per study and rule that is broken; none where all is well. It changes nothing.

    The rules: a running trial has a live lease; a study's slots for trials are numbered from 0 and no more than its
    budget; a slot has at most one accepted result, and the state of it; trials that have a value have a finite one;
    Optuna's tables say the same.
    """
    with db.begin_read() as connection:
        studies = connection.execute(
            sa.select(STUDIES.c.id, STUDIES.c.name, STUDIES.c.budget).order_by(STUDIES.c.id)
        ).all()
        return [
            f"study {study.name}: {line}" for study in studies for line in _of_study(connection, study.id, study.budget)
        ]


def _of_study(connection: sa.Connection, study_id: int, budget: int) -> Iterator[str]:
    slots = connection.execute(
        sa.select(SLOTS).where(SLOTS.c.study_id == study_id).order_by(SLOTS.c.purpose, SLOTS.c.number)
    ).all()
    numbers = [slot.number for slot in slots if slot.purpose is Purpose.TRIAL]
    if numbers != list(range(len(numbers))) or len(numbers) > budget:
        yield f"a budget of {budget} must have at most as many slots, numbered from 0 without gaps, got {len(numbers)}"
    time = now(connection)
    live = {slot.trial_id for slot in slots if slot.state == "claimed" and slot.lease_until >= time}
    of_study = (
        sa.select(TRIALS, SLOTS.c.purpose)
        .join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id)
        .where(SLOTS.c.study_id == study_id)
    )
    trials = connection.execute(of_study.order_by(TRIALS.c.id)).all()
    states = {trial.id: trial.state for trial in trials}
    lost = [trial.number for trial in trials if trial.state is TrialState.RUNNING and trial.id not in live]
    yield from _named("a running trial must have a live lease", "trials", lost)
    accepted: dict[int, list[str]] = {}
    for trial in trials:
        if trial.state in ACCEPTED:
            accepted.setdefault(trial.slot_id, []).append(trial.state)
    differing = [slot.number for slot in slots if accepted.get(slot.id, []) != [slot.state] * (slot.state in ACCEPTED)]
    yield from _named(
        "a slot must have one accepted result when it is complete, raced out or pruned", "slots", differing
    )
    idle = [
        slot.number for slot in slots if slot.state == "claimed" and states.get(slot.trial_id) != TrialState.RUNNING
    ]
    yield from _named("a claimed slot must have a running trial", "slots", idle)
    unvalued = [trial.number for trial in trials if (trial.state in VALUED) != _is_finite(trial.value)]
    yield from _named("complete and raced-out trials, and no others, must have a finite value", "trials", unvalued)
    ended = [slot.number for slot in slots if slot.state in FINISHED and states.get(slot.trial_id) != slot.state]
    yield from _named("a finished slot must have the state of its last trial", "slots", ended)
    yield from _named("Optuna's tables must say the same", "trials", _differing_in_optuna(connection, study_id, trials))


def _differing_in_optuna(connection: sa.Connection, study_id: int, trials: Sequence[sa.Row[Any]]) -> list[int]:
    from hpo_storage.optuna import shown, trial_values

    theirs = trial_values(connection, study_id)
    ours = {trial.id: (trial.number, *shown(trial.purpose, trial.state, trial.value)) for trial in trials}
    return [ours[trial_id][0] for trial_id in ours if ours[trial_id] != theirs.get(trial_id)]


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _named(rule: str, what: str, numbers: list[int]) -> Iterator[str]:
    if numbers:
        shown = ", ".join(map(str, numbers[:10])) + (" and others" if len(numbers) > 10 else "")
        yield f"{rule}; {what} {shown} have not"
