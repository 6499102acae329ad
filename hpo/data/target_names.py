"""A target of one or several columns as one text. Standard library only: supervisors import it."""

import csv
import io
import re
from collections.abc import Collection, Sequence

from hpo.data.named import NUMBERED
from hpo.errors import DataError


def joined(target: str | Sequence[str]) -> str:
    """One name as it is; several separated by commas, those that hold commas or quotes in quotes."""
    if isinstance(target, str):
        return target
    if not target:
        raise DataError("a target must be at least one column, got none; name one", setting="target")
    if len(target) == 1:
        return str(target[0])
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow([str(name) for name in target])
    return stream.getvalue()


def divided(target: str, columns: Collection[str]) -> tuple[str, ...]:
    """The column of that very name, or else the names that commas separate.

    Columns without names of their own are found by their numbers, too, from the end where these are negative.
    """
    if target in columns:
        return (target,)
    if "," not in target:
        return (_by_number(target, columns),)
    try:
        names = next(csv.reader([target], strict=True))
    except csv.Error:
        return (target,)
    return tuple(name if name in columns else _by_number(name.strip(), columns) for name in names)


def _by_number(name: str, columns: Collection[str]) -> str:
    """The name of a numbered column that is given as `5` or `-1`; anything else as it is."""
    if not re.fullmatch(r"-?[1-9]\d{0,8}", name) or not all(column.startswith(NUMBERED) for column in columns):
        return name
    number = int(name) if int(name) > 0 else len(columns) + 1 + int(name)
    found = f"{NUMBERED}{number}"
    return found if found in columns else name
