"""A target of one or several columns as one text. Standard library only: supervisors import it."""

import csv
import io
from collections.abc import Collection, Sequence

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
    """The column of that very name, or else the names that commas separate."""
    if target in columns or "," not in target:
        return (target,)
    try:
        names = next(csv.reader([target], strict=True))
    except csv.Error:
        return (target,)
    return tuple(name if name in columns else name.strip() for name in names)
