"""The commands db upgrade, db current and db check."""

import typer
from hpo_storage.urls import database_url

from hpo.cli.errors import NO_RESULT, CommandLine, complain
from hpo.cli.options import Storage, opened, waiting
from hpo.cli.output import write_text

app = typer.Typer(help="Make, upgrade and check a database.", no_args_is_help=True)


@app.command()
def upgrade(storage: Storage = None) -> int:
    """Make the tables, or bring them up to date. Several processes may do this at once."""
    from hpo_storage.database import connect
    from hpo_storage.database import upgrade as upgrade_tables
    from hpo_storage.migrations import HEAD

    database = connect(database_url(storage), patience=waiting())
    try:
        upgrade_tables(database)
        write_text(f"{database.url} has schema {HEAD}")
    finally:
        database.close()
    return 0


@app.command()
def current(storage: Storage = None) -> int:
    """Show the schema that the tables have; exit 1 where it is not this version's."""
    from hpo_storage.database import connect, schema
    from hpo_storage.migrations import HEAD

    url = database_url(storage)
    database = connect(url, patience=waiting())
    try:
        found = schema(database)
        write_text(f"{database.url} has {'no tables' if found is None else f'schema {found}'}; this hpo has {HEAD}")
    finally:
        database.close()
    if found != HEAD:
        complain(f"the schema must be {HEAD}, got {found or 'none'}; run {CommandLine(url).action('upgrade', None)}")
        return NO_RESULT
    return 0


@app.command()
def check(storage: Storage = None) -> int:
    """Check that the schema is current and all studies are consistent; exit 1 where a study is not."""
    from hpo_storage.checks import broken_rules

    with opened(storage) as database:
        broken = broken_rules(database)
        for line in broken:
            write_text(line)
        if not broken:
            write_text(f"{database.url} is consistent")
    return NO_RESULT if broken else 0
