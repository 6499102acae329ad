"""Optuna's tables, written in transactions of ours. Nothing else in the project touches `RDBStorage`.

Every public call of `RDBStorage` commits by itself, through `self.scoped_session`. Here its sessions join a
connection of ours with `join_transaction_mode="rollback_only"`: their commits do nothing, their rollbacks
undo our transaction. That attribute, `_get_trials` and `optuna.storages._rdb.models` are not public: Optuna
is pinned to one major version, and a contract test holds what is used of them.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import orm

from hpo.errors import StorageError, StudyError
from storage.records import TrialState as StateName

if TYPE_CHECKING:
    from storage.database import Database

STATES: dict[StateName, TrialState] = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


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
            f"Optuna's tables must have schema {head}, got {revision} in {connection.engine.url!r}; "
            f"run `optuna storage upgrade --storage URL`, or use another database"
        )


class OptunaTables:
    """One raw `RDBStorage` per thread, writing through connections of ours."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._local = threading.local()

    def join(self, connection: sa.Connection) -> RDBStorage:
        """Return this thread's storage, all of whose calls now belong to the connection's transaction.

        After an error in one of its calls that transaction can only be rolled back.
        """
        if not hasattr(self._local, "storage"):
            self._local.storage = self._open()
        storage: RDBStorage = self._local.storage
        storage.scoped_session = orm.scoped_session(
            orm.sessionmaker(bind=connection, join_transaction_mode="rollback_only")
        )
        return storage

    def _open(self) -> RDBStorage:
        """Its constructor wants a database to create tables in and to check: it gets one in memory, and so
        never learns our URL with its password, and never connects from within a transaction of ours.
        """
        storage = RDBStorage("sqlite://", skip_compatibility_check=True)
        storage.engine.dispose()
        storage.engine = self._engine  # asked for its dialect only
        return storage

    def create_study(self, connection: sa.Connection, name: str) -> int:
        """Return the id of a new study that minimizes; StudyError where the name is taken."""
        with _quiet():
            try:
                return self.join(connection).create_new_study([StudyDirection.MINIMIZE], name)
            except optuna.exceptions.DuplicatedStudyError:
                raise StudyError(
                    f"a new study needs a name of its own, got {name!r}, which this database has already; "
                    f"choose another with --study"
                ) from None

    def delete_study(self, connection: sa.Connection, study_id: int) -> None:
        """Delete the study and its trials."""
        self.join(connection).delete_study(study_id)

    def start_trial(
        self,
        connection: sa.Connection,
        study_id: int,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        attributes: Mapping[str, Any],
    ) -> tuple[int, int]:
        """Return id and number of a new running trial that has all its parameters.

        Raises ValueError where these are not the ones of `distributions`, or outside of them.
        """
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=dict(attributes),
        )
        trial_id = self.join(connection).create_new_trial(study_id, template)
        trials = models.TrialModel.__table__
        query = sa.select(trials.c.number).where(trials.c.trial_id == trial_id)
        return trial_id, int(connection.execute(query).scalar_one())

    def finish_trial(
        self,
        connection: sa.Connection,
        trial_id: int,
        state: StateName,
        *,
        value: float | None = None,
        attributes: Mapping[str, Any] | None = None,
        intermediate: Mapping[int, float] | None = None,
    ) -> None:
        """Write attributes and one intermediate value (nats) per replicate, then end the trial."""
        storage = self.join(connection)
        for key, attribute in (attributes or {}).items():
            storage.set_trial_user_attr(trial_id, key, attribute)
        for step, loss in (intermediate or {}).items():
            storage.set_trial_intermediate_value(trial_id, step, loss)
        storage.set_trial_state_values(trial_id, STATES[state], None if value is None else [value])

    def read_trials(self, connection: sa.Connection, study_id: int, after: int) -> list[FrozenTrial]:
        """Trials whose id is above `after`, by id, read as Optuna's own cached storage does."""
        return self.join(connection)._get_trials(study_id, None, set(), after)


def read_trials(db: "Database", study_id: int, after: int = -1) -> list[FrozenTrial]:
    """Trials of every state whose id is above `after`, by id, with Optuna's parameters and values.

    To follow a study, read again after `settled(trials, after)`.
    """
    with db.begin_read() as connection:
        return db.optuna.read_trials(connection, study_id, after)


def settled(trials: Sequence[FrozenTrial], after: int = -1) -> int:
    """The id up to which the study is finished, given what `read_trials(db, study_id, after)` returned."""
    for trial in trials:
        if not trial.state.is_finished():
            return after
        after = trial._trial_id
    return after


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's log to warnings meanwhile."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
