"""Tables that are there once: what comes in on standard input, and the answer to a query. They are kept as copies."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.errors import DataError, StudyError, use
from hpo.objectives.base import StudyRequest
from hpo.processes import unusable
from hpo.worker.preparation import run_child

STANDARD_INPUT = "-"
QUERY = "sql:"
DATA_URL_VARIABLE = "HPO_DATA_URL"
"""Names the database of a query, with a password that is to be in no command."""


def with_copy(asked_for: StudyRequest, folder: Path) -> StudyRequest:
    """The request with a file in the folder for a table that cannot be read twice; else as it is.

    InputError where there is no such table.
    """
    given = asked_for.given
    source = str(given.get("data") or "")
    is_query = source.lower().startswith(QUERY)
    if "data_url" in given and not is_query:
        raise StudyError(
            f"a database is asked with a query, got {use('data_url')} without one; "
            f"give {use('data', 'sql:SELECT * FROM table_name')} too, or leave it away",
            setting="data_url",
        )
    if is_query:
        return replace(asked_for, frame=_answer(source[len(QUERY) :], given, folder / "answer.parquet"))
    if source == STANDARD_INPUT and asked_for.frame is None:
        return replace(asked_for, frame=_standard_input(folder / "input"))
    return asked_for


def _answer(sql: str, given: Mapping[str, Any], path: Path) -> Path:
    url = given.get("data_url") or os.environ.get(DATA_URL_VARIABLE)
    if not url:
        raise StudyError(
            f"a query needs a database that answers it; give {use('data_url', 'sqlite:///FILE')}, or set the variable "
            f"{DATA_URL_VARIABLE}",
            setting="data_url",
        )
    run_child(lambda step, share: None, "hpo.data.query", {"sql": sql, "url": url, "path": str(path)})
    return path


def _standard_input(path: Path) -> Path:
    """What comes in, all of it."""
    if _no_input():
        raise DataError(
            f"a table must come in on standard input, which is {_no_input()}; redirect it from a file, or give the "
            f"file's path as {use('data')}"
        )
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise unusable(path.parent, error, "standard input is kept in it") from None
    return path


def _no_input() -> str:
    """Why nothing can come in; "" where something can."""
    if sys.stdin is None or sys.stdin.closed:
        return "closed"
    return "a terminal" if sys.stdin.isatty() else ""
