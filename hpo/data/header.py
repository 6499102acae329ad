"""Whether the first row of a table names its columns, or holds values already."""

import re
from collections.abc import Sequence
from itertools import pairwise

from hpo.errors import DataError, use

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_NO_NAMES = frozenset(("", "?", "na", "n/a", "nan", "null", "none", "-"))
_SHOWN = 3
_LEAST_COUNTED = 3
"""So many whole numbers in a row count columns: pandas writes 0, 1, 2, a table of years 2019, 2020, 2021."""


def has_header(place: str, first: Sequence[str], rows: Sequence[Sequence[str]], said: bool | None) -> bool:
    """Whether `first` names the columns of `rows`, as is said; else DataError asks where it looks like values."""
    if said is not None:
        return said
    if looks_like_values(first, rows):
        shown = ", ".join(repr(field[:20]) for field in first[:_SHOWN]) + (", ..." if len(first) > _SHOWN else "")
        raise DataError(
            f"{place}: the first row looks like values ({shown}), not like the names of columns; use "
            f"{use('header', False)} to have it read as values, or {use('header', True)} where these are names",
            setting="header",
        )
    return True


def looks_like_values(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a first row is like those below it.

    A word above numbers is a name. Without one, a number above numbers is a value, and so is a word that its own column
    holds again.
    """
    others = [row for row in rows if len(row) == len(first) and list(row) != list(first)]
    if not others:
        return False
    columns = list(zip(*others, strict=True))
    numeric = [_are_numbers(values) for values in columns]
    if any(is_number and _is_name(field) for field, is_number in zip(first, numeric, strict=True)):
        return False
    numbers = [field for field, is_number in zip(first, numeric, strict=True) if is_number and _is_number(field)]
    if numbers and not _counts(first):
        return True
    words = [
        (field, values)
        for field, values, is_number in zip(first, columns, numeric, strict=True)
        if not is_number and field.lower() not in _NO_NAMES
    ]
    return not numbers and bool(words) and all(field in map(str.strip, values) for field, values in words)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text.strip()) is not None


def _is_name(text: str) -> bool:
    return text.lower() not in _NO_NAMES and not _is_number(text)


def _are_numbers(values: Sequence[str]) -> bool:
    known = [value for value in values if value.strip().lower() not in _NO_NAMES]
    return bool(known) and all(_is_number(value) for value in known)


def _counts(first: Sequence[str]) -> bool:
    """Whether the numbers of a first row count columns or years."""
    found = [int(field) for field in first if field.isdecimal() and len(field) < 10]
    if any(_is_number(field) and not field.isdecimal() for field in first):
        return False
    steps = {after - before for before, after in pairwise(found)}
    return steps == {1} and (len(found) >= _LEAST_COUNTED or first[0] == "")
