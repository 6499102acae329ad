"""Studies: create, find, extend, limit, list, read, follow and delete."""

import json
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from hpo.errors import StorageAwayError, StorageError, StudyError, StudyNotFoundError, do, use
from hpo_storage.database import Database, now
from hpo_storage.limits import check_limits, limits_of, reached
from hpo_storage.positions import advanced, begun
from hpo_storage.records import (
    RANKED,
    Limit,
    Limits,
    Look,
    OpenStudy,
    Position,
    Purpose,
    StudyHeader,
    StudyOverview,
    StudyProgress,
    StudyRecord,
    StudySummary,
    TrialState,
)
from hpo_storage.retry import retried
from hpo_storage.tables import DATASET_CHUNKS, DATASETS, PREDICTIONS, REPLICATES, SLOTS, STUDIES, TRIALS, WORKERS
from hpo_storage.trials import best_trial, failures, shown_trials, trials_by_id, trials_of
from hpo_storage.workers import check_not_running, living_workers

LISTED_NAMES = 20
NO_LIMITS = Limits()
RESULTS = (TrialState.COMPLETE, TrialState.RACED_OUT, TrialState.PRUNED)
Row = sa.Row[*tuple[Any, ...]]
_IS_TRIAL = SLOTS.c.purpose == Purpose.TRIAL
"""Whether a slot is one of the budget."""


def _slots(value: sa.ColumnElement[int], *where: sa.ColumnElement[bool]) -> sa.Select[int]:
    """Of a study's budget; by an index, so that it costs what is counted, whatever the study's size."""
    return sa.select(value).where(SLOTS.c.study_id == STUDIES.c.id, _IS_TRIAL, *where)


_LAST = _slots(SLOTS.c.number).order_by(SLOTS.c.number.desc()).limit(1).scalar_subquery()
"""The last number; not by max(), for which MariaDB would read all."""
_HOW_FAR = sa.select(
    *(STUDIES.c[name] for name in ("id", "name", "created", "budget", "first_claim")),
    *(STUDIES.c[name] for name in ("wall_seconds", "trainer_seconds", "trial_seconds")),
    sa.func.coalesce(_LAST + 1, 0).label("made"),
    _slots(sa.func.count(), SLOTS.c.state == "open").scalar_subquery().label("opened"),
    _slots(sa.func.count(), SLOTS.c.state == "claimed").scalar_subquery().label("claimed"),
)
"""Studies, with how many slots of their budgets have been made, are open again or claimed; the others are used up."""


def create_study(
    db: Database,
    name: str,
    spec: dict[str, Any],
    facts: dict[str, Any],
    environment: dict[str, Any],
    budget: int,
    *,
    dataset: str | None = None,
    limits: Limits = NO_LIMITS,
) -> int:
    """Store a study with a budget of so many trials, and return its id, which is its Optuna study's too.

    `dataset` is the hash of a stored data set. Raises StudyError where the name is taken, the budget is below 1 or a
    limit is not positive; the data set is then deleted again where no study uses it.
    """
    row = {"name": name, "spec": spec, "facts": facts, "environment": environment, "budget": budget, "dataset": dataset}
    unanswered = False

    @retried
    def create(db: Database) -> int:
        nonlocal unanswered
        try:
            return _create(db, {**row, **asdict(limits)})
        except StorageAwayError:
            unanswered = True  # it may have been stored all the same
            raise
        except StudyError:
            made = find_study(db, name) if unanswered else None
            if made is None or not _is_as(made, row):
                raise
            return made.id

    with _dropped_if_refused(db, dataset):
        _check_budget(budget, 1)
        check_limits(limits)
        return create(db)


def _create(db: Database, row: Mapping[str, Any]) -> int:
    from hpo_storage.optuna import create_study as create_optuna_study

    with db.begin_write() as connection:
        _check_dataset(connection, row["dataset"])
        study_id = create_optuna_study(connection, row["name"])
        _delete_rows(connection, study_id)  # of a study that was deleted among Optuna's alone
        connection.execute(STUDIES.insert().values(id=study_id, created=now(connection), **row))
    return study_id


def _is_as(study: StudyHeader, row: Mapping[str, Any]) -> bool:
    """Whether a stored study is the one of these values, as JSON keeps them."""
    return all(json.loads(json.dumps(value)) == getattr(study, name) for name, value in row.items())


@retried
def find_study(db: Database, name: str) -> StudyHeader | None:
    """The study of that name, None where there is none."""
    with db.begin_read() as connection:
        row = connection.execute(sa.select(STUDIES).where(STUDIES.c.name == name)).first()
    return None if row is None else StudyHeader(**_header(row))


@retried
def extend_study(db: Database, study_id: int, budget: int) -> None:
    """Raise the budget; StudyError where that would lower it."""
    with db.begin_write() as connection:
        query = sa.select(STUDIES.c.budget).where(STUDIES.c.id == study_id).with_for_update()
        old = connection.execute(query).scalar_one()
        _check_budget(budget, old)
        connection.execute(STUDIES.update().where(STUDIES.c.id == study_id).values(budget=budget))


@retried
def set_limits(db: Database, study_id: int, limits: Limits) -> None:
    """Replace the study's limits, also of one that has reached them; StudyError where one is not positive."""
    check_limits(limits)
    with db.begin_write() as connection:
        connection.execute(STUDIES.update().where(STUDIES.c.id == study_id).values(**asdict(limits)))


@retried
def progress(db: Database, study_id: int) -> StudyProgress:
    """How far the study is; StudyNotFoundError where it has been deleted. Who asks often had better `look`."""
    with db.begin_read() as connection:
        return _progress(connection, study_id, begun(connection, study_id))


@retried
def look(
    db: Database, study_id: int, position: Position | None, *, known: Container[int] = (), curves: bool = False
) -> Look:
    """How far the study is, and which trials have ended since the position, but for those of numbers that are `known`.

    Without a position it begins, with the results that a search looks at (`shown_trials`). What a look costs depends on
    what is new. Curves are read where they are wanted. StudyNotFoundError where the study has been deleted.
    """
    with db.begin_read() as connection:
        if position is None:
            new = begun(connection, study_id)
            trials = shown_trials(connection, study_id, curves=curves)
        else:
            new, ended = advanced(connection, study_id, position)
            ids = sorted(trial.id for trial in ended if trial.number not in known)
            trials = trials_by_id(connection, ids, curves=curves) if ids else []
        return Look(progress=_progress(connection, study_id, new), trials=trials, position=new)


@retried
def open_studies(db: Database) -> list[OpenStudy]:
    """Studies that are not finished and have not reached a limit, the oldest first."""
    with db.begin_read() as connection:
        workers = Counter(worker.study_id for worker in living_workers(connection, None, now(connection)))
        return [
            OpenStudy(
                id=study.id,
                name=study.name,
                open=study.budget - _finished(study) - study.claimed,
                claimed=study.claimed,
                workers=workers[study.id],
            )
            for study in connection.execute(_HOW_FAR.order_by(STUDIES.c.id)).all()
            if _finished(study) < study.budget and not reached(connection, study)
        ]


@retried
def list_studies(db: Database) -> list[StudySummary]:
    """All studies, the oldest first."""
    best = (
        sa.select(SLOTS.c.study_id, sa.func.min(TRIALS.c.value))
        .join(TRIALS, TRIALS.c.slot_id == SLOTS.c.id)
        .where(_IS_TRIAL, TRIALS.c.state.in_(RANKED))
        .group_by(SLOTS.c.study_id)
    )
    with db.begin_read() as connection:
        values: dict[int, float] = dict(connection.execute(best).all())
        running = {worker.study_id for worker in living_workers(connection, None, now(connection))}
        return [
            StudySummary(
                id=study.id,
                name=study.name,
                created=study.created,
                budget=study.budget,
                finished=_finished(study),
                running=study.id in running,
                best_value=values.get(study.id),
                limit_reached=_limit_reached(connection, study),
            )
            for study in connection.execute(_HOW_FAR.order_by(STUDIES.c.id)).all()
        ]


@retried
def read_study(db: Database, name: str) -> StudyRecord:
    """The study with all its trials, by number; StudyNotFoundError lists the names there are."""
    with db.begin_read() as connection:
        study = _named(connection, name)
        return StudyRecord(**_standing(connection, study), trials=tuple(trials_of(connection, study.id)))


@retried
def read_overview(db: Database, name: str) -> StudyOverview:
    """How the study stands, without its trials; StudyNotFoundError lists the names there are."""
    with db.begin_read() as connection:
        study = _named(connection, name)
        position = begun(connection, study.id)
        found = _progress(connection, study.id, position)
        return StudyOverview(
            **_standing(connection, study),
            counts={**dict.fromkeys(RESULTS, 0), **position.results, TrialState.FAILED: found.failed},
            best=best_trial(connection, study.id),
            failures=failures(connection, study.id),
            claimed=tuple(sorted(position.running.values())),
            begun=position.last >= 0,
            seconds=position.seconds,
        )


@retried
def trainer_seconds(db: Database, study_id: int) -> float:
    """What all replicates of the study have taken in trainers."""
    seconds = sa.select(sa.func.sum(REPLICATES.c.seconds)).join(TRIALS, REPLICATES.c.trial_id == TRIALS.c.id)
    seconds = seconds.join(SLOTS, TRIALS.c.slot_id == SLOTS.c.id).where(SLOTS.c.study_id == study_id, _IS_TRIAL)
    with db.begin_read() as connection:
        return float(connection.scalar(seconds) or 0.0)


@retried
def delete_study(db: Database, study_id: int) -> None:
    """Delete the study, of our tables and of Optuna's, and its data set where no other study uses it.

    StudyRunningError where a worker of it is alive.
    """
    from hpo_storage.optuna import delete_study as delete_optuna_study

    with db.begin_write() as connection:
        check_not_running(connection, study_id, now(connection))
        _delete_rows(connection, study_id)
        delete_optuna_study(connection, study_id)


def _delete_rows(connection: sa.Connection, study_id: int) -> None:
    """Delete a study of our tables, if it is there, and its data set where no other one uses it."""
    slots = sa.select(SLOTS.c.id).where(SLOTS.c.study_id == study_id)
    trials = sa.select(TRIALS.c.id).where(TRIALS.c.slot_id.in_(slots))
    study = connection.execute(sa.select(STUDIES.c.dataset).where(STUDIES.c.id == study_id)).first()
    if study is None:
        return
    for table in (PREDICTIONS, REPLICATES):
        connection.execute(table.delete().where(table.c.trial_id.in_(trials)))
    connection.execute(TRIALS.delete().where(TRIALS.c.slot_id.in_(slots)))
    connection.execute(SLOTS.delete().where(SLOTS.c.study_id == study_id))
    _forget_workers(connection, study_id)
    connection.execute(STUDIES.delete().where(STUDIES.c.id == study_id))
    _drop_dataset(connection, study.dataset)


@contextmanager
def _dropped_if_refused(db: Database, dataset: str | None) -> Iterator[None]:
    """Delete the data set again where the study that it was stored for is refused, and no other one uses it."""
    try:
        yield
    except StudyError:
        with db.begin_write() as connection:
            _drop_dataset(connection, dataset)
        raise


def _forget_workers(connection: sa.Connection, study_id: int) -> None:
    """Delete the study's workers, except those that may come back or have worked on other studies too."""
    ours = WORKERS.c.study_id == study_id
    elsewhere = sa.exists().where(TRIALS.c.worker_id == WORKERS.c.id)
    connection.execute(WORKERS.delete().where(ours, WORKERS.c.stopped.is_not(None), ~elsewhere))
    connection.execute(WORKERS.update().where(ours).values(study_id=None))


def _drop_dataset(connection: sa.Connection, dataset: str | None) -> None:
    """Delete the data set where no study uses it."""
    if dataset is None:
        return
    # Locked first: whoever makes a study with it now holds it, and is waited for.
    connection.execute(sa.select(DATASETS.c.sha256).where(DATASETS.c.sha256 == dataset).with_for_update())
    if connection.scalar(sa.select(STUDIES.c.id).where(STUDIES.c.dataset == dataset).limit(1)):
        return
    connection.execute(DATASET_CHUNKS.delete().where(DATASET_CHUNKS.c.sha256 == dataset))
    connection.execute(DATASETS.delete().where(DATASETS.c.sha256 == dataset))


def _check_dataset(connection: sa.Connection, dataset: str | None) -> None:
    """Hold the data set until the study that uses it is stored."""
    query = sa.select(DATASETS.c.sha256).where(DATASETS.c.sha256 == dataset)
    if dataset is not None and connection.scalar(query.with_for_update()) is None:
        raise StorageError(
            f"a study's data set must be stored before it, got {dataset[:12]}, which was deleted meanwhile; try again",
            setting="data",
        )


def _check_budget(budget: int, least: int) -> None:
    if budget < least:
        raise StudyError(
            f"a study's trials must be at least {least}, as a budget can grow but not shrink, got {budget}; "
            f"use {use('trials', least)} or more",
            setting="trials",
        )


def _header(study: sa.Row[Any]) -> dict[str, Any]:
    names = ("id", "name", "spec", "facts", "environment", "created", "budget", "dataset")
    return {**{name: study._mapping[name] for name in names}, "limits": limits_of(study)}


def _standing(connection: sa.Connection, study: sa.Row[Any]) -> dict[str, Any]:
    """What a record and an overview have in common."""
    how_far = connection.execute(_HOW_FAR.where(STUDIES.c.id == study.id)).one()
    return {
        **_header(study),
        "finished": _finished(how_far),
        "running": bool(living_workers(connection, study.id, now(connection))),
        "limit_reached": _limit_reached(connection, how_far),
    }


def _progress(connection: sa.Connection, study_id: int, position: Position) -> StudyProgress:
    """How far the study is by the results up to the position, which is of this transaction."""
    study = connection.execute(_HOW_FAR.where(STUDIES.c.id == study_id)).first()
    if study is None:
        raise StudyNotFoundError("a study must be there to be followed, and it has been deleted; make a new one")
    finished, results = _finished(study), position.results
    return StudyProgress(
        budget=study.budget,
        open=study.budget - finished - study.claimed,
        claimed=study.claimed,
        complete=results.get(TrialState.COMPLETE, 0),
        raced_out=results.get(TrialState.RACED_OUT, 0),
        pruned=results.get(TrialState.PRUNED, 0),
        failed=finished - sum(results.values()),
        limit_reached=_limit_reached(connection, study, position),
        limits=limits_of(study),
    )


def _finished(study: Row) -> int:
    """Slots that are used up: those that have been made, but for the open and the claimed ones."""
    return int(study.made - study.opened - study.claimed)


def _limit_reached(connection: sa.Connection, study: Row, position: Position | None = None) -> Limit | None:
    """None where the study has none, or is finished."""
    return reached(connection, study, position) if _finished(study) < study.budget else None


def _named(connection: sa.Connection, name: str) -> sa.Row[Any]:
    study = connection.execute(sa.select(STUDIES).where(STUDIES.c.name == name)).first()
    if study is None:
        raise StudyNotFoundError(_not_found(connection, name))
    return study


def _not_found(connection: sa.Connection, name: str) -> str:
    names = connection.scalars(sa.select(STUDIES.c.name).order_by(STUDIES.c.name)).all()
    there = ", ".join(names[:LISTED_NAMES]) + (" and others" if len(names) > LISTED_NAMES else "")
    remedy = f"use one of {there}" if names else f"there is none in this database yet; {do('run')} makes one"
    return f"a study must be there to be read, got {name!r}; {remedy}"
