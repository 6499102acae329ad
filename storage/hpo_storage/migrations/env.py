"""Run by alembic: migrate on the connection, and in the transaction, of whoever called."""

from alembic import context

from hpo_storage.migrations import VERSION_TABLE
from hpo_storage.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
