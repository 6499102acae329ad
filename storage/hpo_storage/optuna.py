"""Optuna's tables, written in transactions of ours, so that every tool of Optuna's can read a study.

The rows are those that `RDBStorage` writes, but all of a kind in one statement: one call of its own per parameter,
attribute and value, each with a commit, costs ten times as much. `optuna.storages._rdb.models` is not public: Optuna
is pinned to one major version, its schema's revision is checked when tables are made, and a test compares what both
write.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState

from hpo.errors import StorageError, StudyError, use
from hpo_storage.records import Purpose
from hpo_storage.records import TrialState as OurState
from hpo_storage.tables import database_time, new_id
from hpo_storage.urls import shown_url

STATES = {
    OurState.RUNNING: TrialState.RUNNING,
    OurState.COMPLETE: TrialState.COMPLETE,
    OurState.RACED_OUT: TrialState.COMPLETE,  # its samplers would rank a pruned one behind every complete one
    OurState.PRUNED: TrialState.PRUNED,
    OurState.FAILED: TrialState.FAIL,
    OurState.INTERRUPTED: TrialState.FAIL,
}

STUDIES: sa.Table = models.StudyModel.__table__
TRIALS: sa.Table = models.TrialModel.__table__
_DIRECTIONS: sa.Table = models.StudyDirectionModel.__table__
_PARAMS: sa.Table = models.TrialParamModel.__table__
_ATTRIBUTES: sa.Table = models.TrialUserAttributeModel.__table__
_VALUES: sa.Table = models.TrialValueModel.__table__
_INTERMEDIATE: sa.Table = models.TrialIntermediateValueModel.__table__
_FINITE = models.TrialValueModel.TrialValueType.FINITE
_INTERMEDIATE_FINITE = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
_BEGUN = TRIALS.insert().values(datetime_start=database_time())
_ENDED = TRIALS.update().where(TRIALS.c.trial_id == sa.bindparam("ended_id")).values(datetime_complete=database_time())
_OF_A_TRIAL = (
    _PARAMS,
    _ATTRIBUTES,
    _VALUES,
    _INTERMEDIATE,
    models.TrialSystemAttributeModel.__table__,
    models.TrialHeartbeatModel.__table__,
)
_OF_A_STUDY = (
    _DIRECTIONS,
    models.StudyUserAttributeModel.__table__,
    models.StudySystemAttributeModel.__table__,
)


def create_tables(connection: sa.Connection) -> None:
    """Create what is missing of Optuna's tables in the caller's transaction; `RDBStorage(url)` needs several.

    Raises StorageError where they are there already, but of another version of Optuna.
    """
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    models.BaseModel.metadata.create_all(connection)
    version = models.VersionInfoModel.__table__
    if connection.execute(sa.select(version)).first() is None:
        connection.execute(
            version.insert().values(
                version_info_id=1, schema_version=models.SCHEMA_VERSION, library_version=optuna.__version__
            )
        )
    script = ScriptDirectory(Path(models.__file__).parent / "alembic")
    context = MigrationContext.configure(connection)
    head, revision = script.get_current_head(), context.get_current_revision()
    if revision is None:
        context.stamp(script, "head")
    elif revision != head:
        raise StorageError(
            f"Optuna's tables must have schema {head}, got {revision} in {shown_url(connection.engine.url)}; "
            f"run `optuna storage upgrade --storage URL`, or use another database"
        )


def create_study(connection: sa.Connection, name: str) -> int:
    """Return the id of a new study that minimizes; StudyError where the name is taken."""
    try:
        study_id = new_id(connection, STUDIES.insert(), {"study_name": name})
    except sa.exc.IntegrityError:
        raise StudyError(
            f"a new study needs a name of its own, got {name!r}, which this database has already; "
            f"choose another {use('study')}",
            setting="study",
        ) from None
    if connection.dialect.name == "sqlite":  # which gives an id again: somebody may have left rows of its last study
        _delete_parts(connection, study_id)
    connection.execute(_DIRECTIONS.insert().values(study_id=study_id, objective=0, direction=StudyDirection.MINIMIZE))
    return study_id


def delete_study(connection: sa.Connection, study_id: int) -> None:
    """Delete the study and its trials."""
    _delete_parts(connection, study_id)
    connection.execute(STUDIES.delete().where(STUDIES.c.study_id == study_id))


def _delete_parts(connection: sa.Connection, study_id: int) -> None:
    trials = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
    for table in _OF_A_TRIAL:
        connection.execute(table.delete().where(table.c.trial_id.in_(trials)))
    for table in (TRIALS, *_OF_A_STUDY):
        connection.execute(table.delete().where(table.c.study_id == study_id))


def start_trial(
    connection: sa.Connection,
    study_id: int,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    attributes: Mapping[str, Any],
) -> tuple[int, int]:
    """Return id and number of a new running trial that has all its parameters.

    The caller holds a lock on the study, so that its trials are numbered without gaps. Raises ValueError where a
    parameter is outside its distribution.
    """
    internal = {name: _internal(name, value, distributions[name]) for name, value in params.items()}
    last = connection.scalar(
        sa.select(TRIALS.c.number).where(TRIALS.c.study_id == study_id).order_by(TRIALS.c.trial_id.desc()).limit(1)
    )
    number = 0 if last is None else last + 1
    trial = {"number": number, "study_id": study_id, "state": TrialState.RUNNING}
    trial_id = new_id(connection, _BEGUN, trial)
    rows = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": value,
            "distribution_json": _distribution_json(distributions[name]),
        }
        for name, value in internal.items()
    ]
    if rows:
        connection.execute(_PARAMS.insert(), rows)
    _set_attributes(connection, trial_id, attributes)
    return trial_id, number


def finish_trial(
    connection: sa.Connection,
    trial_id: int,
    state: OurState,
    *,
    purpose: Purpose = Purpose.TRIAL,
    value: float | None = None,
    attributes: Mapping[str, Any] | None = None,
    intermediate: Mapping[int, float] | None = None,
) -> None:
    """Write attributes and one intermediate value, a loss, per replicate, then end the trial."""
    state_there, value = shown(purpose, state, value)
    _set_attributes(connection, trial_id, attributes or {})
    rows = [
        {
            "trial_id": trial_id,
            "step": step,
            "intermediate_value": loss,
            "intermediate_value_type": _INTERMEDIATE_FINITE,
        }
        for step, loss in (intermediate or {}).items()
    ]
    if rows:
        connection.execute(_INTERMEDIATE.insert(), rows)
    if value is not None:
        row = {"trial_id": trial_id, "objective": 0, "value": value, "value_type": _FINITE}
        connection.execute(_VALUES.insert(), row)
    connection.execute(_ENDED, {"ended_id": trial_id, "state": state_there})


def shown(purpose: Purpose, state: OurState, value: float | None) -> tuple[TrialState, float | None]:
    """State and value of a trial in Optuna's tables.

    What is no trial of the budget ends there as FAIL, without a value: so no tool of Optuna's ranks it or learns from
    it.
    """
    if purpose is Purpose.TRIAL or state is OurState.RUNNING:
        return STATES[state], value
    return TrialState.FAIL, None


def _set_attributes(connection: sa.Connection, trial_id: int, attributes: Mapping[str, Any]) -> None:
    rows = [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]
    if rows:
        connection.execute(_ATTRIBUTES.insert(), rows)


def _internal(name: str, value: Any, distribution: BaseDistribution) -> float:  # noqa: ANN401 - of any distribution
    internal = float(distribution.to_internal_repr(value))
    if not distribution._contains(internal):
        raise ValueError(f"a proposal must be within its search space, got {name} = {value!r}, not in {distribution}")
    return internal


@lru_cache(maxsize=256)
def _distribution_json(distribution: BaseDistribution) -> str:
    return str(distribution_to_json(distribution))


def trial_values(connection: sa.Connection, study_id: int) -> dict[int, tuple[int, TrialState, float | None]]:
    """Number, state and value of the study's trials, by id."""
    rows = connection.execute(
        sa.select(TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state, _VALUES.c.value)
        .join(_VALUES, TRIALS.c.trial_id == _VALUES.c.trial_id, isouter=True)
        .where(TRIALS.c.study_id == study_id)
    )
    return {trial_id: (number, state, value) for trial_id, number, state, value in rows}
