"""Options that several commands share, and opening what they name."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from hpo_storage.urls import DEFAULT_URL, FILE_ENDINGS, STORAGE_VARIABLE, database_url

if TYPE_CHECKING:
    from hpo_storage.database import Database
    from hpo_storage.records import StudyRecord

Figure = Literal["history", "curves", "importances", "slice", "parallel", "timeline"]


def _checked_name(context: typer.Context, name: str | None) -> str | None:
    if context.resilient_parsing or name is None:
        return name
    from hpo.study.spec import check_study_name

    return check_study_name(name)


def stored_names(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the stored studies that begin with `incomplete`, for completion; none where that fails."""
    try:
        from hpo_storage.studies import list_studies

        with opened(context.params.get("storage") or os.environ.get(STORAGE_VARIABLE)) as database:
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
    str,
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
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Open = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]


def shown_storage(url: str) -> str:
    """How to write the database in a command: a file's name, or the URL with `***` for its password."""
    if url.startswith("sqlite:///"):
        path = url.removeprefix("sqlite:///")
        return path if path.endswith(FILE_ENDINGS) else url
    from sqlalchemy import make_url

    return make_url(url).set(query={}).render_as_string(hide_password=True)


def with_storage(command: str, url: str) -> str:
    """The command with the database named, where it is not the default one."""
    return command if url == DEFAULT_URL else f"{command} {shlex.join(['--storage', shown_storage(url)])}"


@contextmanager
def opened(storage: str | None) -> Iterator["Database"]:
    """A database to read, closed at the end; StorageError where there is none."""
    from hpo_storage.database import connect

    database = connect(database_url(storage), create=False)
    try:
        yield database
    finally:
        database.close()


def read(storage: str | None, study: str) -> "StudyRecord":
    """The study with its trials; StudyNotFoundError names those there are."""
    from hpo_storage.studies import read_study

    with opened(storage) as database:
        return read_study(database, study)
