"""What a column of a table is, by its values: numbers, categories, dates and others, and these values as arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.columns import LARGEST, kind_of, listed, numbers, texts
from hpo.data.inputs import MAX_CATEGORIES
from hpo.data.parsing import (
    LIKELY_WORDS,
    MAX_WORDS,
    MISSING_WORDS,
    SAMPLE,
    Parsed,
    Unread,
    dates_of,
    may_be_written,
    numbers_of,
)
from hpo.data.texts import MOSTLY_DIFFERENT, Texts, Words, texts_of
from hpo.errors import use
from hpo.words import count_text

MIN_CODES, MAX_CODES = 3, 10
"""So many different whole numbers may be codes."""
ID_ROWS = 20
"""From so many rows on, texts that are nearly all different name rows, and so may whole numbers."""
USELESS = {
    "identifier": "texts that are nearly all different, like names or identifiers",
    "constant": "the same value in all rows",
    "empty": "empty in all rows",
}
_ZEROS = f"digits with leading zeros are read as texts; where they are numbers, use {use('kind', {'COLUMN': 'number'})}"
_DATES = ("date", "datetime", "datetime64")
_BOOLEANS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"})


@dataclass(frozen=True, slots=True)
class Understood:
    """A column as it is used.

    Attributes:
        kind: `number`, `category`, `ordered`, `boolean`, `date`, `text`, or one that becomes no input: `identifier`,
            `constant`, `empty`, `other`.
        values: float64 with NaN; datetime64[s] with NaT; or object, texts and None.
        codes: whether few whole numbers may be codes.
        order: values of an ordered column, the lowest first.
        notes: what a person should know, in a line each.
    """

    kind: str
    values: pd.Series
    codes: bool = False
    order: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_input(self) -> bool:
        """Whether something can be learned from it."""
        return self.kind not in (*USELESS, "other")


def understand(values: pd.Series, words: Words) -> Understood:
    """What a column is, by its values."""
    dtype: Any = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _checked(_categories(values, words))
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return _checked(Understood("date", times(values)))
    if pd.api.types.is_timedelta64_dtype(dtype):
        seconds = values.dt.total_seconds().astype(np.float64)
        return _checked(number(seconds, ["lengths of time in seconds"]))
    content = pd.api.types.infer_dtype(values, skipna=True) if pd.api.types.is_object_dtype(dtype) else ""
    if pd.api.types.is_bool_dtype(dtype) or content == "boolean":
        return _checked(Understood("boolean", pd.Series(texts(values), dtype=object)))
    if content in _DATES:
        return _checked(Understood("date", times(pd.to_datetime(values, errors="coerce", utc=True))))
    match kind_of(values):
        case None:
            return Understood("other", _nothing(len(values)), notes=(f"neither numbers nor text but {dtype}",))
        case "numeric":
            return _checked(number(pd.Series(numbers(values)), [], words))
    if has_leading_zeros(values):
        given = texts_of(values, words.further).without(MISSING_WORDS if words.as_written and words.usual else ())
        return _checked(_texts(given, [_ZEROS]))
    plain = plain_numbers(values, words)
    if plain is not None:
        return _checked(number(pd.Series(plain), [], words))
    return _checked(_beside_words(values, words) or _written(texts_of(values, words.further), words))


def has_leading_zeros(values: pd.Series) -> bool:
    """Whether digits are written as in `00501`, which names something; a part of them tells quickly of most columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        column = _trimmed(values)
        some = column[:SAMPLE]
        some = some.filter(pc.invert(pc.is_in(some, pa.array(["", *MISSING_WORDS]))))
        digits = pc.all(pc.match_substring_regex(some, r"^\d+$")).as_py()
        return bool(digits and pc.any(pc.match_substring_regex(column, r"^0\d+$")).as_py())
    except (pa.ArrowException, TypeError):
        return False


def plain_numbers(values: pd.Series, words: Words) -> npt.NDArray[np.float64] | None:
    """Texts that are plain numbers beside usual missing words, quickly; None where there is anything else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        column = _trimmed(values)
        missing = {"", *words.further, *(MISSING_WORDS if words.as_written and words.usual else ())}
        return _cast(column, pc.is_in(column, pa.array(sorted(missing))))
    except (pa.ArrowException, TypeError):
        return None


def _beside_words(values: pd.Series, words: Words) -> Understood | None:
    """Plain numbers beside words that often stand for missing values, quickly; None where there is anything else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not words.usual:
        return None
    try:
        column = _trimmed(values)
        likely = pc.is_in(pc.utf8_lower(column), pa.array(sorted(LIKELY_WORDS)))
        usual = pc.is_in(column, pa.array(sorted(MISSING_WORDS)))
        none = pc.is_in(column, pa.array(sorted({"", *words.further})))
        found = _cast(column, pc.or_(pc.or_(likely, usual), none))
        odd = column.filter(pc.and_not(likely, pc.or_(usual, none)))
    except (pa.ArrowException, TypeError):
        return None
    if found is None:
        return None
    notes = [missing_note(odd.unique().to_pylist(), len(odd))] if len(odd) else []
    return number(pd.Series(found), notes)


def _trimmed(values: pd.Series) -> Any:  # noqa: ANN401 - a pyarrow.Array
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pa.array(values, type=pa.string(), from_pandas=True)
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.utf8_trim_whitespace(column)


def _cast(column: Any, missing: Any) -> npt.NDArray[np.float64] | None:  # noqa: ANN401 - arrays of pyarrow
    """Texts as numbers but for the missing ones; None where there is none. Raises where one is no number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.if_else(missing, pa.scalar(None, pa.string()), column)
    pc.cast(known[:SAMPLE], pa.float64())  # Arrow takes long to refuse a long column
    found = pc.cast(known, pa.float64())
    if found.null_count == len(found):
        return None
    return np.array(found.to_numpy(zero_copy_only=False), np.float64)


def _written(given: Texts, words: Words) -> Understood:
    """The kind of a column of texts."""
    hints: list[str] = []
    if given.distinct and may_be_written(given.distinct):
        for kind, read in (("number", numbers_of), ("date", dates_of)):
            parsed = _parsed(given, words, read)
            if isinstance(parsed, Unread):
                hints += [parsed.hint] if parsed.hint else []
                continue
            notes = said(given, parsed)
            values = pd.Series(given.taken(parsed.values))
            return number(values, notes) if kind == "number" else Understood("date", values, notes=tuple(notes))
    if words.as_written and words.usual:
        given = given.without(MISSING_WORDS)
    return _texts(given, hints)


def _parsed(given: Texts, words: Words, read: Callable[..., Parsed | Unread]) -> Parsed | Unread:
    """How texts are read; words are missing values only where such words may be."""
    if len(given.distinct) > 2 * SAMPLE:
        part = read(given.distinct[:SAMPLE], given.counts[:SAMPLE].tolist())
        if isinstance(part, Unread) and len(part.misfits) > MAX_WORDS and not part.hint:
            return part
    found = read(given.distinct, given.counts.tolist())
    if isinstance(found, Parsed) and found.words and not words.usual:
        return Unread(found.words)
    return found


def said(given: Texts, parsed: Parsed) -> list[str]:
    """What a person should know about how texts are read: the format, and which words are missing values."""
    odd = [word for word in parsed.words if word not in MISSING_WORDS]
    missing = [missing_note(odd, given.rows(odd))] if odd else []
    return [*([parsed.how] if parsed.how else []), *missing]


def missing_note(words: Sequence[str], rows: int) -> str:
    """Which words are missing values beside others, and how often."""
    return f"{listed(words)} read as missing, in {count_text(rows, 'row')}"


def _texts(given: Texts, hints: Sequence[str] = ()) -> Understood:
    """Texts that are neither numbers nor dates."""
    notes = [*given.notes, *hints]
    kind = "category" if len(given.distinct) <= MAX_CATEGORIES else "text"
    count = int(given.counts.sum())
    if count >= ID_ROWS and len(given.distinct) > MOSTLY_DIFFERENT * count:
        kind = "identifier"
    elif {text.casefold() for text in given.distinct} in _BOOLEANS and len(given.distinct) == 2:
        kind = "boolean"
    elif len({text.casefold() for text in given.distinct}) < len(given.distinct):
        notes.append(f"values that differ in case only: {_case_twins(given.distinct)}")
    return Understood(kind, given.column(), notes=tuple(notes))


def _case_twins(distinct: Sequence[str]) -> str:
    seen = dict[str, str]()
    for text in distinct:
        other = seen.setdefault(text.casefold(), text)
        if other != text:
            return f"{other!r} and {text!r}"
    return ""


def number(values: pd.Series, notes: list[str], words: Words | None = None) -> Understood:
    """Numbers; infinite ones are missing, and those among the further words."""
    found = values.to_numpy(np.float64)
    if words is not None and words.further_numbers:
        found = np.where(np.isin(found, words.further_numbers), np.nan, found)
    infinite = np.abs(found) > LARGEST
    if infinite.any():
        found = np.where(infinite, np.nan, found)
        notes = [*notes, f"{int(infinite.sum()):,} infinite or huge numbers are read as missing"]
    return Understood("number", pd.Series(found), codes=_may_be_codes(found), notes=tuple(notes))


def _may_be_codes(found: npt.NDArray[np.float64]) -> bool:
    """Whether there are few different numbers, all whole; a part of them tells quickly that there are many."""
    known = found[np.isfinite(found)]
    if len(np.unique(known[:1000])) > MAX_CODES:
        return False
    distinct = np.unique(known)
    return MIN_CODES <= len(distinct) <= MAX_CODES and bool((distinct == np.floor(distinct)).all())


def _categories(values: pd.Series, words: Words) -> Understood:
    """What a person made categories of stays so, whatever the values are; ordered ones keep their order."""
    given = texts_of(values, words.further)
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype) and dtype.ordered:
        present = set(given.distinct)
        order = (str(value).strip() for value in dtype.categories)
        return Understood("ordered", given.column(), order=tuple(dict.fromkeys(o for o in order if o in present)))
    understood = _texts(given)
    if understood.kind in ("boolean", "identifier"):
        return Understood("category", understood.values, notes=understood.notes)
    return understood


def times(values: pd.Series) -> pd.Series:
    """Times of seconds, as clocks of their zone show them."""
    plain = values.dt.tz_localize(None) if values.dt.tz is not None else values
    return pd.Series(plain.to_numpy().astype("datetime64[s]"))


def _nothing(rows: int) -> pd.Series:
    return pd.Series(np.full(rows, None), dtype=object)


def _checked(found: Understood) -> Understood:
    """The same, unless nothing can be learned from it."""
    count = int(found.values.count())
    if count == 0:
        return Understood("empty", found.values, notes=found.notes)
    if count == len(found.values):
        first = found.values.iloc[0]
        if found.values.iloc[-1] == first and bool((found.values == first).all()):
            return Understood("constant", found.values, notes=found.notes)
        if found.kind == "number" and _numbers_rows(found.values.to_numpy()):
            return Understood("identifier", found.values, notes=found.notes)
    return found


def _numbers_rows(found: npt.NDArray[np.float64]) -> bool:
    """Whether these are the whole numbers from 0 or 1 on, each once."""
    rows, least = len(found), found.min()
    if rows < ID_ROWS or least not in (0.0, 1.0) or found.max() - least != rows - 1:
        return False
    return bool((found == np.floor(found)).all()) and len(np.unique(found)) == rows
