"""Numbers and dates that are written as texts, and words among them that stand for missing values.

A column is read in one way or not at all: all its texts must fit the same format, beside few words.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.errors import use

_PANDAS = "#N/A;#N/A N/A;#NA;-1.#IND;-1.#QNAN;-NaN;-nan;1.#IND;1.#QNAN;<NA>;N/A;NA;NULL;NaN;None;n/a;nan;null"
MISSING_WORDS = frozenset(_PANDAS.split(";"))
"""What pandas takes for missing in a CSV file, beside an empty field."""
LIKELY_WORDS = frozenset(
    ("?", "-", "--", ".", "unknown", "missing", "none", "not available", "n.a.", "n.a", "na", "nil", "unk", "undefined")
)
"""What else stands for missing among numbers or dates, in small letters, however frequent it is."""
MAX_WORDS = 3
"""Other words are missing values among numbers where they are so few, and so rare:"""
MOST_WORDS = 0.1
SAMPLE = 200
"""Texts that are looked at before all are: where hardly one has a digit, none is a number or a date."""

_CURRENCY = r"US\$|R\$|Rs\.?|USD|EUR|GBP|CHF|JPY|CNY|INR|[$€£¥₹₽₩₺₫₴₪฿]"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)\s*(?:(?P<prefix>{_CURRENCY})\s*(?P<inner>[+-]?))?"
    r"(?P<core>(?:\d|[.,]\d)(?:[\d.,'’\s]*\d[.,]?|[.,])?(?:[eE][+-]?\d+)?)"
    rf"\s*(?P<unit>(?:[^\W\d_]|[%‰°µ]|{_CURRENCY})\D{{0,11}})?"
)
_POINTED = ("$", "US$", "£")
"""Amounts of these are rarely written with decimal commas."""
_BLANKS = r"[\s'’]"
_FORMATS = ((".", ""), (".", ","), (",", ""), (",", r"\."), (".", _BLANKS), (",", _BLANKS))
"""Decimal mark, and what may stand between thousands; the first that fits."""
_EITHER = (
    f"commas are read as between thousands; where they are decimal ones, use {use('kind', {'COLUMN': 'number:,'})}"
)
_ISO = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?\s*(Z|[+-]\d\d(:?\d\d)?)?)?)?")
_DATE_FORMATS = tuple(
    date + time
    for date in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d %b %Y", "%b %d, %Y")
    for time in ("", " %H:%M", " %H:%M:%S")
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parsed:
    """How the different texts of a column are read.

    Attributes:
        values: of each text, NaN or NaT for a word.
        words: those texts that stand for missing values.
        how: what a person should know, in a line; "" for nothing.
    """

    values: npt.NDArray[Any]
    words: tuple[str, ...] = ()
    how: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """Why the texts are not read so: those that do not fit, and `hint` where there is something to choose."""

    misfits: tuple[str, ...]
    hint: str = ""


def numbers_of(texts: Sequence[str], counts: Sequence[int], mark: str = "") -> Parsed | Unread:
    """The texts as numbers, with the decimal `mark` where one is given: `1.234,56 €`, `12%`, `998 CC`, `1 234`."""
    found = [_NUMBER.fullmatch(text.replace("\u2212", "-")) for text in texts]
    odd = [(text, count) for text, count, one in zip(texts, counts, found, strict=True) if one is None]
    words = _words(odd, counts)
    if isinstance(words, Unread):
        return Unread(words.misfits, _mostly_numbers(odd, counts))
    parts = [one for one in found if one is not None]
    signs = Counter[tuple[str, str]]()
    for one, count in zip(found, counts, strict=True):
        if one is not None:
            signs[_sign(one)] += count
    if len(signs) != 1:
        usual = signs.most_common(1)[0][0] if signs else ("", "")
        units = [repr(" ".join(filter(None, pair)) or "none") for pair, _ in signs.most_common(3)]
        hint = f"numbers in different units ({', '.join(units)}) are read as texts" if len(signs) in (2, 3) else ""
        return Unread(tuple(t for t, one in zip(texts, found, strict=True) if one and _sign(one) != usual), hint)
    cores = [(one["sign"] or one["inner"] or "") + one["core"] for one in parts]
    fitting = _fitting(cores, mark)
    if not fitting:
        return Unread(tuple(texts))
    decimal, between, how = fitting
    values = np.full(len(texts), np.nan)
    values[[one is not None for one in found]] = _floats(cores, decimal, between)
    affixes = (parts[0]["prefix"], parts[0]["unit"])
    how = "" if how == _EITHER and affixes[0] in _POINTED else how
    said = [each for each in (how, *(f"numbers with {text.strip()!r}" for text in affixes if text)) if each]
    return Parsed(values, words, "; ".join(said))


def each_number(texts: Sequence[str]) -> Floats:
    """(texts,): a number for each that is one by itself, of whatever format, else NaN. Those that are not plain get one
    that differs from text to text."""
    found = pd.to_numeric(pd.Series(list(texts), dtype=object), errors="coerce").to_numpy(np.float64, copy=True)
    for place in np.flatnonzero(~np.isfinite(found)).tolist():
        one = _NUMBER.fullmatch(texts[place])
        found[place] = np.nan if one is None or _fitting([one["core"]], "") is None else place
    return found


def _sign(one: re.Match[str]) -> tuple[str, str]:
    """What stands before and after a number."""
    return one["prefix"] or "", (one["unit"] or "").strip().casefold()


def _fitting(cores: Sequence[str], mark: str) -> tuple[str, str, str] | None:
    """Decimal mark, separator of thousands and a note, which all numbers fit; None where there is none."""
    fitting = [each for each in _FORMATS if mark in ("", each[0]) and _fits(cores, *each)]
    if not fitting:
        return None
    decimal, between = fitting[0]
    if (decimal, between) == (".", ","):
        if (",", "") not in fitting:
            return decimal, between, ""
        if any(re.match(r"[+-]?\d{4}", core) for core in cores):  # thousands without a comma
            return ",", "", "numbers with decimal commas"
        return decimal, between, _EITHER
    return decimal, between, "numbers with decimal commas" if decimal == "," else ""


def _fits(cores: Sequence[str], decimal: str, between: str) -> bool:
    whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:{between}\d{{3}})+)" if between else r"\d+"
    pattern = re.compile(rf"[+-]?{whole}?(?:{re.escape(decimal)}\d*)?(?:[eE][+-]?\d+)?")
    return all(pattern.fullmatch(core) for core in cores)


def _floats(cores: Sequence[str], decimal: str, between: str) -> Floats:
    plain = (re.sub(between, "", core) if between else core for core in cores)
    return np.array([float(text.replace(decimal, ".")) for text in plain], np.float64)


def _words(odd: Sequence[tuple[str, int]], counts: Sequence[int]) -> "tuple[str, ...] | Unread":
    """The texts that fit no format, where they may stand for missing values."""
    others = [(text, count) for text, count in odd if not is_likely(text)]
    few = len(others) <= MAX_WORDS and sum(count for _, count in others) <= MOST_WORDS * sum(counts)
    if len(odd) == len(counts) or not few or any(re.search(r"\d", text) for text, _ in others):
        return Unread(tuple(text for text, _ in others or odd))
    return tuple(text for text, _ in odd)


def _mostly_numbers(odd: Sequence[tuple[str, int]], counts: Sequence[int]) -> str:
    """What to say where more than half of the rows are numbers and few words are not; else nothing."""
    rows, others = sum(counts), sum(count for _, count in odd)
    if len(odd) > MAX_WORDS or others * 2 >= rows:
        return ""
    texts = ",".join(text for text, _ in odd)
    return f"{rows - others:,} of {rows:,} values are numbers; where the others mean none, use {use('missing', texts)}"


def is_likely(text: str) -> bool:
    """Whether a text often stands for a missing value."""
    return text.casefold() in LIKELY_WORDS or text in MISSING_WORDS


def dates_of(texts: Sequence[str], counts: Sequence[int], form: str = "") -> Parsed | Unread:
    """The texts as times of seconds: of the format that is given, or else by ISO 8601 or one that is the only one."""
    if form:
        return _dates(texts, counts, form)
    if any(_ISO.fullmatch(text) for text in texts[:SAMPLE]):
        return _dates(texts, counts, "ISO8601")
    sample = next((text for text in texts if not is_likely(text)), "")
    read = {each: _dates(texts, counts, each) for each in _DATE_FORMATS if _may_be(sample, each)}
    fitting = {each: parsed for each, parsed in read.items() if isinstance(parsed, Parsed)}
    if len(fitting) == 1:
        ((only, parsed),) = fitting.items()
        return Parsed(parsed.values, parsed.words, f"dates are read as {only}")
    forms = " or ".join(use("kind", {"COLUMN": f"date:{each}"}) for each in fitting)
    return Unread(tuple(texts), f"texts that may be dates ({forms})" if forms else "")


def _may_be(text: str, form: str) -> bool:
    return not pd.isna(pd.to_datetime(text, format=form, errors="coerce"))


def _dates(texts: Sequence[str], counts: Sequence[int], form: str) -> Parsed | Unread:
    given = pd.Series(list(texts), dtype=object)
    if form == "ISO8601":
        given = given.where(given.map(lambda text: _ISO.fullmatch(text) is not None), None)
    found = pd.to_datetime(given, format=form, errors="coerce", utc=True)
    odd = found.isna().to_numpy()
    words = _words([(texts[i], counts[i]) for i in np.flatnonzero(odd).tolist()], counts)
    if isinstance(words, Unread):
        return words
    return Parsed(found.dt.tz_localize(None).to_numpy().astype("datetime64[s]"), words)


def may_be_written(texts: Sequence[str]) -> bool:
    """Whether it is worth looking whether these are numbers or dates."""
    sample = texts[:SAMPLE]
    return sum(any(c.isdigit() for c in text) for text in sample) * 2 >= len(sample) or len(texts) <= SAMPLE
