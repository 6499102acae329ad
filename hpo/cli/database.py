"""The commands db upgrade, db current, db check and db backup."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from hpo_storage.urls import database_url, file_url

from hpo.cli.errors import NO_RESULT, CommandLine, complain
from hpo.cli.options import Storage, opened, waiting
from hpo.cli.output import write_text

app = typer.Typer(help="Make, upgrade, check and copy a database.", invoke_without_command=True)


@app.callback()
def _start(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)


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
def backup(
    file: Annotated[Path, typer.Argument(help="Where the copy goes: a new file.", metavar="FILE", show_default=False)],
    storage: Storage = None,
) -> int:
    """Copy an SQLite file, also while it is used: one file, complete as of now."""
    from hpo_storage.copies import back_up
    from hpo_storage.database import connect

    shows = sys.stderr.isatty()

    def report(share: float) -> None:
        if shows:
            typer.echo(f"\r{share:4.0%} copied", nl=share == 1, err=True)

    url = file_url(str(file))
    database = connect(database_url(storage))
    try:
        back_up(database, file, report)
        write_text(f"{database.url} is copied to {file}; look at it with: {CommandLine(url).action('list', None)}")
    finally:
        database.close()
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
