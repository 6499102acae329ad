"""Workers say why they do not work, and their trials are found by an index.

Revision 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("hpo_workers") as table:
        table.add_column(sa.Column("note", sa.Text, comment="why it does not work, as it last said"))
    op.create_index(op.f("ix_hpo_trials_worker_id"), "hpo_trials", ["worker_id"])


def downgrade() -> None:
    raise NotImplementedError("what workers said would be lost; restore a copy of the database instead")
