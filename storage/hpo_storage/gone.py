"""A study, or what belongs to it, that somebody deletes while others work on it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from hpo.errors import StudyNotFoundError
from hpo_storage.refusals import full_code

_NO_PARENT = {"23503", 1216, 1452, sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY}
"""A row refers to one that is not there: SQLSTATE of PostgreSQL, numbers of MySQL and of SQLite."""


def gone() -> StudyNotFoundError:
    """The error to raise where rows of a study are missing."""
    return StudyNotFoundError(
        "a study must be there to be worked on, and it, or part of it, has been deleted meanwhile; delete what is left "
        "of it, and make it anew"
    )


@contextmanager
def all_there() -> Iterator[None]:
    """StudyNotFoundError where a row is to be written that belongs to one that has been deleted."""
    try:
        yield
    except exc.IntegrityError as error:
        if full_code(error.orig) in _NO_PARENT:
            raise gone() from None
        raise
