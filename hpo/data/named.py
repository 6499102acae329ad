"""The names of a table's columns."""

from collections import Counter
from collections.abc import Iterable

from hpo.errors import DataError

UNNAMED = "(unnamed column) "
"""Begins the name of a column that has none."""
NUMBERED = "column_"
"""Begins the names of the columns of a table without a header: column_1, column_2, ..."""


def named(header: Iterable[str]) -> list[str]:
    """The header with a name for each column that has none; `UNNAMED` begins it."""
    return [column or f"{UNNAMED}{number}" for number, column in enumerate(header, start=1)]


def numbered(columns: int) -> list[str]:
    """Names of columns that have none, as no column of their table has."""
    return [f"{NUMBERED}{number}" for number in range(1, columns + 1)]


def refuse_duplicates(place: str, columns: list[str]) -> None:
    """DataError where a name occurs more than once."""
    twice = [column for column, times in Counter(columns).items() if times > 1]
    if twice:
        names = ", ".join(repr(column) for column in twice[:5])
        raise DataError(f"{place}: column names must differ, {names} occurs more than once; rename or remove columns")
