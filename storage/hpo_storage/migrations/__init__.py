"""Alembic's scripts. `hpo_storage.database.upgrade` runs them; there is no alembic.ini."""

HEAD = "0004"
"""The newest revision."""
VERSION_TABLE = "hpo_alembic_version"
"""Beside Optuna's `alembic_version`."""
