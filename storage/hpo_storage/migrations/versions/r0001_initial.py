"""Studies, workers, slots, trials and replicates.

Revision 0001, the first.
"""

import sqlalchemy as sa
from alembic import op
from hpo_storage.tables import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    _studies_and_workers()
    _slots()
    _trials_and_replicates()


def downgrade() -> None:
    for table in ("hpo_replicates", "hpo_trials", "hpo_slots", "hpo_workers", "hpo_studies"):
        op.drop_table(table)


def _studies_and_workers() -> None:
    op.create_table(
        "hpo_studies",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False, comment="the Optuna study's id"),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("environment", sa.JSON, nullable=False),
        sa.Column("budget", sa.Integer, nullable=False),
        sa.Column("created", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "hpo_workers",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("hpo_studies.id"), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process_start", sa.String(100), comment="tells a process from a later one of its pid"),
        sa.Column("started", UtcTime, nullable=False),
        sa.Column("last_seen", UtcTime, nullable=False),
        sa.Column("stopped", UtcTime),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_hpo_workers_study_id"), "hpo_workers", ["study_id"])


def _slots() -> None:
    op.create_table(
        "hpo_slots",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("hpo_studies.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False, comment="0 to budget - 1"),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("params", sa.JSON, comment="of the first attempt; every later one has the same"),
        sa.Column("attempts", sa.Integer, nullable=False, comment="begun so far"),
        sa.Column("failures", sa.Integer, nullable=False, comment="attempts whose failure counts"),
        sa.Column("token", sa.String(32), comment="of the attempt that may finish the slot"),
        sa.Column("trial_id", sa.Integer, comment="the latest attempt's Optuna trial"),
        sa.Column("worker_id", sa.String(32), sa.ForeignKey("hpo_workers.id")),
        sa.Column("lease_until", UtcTime),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("study_id", "number"),
        sa.UniqueConstraint("token"),
    )
    op.create_index(op.f("ix_hpo_slots_study_id_state_number"), "hpo_slots", ["study_id", "state", "number"])


def _trials_and_replicates() -> None:
    op.create_table(
        "hpo_trials",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False, comment="the Optuna trial's id"),
        sa.Column("slot_id", sa.Integer, sa.ForeignKey("hpo_slots.id"), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, comment="from 1"),
        sa.Column("number", sa.Integer, nullable=False, comment="the Optuna trial's number"),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("value", sa.Double, comment="nats"),
        sa.Column("standard_error", sa.Double, comment="nats, over replicates"),
        sa.Column("raced_out", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("info", sa.JSON, nullable=False),
        sa.Column("worker_id", sa.String(32), sa.ForeignKey("hpo_workers.id"), nullable=False),
        sa.Column("trainer", sa.Integer, nullable=False),
        sa.Column("started", UtcTime, nullable=False),
        sa.Column("finished", UtcTime),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slot_id", "attempt"),
    )
    op.create_table(
        "hpo_replicates",
        sa.Column("trial_id", sa.Integer, sa.ForeignKey("hpo_trials.id"), autoincrement=False, nullable=False),
        sa.Column("replicate", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("stop_loss", sa.Double, nullable=False, comment="nats"),
        sa.Column("score_loss", sa.Double, comment="nats; null where training was cut short"),
        sa.Column("best_epoch", sa.Integer, nullable=False, comment="from 0"),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("curve", sa.LargeBinary(2**24 - 1), nullable=False, comment="stop losses, little-endian float32"),
        sa.PrimaryKeyConstraint("trial_id", "replicate"),
    )
