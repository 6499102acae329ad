"""The different texts of a column, without blanks around them, and what is wrong with some of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.columns import texts
from hpo.data.parsing import Unread, each_number, numbers_of
from hpo.errors import DataError, use

MOSTLY_DIFFERENT = 0.9
"""A larger share of different texts names rows."""


@dataclass(frozen=True, slots=True)
class Words:
    """What stands for a missing value.

    Attributes:
        as_written: whether columns are texts of a file, where the usual words stand for missing values, too.
        usual: whether they do.
        further: words that do in all columns, the target among them.
    """

    as_written: bool = False
    usual: bool = True
    further: tuple[str, ...] = ()

    @property
    def further_numbers(self) -> list[float]:
        """Those of the further words that are numbers."""
        found = pd.to_numeric(pd.Series(self.further, dtype=object), errors="coerce")
        return [float(number) for number in found if np.isfinite(number)]


@dataclass(slots=True)
class Texts:
    """A column's different texts without blanks around them, how many rows hold each, the text of each row, and the
    numbers of the rows in the table, from 0."""

    distinct: list[str]
    counts: npt.NDArray[np.intp]
    codes: npt.NDArray[np.intp]
    numbers: pd.Index
    notes: list[str] = field(default_factory=list)

    def without(self, words: Collection[str]) -> "Texts":
        """The same with some texts missing."""
        gone = np.array([text in words for text in self.distinct], bool)
        if not gone.any():
            return self
        place = np.append(np.where(gone, -1, np.cumsum(~gone) - 1), -1)
        distinct = [text for text in self.distinct if text not in words]
        return Texts(distinct, self.counts[~gone], place[self.codes], self.numbers, self.notes)

    def column(self) -> pd.Series:
        """Object: the text of each row, None where missing."""
        return pd.Series(np.array([*self.distinct, None], dtype=object)[self.codes], dtype=object)

    def taken(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The values of each text as those of each row; NaN or NaT where missing."""
        missing = np.datetime64("NaT", "s") if values.dtype.kind == "M" else np.nan
        return np.append(values, missing)[self.codes]

    def rows(self, words: Collection[str]) -> int:
        """How many rows hold one of these."""
        return int(sum(count for text, count in zip(self.distinct, self.counts, strict=True) if text in words))


def _factorized(values: pd.Series) -> tuple[npt.NDArray[np.intp], list[str]]:
    """The place of each row's text among the different ones, -1 where missing, and these."""
    if not isinstance(values.dtype, pd.StringDtype):
        codes, raw = pd.factorize(pd.Series(texts(values), dtype=object))
        return codes, [str(text) for text in raw]
    import pyarrow as pa

    column = pa.chunked_array([pa.array(values, type=pa.large_string(), from_pandas=True)]).combine_chunks()
    encoded = column.dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.intp), encoded.dictionary.to_pylist()


def texts_of(values: pd.Series, further: Collection[str] = ()) -> Texts:
    """The texts of a column; empty ones and `further` words are missing."""
    codes, raw = _factorized(values)
    stripped = pd.Series([text.strip() for text in raw], dtype=object)
    places, distinct = pd.factorize(stripped)
    codes = np.append(places, -1)[codes]
    counts = np.bincount(codes[codes >= 0], minlength=len(distinct))
    notes = []
    if len(distinct) < len(raw) and len(distinct) <= MOSTLY_DIFFERENT * len(values):
        notes.append("values that differ in blanks around them are one")
    found = Texts([str(text) for text in distinct], counts, codes, values.index, notes)
    return found.without({"", *further})


def no_numbers(name: str, given: Texts, setting: str) -> DataError:
    """Why a column cannot be read as numbers, and what to do."""
    found = each_number(given.distinct)
    odd = [text for text, number in zip(given.distinct, found, strict=True) if np.isnan(number)]
    if not odd:
        parsed = numbers_of(given.distinct, given.counts.tolist())
        odd = list(parsed.misfits) if isinstance(parsed, Unread) else []
        said = misfit(name, given, odd, "numbers of one format and unit")
        return DataError(f"{said}; write them alike", setting=setting)
    word = odd[0] if len(odd) == 1 else ",".join(odd[:3])
    remedy = f"use {use('missing', word)} where that means none, or correct the table"
    if len(odd) > max(3, len(given.distinct) // 10) or len(odd) == len(given.distinct):
        remedy = f"use {use('kind', {name: 'category'})}" if setting == "kind" else f"use another {use(setting)}"
    return DataError(f"{misfit(name, given, odd, 'numbers')}; {remedy}", setting=setting)


def misfit(name: str, given: Texts, odd: Sequence[str], what: str) -> str:
    """`149 of 150 values of 'price' are numbers, row 7 is 'unknown'`."""
    total, wrong = int(given.counts.sum()), given.rows(odd)
    place = {text: code for code, text in enumerate(given.distinct)}
    rows = np.flatnonzero(np.isin(given.codes, [place[text] for text in odd if text in place]))
    row = int(rows[0]) if len(rows) else 0
    text = given.distinct[given.codes[row]] if given.distinct else ""
    return f"{total - wrong:,} of {total:,} values of {name!r} are {what}, row {given.numbers[row] + 1:,} is {text!r}"
