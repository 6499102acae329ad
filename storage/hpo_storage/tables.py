"""Our tables, beside Optuna's: data sets, studies, slots, the attempts at them, replicates, predictions, workers.

Column types are portable (SQLite, PostgreSQL, MySQL, MariaDB): explicit lengths, microseconds, no defaults.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from hpo_storage.records import Purpose, TrialState

TOKEN_LENGTH = 32
NAME_LENGTH = 100
HOST_LENGTH = 255
PROCESS_LENGTH = 100
STATE_LENGTH = 20
CURVE_BYTES = 2**24 - 1
"""Four bytes an epoch; MySQL picks the column's size from it."""
HASH_LENGTH = 64
ROLE_LENGTH = 10
PURPOSE_LENGTH = 20
BACKEND_LENGTH = 20
DEVICE_LENGTH = 100
CHUNK_BYTES = 2**20
"""What is large is stored in pieces of at most so much, which every server accepts in one statement."""


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, stored without its zone, to the microsecond."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """MySQL and MariaDB would drop fractions of a second."""
        micro = mysql.DATETIME(fsp=6) if dialect.name in ("mysql", "mariadb") else sa.DateTime()
        return dialect.type_descriptor(micro)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To naive UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To aware UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class database_time(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock, as `UtcTime`; leases and heartbeats know no other."""

    type = UtcTime()
    inherit_cache = True


@compiles(database_time, "sqlite")
def _sqlite_time(element: database_time, compiler: SQLCompiler, **kw: object) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(database_time, "postgresql")
def _postgresql_time(element: database_time, compiler: SQLCompiler, **kw: object) -> str:
    return "timezone('utc', clock_timestamp())"


@compiles(database_time, "mysql", "mariadb")
def _mysql_time(element: database_time, compiler: SQLCompiler, **kw: object) -> str:
    return "utc_timestamp(6)"


def _named(values: type[StrEnum], length: int) -> sa.Enum:
    """One of the values, stored as its text; anything else is refused."""
    return sa.Enum(
        values,
        native_enum=False,
        create_constraint=False,
        validate_strings=True,
        length=length,
        values_callable=lambda members: [member.value for member in members],
    )


METADATA = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
_JSON = sa.JSON(none_as_null=True)

DATASETS = sa.Table(
    "hpo_datasets",
    METADATA,
    sa.Column("sha256", sa.String(HASH_LENGTH), primary_key=True, comment="of the file"),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
)

DATASET_CHUNKS = sa.Table(
    "hpo_dataset_chunks",
    METADATA,
    sa.Column("sha256", sa.String(HASH_LENGTH), sa.ForeignKey(DATASETS.c.sha256), primary_key=True),
    sa.Column("chunk", sa.Integer, primary_key=True, autoincrement=False, comment="from 0"),
    sa.Column("content", sa.LargeBinary(CURVE_BYTES), nullable=False),
)

STUDIES = sa.Table(
    "hpo_studies",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, comment="the Optuna study's id"),
    sa.Column("name", sa.String(NAME_LENGTH), nullable=False, unique=True),
    sa.Column("spec", _JSON, nullable=False),
    sa.Column("facts", _JSON, nullable=False),
    sa.Column("environment", _JSON, nullable=False),
    sa.Column("budget", sa.Integer, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("dataset", sa.String(HASH_LENGTH), sa.ForeignKey(DATASETS.c.sha256), comment="null: read its source"),
    sa.Column("first_claim", UtcTime, comment="when its wall time began"),
    sa.Column("wall_seconds", sa.Double, comment="limit"),
    sa.Column("trainer_seconds", sa.Double, comment="limit"),
    sa.Column("trial_seconds", sa.Double, comment="limit of one attempt"),
)

WORKERS = sa.Table(
    "hpo_workers",
    METADATA,
    sa.Column("id", sa.String(TOKEN_LENGTH), primary_key=True),
    sa.Column("study_id", sa.Integer, sa.ForeignKey(STUDIES.c.id), index=True, comment="what it works on now"),
    sa.Column("role", sa.String(ROLE_LENGTH), nullable=False),
    sa.Column("host", sa.String(HOST_LENGTH), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process_start", sa.String(PROCESS_LENGTH), comment="tells a process from a later one of its pid"),
    sa.Column("started", UtcTime, nullable=False),
    sa.Column("last_seen", UtcTime, nullable=False),
    sa.Column("stopped", UtcTime),  # of one that was asked to stop: when it will have ended
    sa.Column("lease_seconds", sa.Double, nullable=False, comment="silent for longer, it is taken for dead"),
    sa.Column("device", sa.String(DEVICE_LENGTH), nullable=False),
    sa.Column("backend", sa.String(BACKEND_LENGTH), nullable=False),
    sa.Column("trainers", sa.Integer, nullable=False),
    sa.Column("note", sa.Text, comment="why it does not work, as it last said"),
)

SLOTS = sa.Table(
    "hpo_slots",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.Integer, sa.ForeignKey(STUDIES.c.id), nullable=False),
    sa.Column("purpose", _named(Purpose, PURPOSE_LENGTH), nullable=False),
    sa.Column("number", sa.Integer, nullable=False, comment="from 0, to budget - 1 where its purpose is trial"),
    sa.Column("state", sa.String(STATE_LENGTH), nullable=False, comment="open, claimed, or as its trial has ended"),
    sa.Column("params", _JSON, comment="of the first attempt; every later one has the same"),
    sa.Column("attempts", sa.Integer, nullable=False, comment="begun so far"),
    sa.Column("failures", sa.Integer, nullable=False, comment="attempts whose failure counts"),
    sa.Column("token", sa.String(TOKEN_LENGTH), unique=True, comment="of the attempt that may finish the slot"),
    sa.Column("trial_id", sa.Integer, comment="the latest attempt's Optuna trial"),
    sa.Column("worker_id", sa.String(TOKEN_LENGTH), sa.ForeignKey(WORKERS.c.id), index=True),
    sa.Column("lease_until", UtcTime),
    sa.Column("started", UtcTime, comment="of the attempt that runs"),
    sa.Column("seconds", sa.Double, nullable=False, comment="that its ended attempts have taken"),
    sa.UniqueConstraint("study_id", "purpose", "number"),
    sa.Index(None, "study_id", "purpose", "state", "number"),
)

TRIALS = sa.Table(
    "hpo_trials",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, comment="the Optuna trial's id"),
    sa.Column("slot_id", sa.Integer, sa.ForeignKey(SLOTS.c.id), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, comment="from 1"),
    sa.Column("number", sa.Integer, nullable=False, comment="the Optuna trial's number"),
    sa.Column("state", _named(TrialState, STATE_LENGTH), nullable=False),
    sa.Column("value", sa.Double, comment="the study's loss"),
    sa.Column("standard_error", sa.Double, comment="the study's loss, over replicates"),
    sa.Column("reason", sa.Text),
    sa.Column("info", _JSON, nullable=False),
    sa.Column("worker_id", sa.String(TOKEN_LENGTH), sa.ForeignKey(WORKERS.c.id), nullable=False, index=True),
    sa.Column("trainer", sa.Integer, nullable=False),
    sa.Column("started", UtcTime, nullable=False),
    sa.Column("finished", UtcTime),
    sa.UniqueConstraint("slot_id", "attempt"),
)

REPLICATES = sa.Table(
    "hpo_replicates",
    METADATA,
    sa.Column("trial_id", sa.Integer, sa.ForeignKey(TRIALS.c.id), primary_key=True, autoincrement=False),
    sa.Column("replicate", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("stop_loss", sa.Double, nullable=False, comment="the study's loss"),
    sa.Column("score_loss", sa.Double, comment="the study's loss; null where training was cut short"),
    sa.Column("best_epoch", sa.Integer, nullable=False, comment="from 0"),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("curve", sa.LargeBinary(CURVE_BYTES), nullable=False, comment="stop losses, little-endian float32"),
)

PREDICTIONS = sa.Table(
    "hpo_predictions",
    METADATA,
    sa.Column("trial_id", sa.Integer, sa.ForeignKey(TRIALS.c.id), primary_key=True, autoincrement=False),
    sa.Column("replicate", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("chunk", sa.Integer, primary_key=True, autoincrement=False, comment="from 0"),
    sa.Column("content", sa.LargeBinary(CURVE_BYTES), nullable=False, comment="little-endian float32, rows by outputs"),
)


def in_chunks(content: bytes) -> list[bytes]:
    """The pieces in which it is stored; nothing is one empty piece."""
    return [content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)] or [b""]


def new_id(connection: sa.Connection, insert: sa.Insert, row: dict[str, object]) -> int:
    """Insert one row; return the key that the database gave it."""
    key: Any = connection.execute(insert, row).inserted_primary_key
    return int(key[0])
