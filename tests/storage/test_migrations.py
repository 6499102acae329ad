"""The migrations give the tables of `storage.tables`, in one transaction."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.schema import CreateTable

import storage.migrations
from storage import database
from storage.database import Database, connect, upgrade
from storage.migrations import HEAD, VERSION_TABLE
from storage.tables import METADATA


def test_head_is_alembics():
    script = ScriptDirectory(str(Path(storage.migrations.__file__).parent))
    assert script.get_heads() == [HEAD]


def test_migrated_tables_are_the_declared_ones(db: Database):
    def ours(name: str | None, kind: str, parents: dict) -> bool:
        return kind != "table" or str(name).startswith("hpo_")

    with db.begin_read() as connection:
        options = {"compare_type": True, "include_name": ours, "version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []


def test_an_upgrade_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: object) -> None:
        migrate(*args)
        raise RuntimeError("power cut")

    migrate = database._migrate
    db = connect(f"sqlite:///{path}")
    with monkeypatch.context() as patch:
        patch.setattr(database, "_migrate", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            upgrade(db)
    assert sa.inspect(db.engine).get_table_names() == []
    upgrade(db)
    assert VERSION_TABLE in sa.inspect(db.engine).get_table_names()
    db.close()


@pytest.mark.parametrize("dialect", [postgresql.dialect(), mysql.dialect()])
def test_tables_can_be_created_on_other_databases(dialect: sa.Dialect):
    statements = [str(CreateTable(table).compile(dialect=dialect)) for table in METADATA.sorted_tables]
    assert len(statements) == 5
    if dialect.name == "mysql":
        assert "DATETIME(6)" in statements[0]
        assert "BLOB(16777215)" in "".join(statements)
