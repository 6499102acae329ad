"""A stored study's life: create, extend, limit, retry and delete it, without training anything."""

from collections.abc import Mapping
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import Any

from hpo_storage import attempts, studies
from hpo_storage.database import Database, prepare
from hpo_storage.datasets import changed, store_dataset
from hpo_storage.records import Limits, StudyHeader

from hpo.data.fingerprint import file_sha256
from hpo.errors import StorageError, StudyError, StudyNotFoundError, use
from hpo.settings import DEFAULT_TRIALS, Work
from hpo.study.resolve import ResolvedStudy


def create(
    database: Database,
    study: ResolvedStudy,
    facts: Mapping[str, Any],
    environment: Mapping[str, Any],
    work: Work,
    *,
    data: Path | None = None,
) -> int:
    """Store a new study with its budget, its limits and a copy of its data, and return its id.

    `facts` are what its objective found when it was prepared; `data` is the file to store, by default the
    objective's. Tables are made where there are none. StudyError where the name is taken.
    """
    prepare(database)
    file = data or study.objective.data_file(study.spec)
    return studies.create_study(
        database,
        study.spec.name,
        study.spec.to_json(),
        dict(facts),
        dict(environment),
        budget(None, work.trials),
        dataset=None if file is None else _stored(database, file, str(facts.get("sha256", "")), work),
        limits=limits(None, work),
    )


def _stored(database: Database, path: Path, sha256: str, work: Work) -> str | None:
    """What the file is stored under; None where it is to stay, or is too large for a database that need not have it.

    DataError where it is no longer what was read; StorageError where it is too large and workers elsewhere could not
    read it.
    """
    if work.store_data:
        try:
            return store_dataset(database, path, sha256 or None)
        except StorageError as error:
            if not database.on_sqlite or error.setting != "data":
                raise  # whoever shares an SQLite file can read the table from its path
    if sha256 and file_sha256(path) != sha256:
        raise changed(path)
    return None


def extend(database: Database, name: str, trials: int) -> None:
    """Raise a study's budget to so many trials; StudyError where that would lower it."""
    stored = _read(database, name)
    studies.extend_study(database, stored.id, budget(stored, trials))


def limit(database: Database, name: str, work: Work) -> None:
    """Change the limits that are given; an infinite one lifts it."""
    stored = _read(database, name)
    studies.set_limits(database, stored.id, limits(stored, work))


def retry(database: Database, name: str, reason: str | None = None) -> int:
    """Give failed trials new attempts, all or those whose reason holds a text; return how many there are."""
    return attempts.reopen(database, _read(database, name).id, reason)


def delete(database: Database, name: str) -> None:
    """Delete a study with all its trials, and its data where no other study uses it.

    StudyRunningError where somebody works on it.
    """
    studies.delete_study(database, _read(database, name).id)


def budget(stored: StudyHeader | None, trials: int | None) -> int:
    """The budget of a study when so many trials are asked for; StudyError where it would shrink."""
    if stored is None:
        return trials or DEFAULT_TRIALS
    if trials is not None and trials < stored.budget:
        raise StudyError(
            f"a study's budget can only grow: {stored.name!r} has {stored.budget} trials, got {trials}; "
            f"use {use('trials', stored.budget)} or more",
            setting="trials",
        )
    return trials or stored.budget


def limits(stored: StudyHeader | None, work: Work) -> Limits:
    """The stored limits with those that are given; an infinite one is none."""
    given = Limits(wall_seconds=work.time_limit, trainer_seconds=work.trainer_seconds, trial_seconds=work.trial_timeout)
    before = stored.limits if stored else Limits()
    values = {field.name: getattr(given, field.name) or getattr(before, field.name) for field in fields(Limits)}
    return Limits(**{name: None if value == inf else value for name, value in values.items()})


def _read(database: Database, name: str) -> StudyHeader:
    """The study; StudyNotFoundError where there is none."""
    stored = studies.find_study(database, name)
    if stored is None:
        raise StudyNotFoundError(
            f"a study must be there to be changed, got {name!r}; correct {use('study')}", setting="study"
        )
    return stored
