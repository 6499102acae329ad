"""A column as the kind that a person says it is, whatever its values look like."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from hpo.data.columns import kind_of, listed, numbers
from hpo.data.kinds import Understood, number, said, times
from hpo.data.parsing import MAX_WORDS, MISSING_WORDS, Unread, dates_of, numbers_of
from hpo.data.texts import Texts, Words, misfit, no_numbers, texts_of
from hpo.errors import DataError, use


def as_asked(name: str, values: pd.Series, words: Words, asked: str) -> Understood:
    """The column as the kind that is asked for; DataError where its values cannot be that."""
    kind, _, more = asked.partition(":")
    if kind == "number" and kind_of(values) == "numeric":
        found = number(pd.Series(numbers(values)), [], words)
    elif kind == "date" and pd.api.types.is_datetime64_any_dtype(values.dtype):
        found = Understood("date", times(values))
    else:
        found = _AS_ASKED[kind](name, _whole_texts(values, words), more)
    count = int(found.values.count())
    if count and found.values.nunique() > (1 if count == len(values) else 0):
        return Understood(found.kind, found.values, order=found.order, notes=found.notes)
    return Understood("constant" if count else "empty", found.values)


def _whole_texts(values: pd.Series, words: Words) -> Texts:
    """The texts of any column, those of whole numbers without a fraction."""
    if kind_of(values) == "numeric":
        known = numbers(values)
        said_so = [None if n != n else str(int(n)) if n.is_integer() else str(n) for n in known.tolist()]
        values = pd.Series(said_so, dtype="object", index=values.index)
    missing = MISSING_WORDS if words.as_written and words.usual else ()
    return texts_of(values, {*words.further, *missing})


def _asked_number(name: str, given: Texts, mark: str) -> Understood:
    read = partial(numbers_of, mark=mark)
    parsed = read(given.distinct, given.counts.tolist())
    if isinstance(parsed, Unread):
        raise no_numbers(name, given, "kind")
    return number(pd.Series(given.taken(parsed.values)), said(given, parsed))


def _asked_date(name: str, given: Texts, form: str) -> Understood:
    parsed = dates_of(given.distinct, given.counts.tolist(), form)
    if not isinstance(parsed, Unread):
        return Understood("date", pd.Series(given.taken(parsed.values)), notes=tuple(said(given, parsed)))
    wrong = misfit(name, given, parsed.misfits, f"dates of the format {form}" if form else "dates of one known format")
    remedy = f"give the format that all have, like {use('kind', {name: 'date:%Y-%m-%d %H:%M'})}"
    if len(parsed.misfits) <= MAX_WORDS:
        remedy = f"use {use('missing', ','.join(parsed.misfits))} where that means none, or correct the table"
    raise DataError(f"{wrong}; {remedy}", setting="kind")


def _asked_category(name: str, given: Texts, more: str) -> Understood:
    return Understood("category", given.column(), notes=tuple(given.notes))


def _asked_text(name: str, given: Texts, more: str) -> Understood:
    return Understood("text", given.column(), notes=tuple(given.notes))


def _asked_boolean(name: str, given: Texts, more: str) -> Understood:
    if len(given.distinct) > 2:
        raise DataError(
            f"a boolean column must have 2 values, {name!r} has {len(given.distinct):,} ({listed(given.distinct)}); "
            f"use {use('kind', {name: 'category'})}",
            setting="kind",
        )
    return Understood("boolean", given.column(), notes=tuple(given.notes))


def _asked_order(name: str, given: Texts, more: str) -> Understood:
    order = [value.strip() for value in more.split(",")] if more else _by_number(given)
    example = use("kind", {name: f"ordered:{','.join(given.distinct[:3])}"})
    if not order:
        raise DataError(
            f"the order of {name!r} must be given, its values are no numbers ({listed(given.distinct)}); "
            f"list them with the lowest first, like {example}",
            setting="kind",
        )
    if others := [text for text in given.distinct if text not in order]:
        raise DataError(
            f"{misfit(name, given, others, 'in the order that is given')}; list all values, or use "
            f"{use('missing', others[0])} for a word that means none",
            setting="kind",
        )
    return Understood("ordered", given.column(), order=tuple(dict.fromkeys(order)), notes=tuple(given.notes))


def _by_number(given: Texts) -> list[str]:
    parsed = numbers_of(given.distinct, given.counts.tolist())
    if isinstance(parsed, Unread) or parsed.words:
        return []
    return [given.distinct[place] for place in np.argsort(parsed.values, kind="stable")]


_AS_ASKED: dict[str, Callable[[str, Texts, str], Understood]] = {
    "number": _asked_number,
    "date": _asked_date,
    "category": _asked_category,
    "text": _asked_text,
    "boolean": _asked_boolean,
    "ordered": _asked_order,
}
