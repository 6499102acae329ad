"""Stored data sets, out-of-bag predictions, limits, and workers that serve any study.

Revision 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op
from hpo_storage.tables import UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _datasets_and_predictions()
    _studies()
    _workers()
    _slots()


def downgrade() -> None:
    raise NotImplementedError("workers of no study would be lost; restore a copy of the database instead")


def _datasets_and_predictions() -> None:
    op.create_table(
        "hpo_datasets",
        sa.Column("sha256", sa.String(64), nullable=False, comment="of the file"),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("created", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "hpo_dataset_chunks",
        sa.Column("sha256", sa.String(64), sa.ForeignKey("hpo_datasets.sha256"), nullable=False),
        sa.Column("chunk", sa.Integer, autoincrement=False, nullable=False, comment="from 0"),
        sa.Column("content", sa.LargeBinary(2**24 - 1), nullable=False),
        sa.PrimaryKeyConstraint("sha256", "chunk"),
    )
    op.create_table(
        "hpo_predictions",
        sa.Column("trial_id", sa.Integer, sa.ForeignKey("hpo_trials.id"), autoincrement=False, nullable=False),
        sa.Column("replicate", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("chunk", sa.Integer, autoincrement=False, nullable=False, comment="from 0"),
        sa.Column(
            "content", sa.LargeBinary(2**24 - 1), nullable=False, comment="little-endian float32, rows by outputs"
        ),
        sa.PrimaryKeyConstraint("trial_id", "replicate", "chunk"),
    )


def _studies() -> None:
    with op.batch_alter_table("hpo_studies") as table:
        table.add_column(sa.Column("dataset", sa.String(64), comment="null: read its source"))
        table.add_column(sa.Column("first_claim", UtcTime, comment="when its wall time began"))
        table.add_column(sa.Column("wall_seconds", sa.Double, comment="limit"))
        table.add_column(sa.Column("trainer_seconds", sa.Double, comment="limit"))
        table.add_column(sa.Column("trial_seconds", sa.Double, comment="limit of one attempt"))
        table.create_foreign_key(op.f("fk_hpo_studies_dataset"), "hpo_datasets", ["dataset"], ["sha256"])


def _workers() -> None:
    with op.batch_alter_table("hpo_workers") as table:
        table.alter_column("study_id", existing_type=sa.Integer, nullable=True, comment="what it works on now")
        table.add_column(sa.Column("role", sa.String(10), nullable=False, server_default="run"))
        table.add_column(
            sa.Column(
                "lease_seconds",
                sa.Double,
                nullable=False,
                server_default="60",
                comment="silent for longer, it is taken for dead",
            )
        )
        table.add_column(sa.Column("device", sa.String(100), nullable=False, server_default=""))
        table.add_column(sa.Column("backend", sa.String(20), nullable=False, server_default=""))
        table.add_column(sa.Column("trainers", sa.Integer, nullable=False, server_default="1"))


def _slots() -> None:
    with op.batch_alter_table("hpo_slots") as table:
        table.add_column(sa.Column("started", UtcTime, comment="of the attempt that runs"))
        table.add_column(
            sa.Column(
                "seconds",
                sa.Double,
                nullable=False,
                server_default="0",
                comment="that its ended attempts have taken",
            )
        )
    op.create_index(op.f("ix_hpo_slots_worker_id"), "hpo_slots", ["worker_id"])
    _fill_times()


def _fill_times() -> None:
    """What earlier attempts have taken, and when those that run were begun."""
    connection = op.get_bind()
    slots = sa.table("hpo_slots", sa.column("id"), sa.column("started", UtcTime), sa.column("seconds"))
    trials = sa.table("hpo_trials", sa.column("slot_id"), sa.column("started", UtcTime), sa.column("finished", UtcTime))
    for slot_id, started, finished in connection.execute(sa.select(trials)).all():
        values = {"started": started}
        if finished is not None:
            values = {"seconds": slots.c.seconds + (finished - started).total_seconds()}
        connection.execute(slots.update().where(slots.c.id == slot_id).values(values))
