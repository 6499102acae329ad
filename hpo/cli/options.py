"""Options that several commands share, and opening what they name."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import unquote

import typer
from hpo_storage.urls import DEFAULT_URL, STORAGE_VARIABLE, database_url, file_url, secrets_of, without_password

from hpo.words import printable

if TYPE_CHECKING:
    from hpo_storage.database import Database
    from hpo_storage.records import StudyRecord
    from hpo_storage.retry import Patience

    from hpo.errors import StorageAwayError

Figure = Literal["history", "curves", "importances", "slice", "parallel", "timeline"]


def _checked_name(context: typer.Context, name: str | None) -> str | None:
    if context.resilient_parsing or name is None:
        return name
    from hpo.study.spec import check_study_name

    return check_study_name(name)


def _noted(context: typer.Context, storage: str | None) -> str | None:
    """Let whoever shows messages of this command know its database."""
    if context.obj is not None:
        context.obj.url = database_url(storage)
    return storage


def stored_names(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the stored studies that begin with `incomplete`, for completion; none where that fails."""
    try:
        from hpo_storage.retry import NO_PATIENCE
        from hpo_storage.studies import list_studies

        given = context.params.get("storage") or os.environ.get(STORAGE_VARIABLE)
        with opened(given, patience=NO_PATIENCE) as database:
            return [study.name for study in list_studies(database) if study.name.startswith(incomplete)]
    except Exception:  # a shell that completes must not be disturbed
        return []


def runnable_names(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the stored and the built-in studies, for shell completion."""
    from hpo.study.spec import definition_names

    stored = stored_names(context, incomplete)
    return stored + [n for n in definition_names() if n.startswith(incomplete) and n not in stored]


NAME_HELP = "1 to 100 letters, digits, '.', '_' or '-'."
StudyName = Annotated[
    str,
    typer.Option("--study", metavar="NAME", help="The study.", callback=_checked_name, autocompletion=stored_names),
]
OptionalStudyName = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="NAME",
        help="Serve this study only. Default: any.",
        callback=_checked_name,
        autocompletion=stored_names,
    ),
]
NewStudyName = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="NAME",
        help=f"The study to create or resume: {NAME_HELP} 'mlp' is built in.",
        callback=_checked_name,
        autocompletion=runnable_names,
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help=f"Database: a URL or an SQLite file. Default: {DEFAULT_URL}.",
        envvar=STORAGE_VARIABLE,
        callback=_noted,
    ),
]
StudyFilePath = Annotated[
    str | None,
    typer.Argument(metavar="[STUDY.toml]", help="A study file, which says what is not given here.", show_default=False),
]
Config = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="A study file, the same as its path by itself.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Open = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]


def shown_storage(url: str) -> str:
    """How to write the database in a command: a file's name, or the URL without its password."""
    if url.startswith("sqlite:///"):
        path = unquote(url.removeprefix("sqlite:///"))
        return path if database_url(path) == file_url(path) else url
    from hpo_storage.engine import parse_url

    return without_password(parse_url(url)).render_as_string()


def with_storage(command: str, url: str) -> str:
    """The command on the database, to be typed in a shell, which may know the database already.

    A password is never shown: `...` stands for it, or for the whole URL where there is no better place for it.
    """
    if _known_to_the_shell(url):
        return command
    located = f"{command} {shlex.join(['--storage', shown_storage(url)])}"
    if url.startswith("sqlite:"):
        return located
    from hpo_storage.engine import parse_url

    parsed = parse_url(url)
    secrets = secrets_of(parsed)
    if not secrets:
        return located
    if parsed.get_backend_name() == "postgresql" and secrets == [parsed.password]:
        return f"PGPASSWORD=... {located}"
    return f"{STORAGE_VARIABLE}=... {command}"


def _known_to_the_shell(url: str) -> bool:
    return url == database_url(os.environ.get(STORAGE_VARIABLE))


def waiting() -> "Patience":
    """The patience of a command that reads, which tells a person that it waits."""
    from hpo_storage.retry import starting

    def say(error: "StorageAwayError") -> None:
        if sys.stderr.isatty():
            typer.echo(f"waiting for the database: {printable(str(error))}", err=True)

    return starting(say)


@contextmanager
def opened(storage: str | None, *, patience: "Patience | None" = None) -> Iterator["Database"]:
    """A database to read, closed at the end; StorageError where there is none."""
    from hpo_storage.database import connect

    database = connect(database_url(storage), create=False, patience=patience or waiting())
    try:
        yield database
    finally:
        database.close()


def read(storage: str | None, study: str) -> "StudyRecord":
    """The study with its trials; StudyNotFoundError names those there are."""
    from hpo_storage.studies import read_study

    with opened(storage) as database:
        return read_study(database, study)
