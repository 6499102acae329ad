"""Inputs of a network that one column becomes: each is fitted on train rows, and writes itself for any rows.

The values of a column are float64 with NaN (numbers), datetime64[s] with NaT (dates) or objects: str and None.
Inputs that would be the same in all train rows are not made: nothing can be learned from them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.scaling import Scale, fitted_scale
from hpo.study.facts import InputColumn

Values = npt.NDArray[Any]
Out = npt.NDArray[np.float32]
"""(rows, width), part of a larger array."""

MAX_CATEGORIES = 50
"""Inputs per column of categories at most, one for missing included; rarer ones share the last of the others."""
MAX_STEPS = 10
"""An ordered column of at most so many values has an input for each, too."""
DAY = 86400
PERIODS = {"month": 12.0, "day": 31.0, "weekday": 7.0, "time": float(DAY)}
"""Parts of a date that come again."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Number:
    """A number, or part of a date, yet to be scaled (`hpo.data.rescaling`); where missing, the train rows' median."""

    kind: ClassVar[str] = "number"
    width: ClassVar[int] = 1
    name: str
    part: str = ""
    fill: float
    scale: Scale

    def write(self, values: Values, out: Out) -> None:
        """Fill `out`."""
        numbers = date_part(values, self.part) if self.part else values
        out[:, 0] = self.scale(np.where(np.isnan(numbers), self.fill, numbers))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cycle:
    """A part of a date that comes again, as sine and cosine; zeros where missing."""

    kind: ClassVar[str] = "cycle"
    width: ClassVar[int] = 2
    name: str
    part: str

    def write(self, values: Values, out: Out) -> None:
        """Fill `out`."""
        angles = date_part(values, self.part) * (2 * np.pi / PERIODS[self.part])
        out[:, 0], out[:, 1] = np.sin(angles), np.cos(angles)
        out[np.isnan(angles)] = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Missing:
    """1 where missing, else 0."""

    kind: ClassVar[str] = "missing"
    width: ClassVar[int] = 1
    name: str

    def write(self, values: Values, out: Out) -> None:
        """Fill `out`."""
        out[:, 0] = pd.isna(values)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rank:
    """From -1 for the lowest value to 1 for the highest; 0 where missing or unknown."""

    kind: ClassVar[str] = "rank"
    width: ClassVar[int] = 1
    name: str
    order: tuple[str, ...]

    def write(self, values: Values, out: Out) -> None:
        """Fill `out`."""
        ranks = np.append(np.linspace(-1, 1, len(self.order)), 0)
        out[:, 0] = ranks[places_of(self.order, values)]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Codes:
    """One input per number; zeros for any other."""

    kind: ClassVar[str] = "codes"
    name: str
    values: npt.NDArray[np.float64]

    @property
    def width(self) -> int:
        """One for each number."""
        return len(self.values)

    def write(self, values: Values, out: Out) -> None:
        """Fill `out`."""
        np.equal(values[:, None], self.values, out=out, casting="unsafe")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Categories:
    """One input per value, one for missing, and one that all other values share, where the train rows have such."""

    kind: ClassVar[str] = "categories"
    name: str
    values: tuple[str, ...]
    missing: bool = False
    shared: bool = False

    @property
    def width(self) -> int:
        """Of all together."""
        return len(self.values) + self.missing + self.shared

    def write(self, values: Values, out: Out) -> None:
        """Fill `out`."""
        out[:] = 0
        places = places_of(self.values, values)
        found = np.flatnonzero(places >= 0)
        out[found, places[found]] = 1
        absent = pd.isna(values)
        if self.missing:
            out[absent, len(self.values)] = 1
        if self.shared:
            out[(places < 0) & ~absent, -1] = 1


Input = Number | Cycle | Missing | Rank | Codes | Categories
INPUTS: dict[str, type[Input]] = {each.kind: each for each in (Number, Cycle, Missing, Rank, Codes, Categories)}


def fitted_inputs(column: InputColumn, train: Values) -> list[Input]:
    """What a column becomes, by its values in the train rows, each as often as it was drawn."""
    if column.kind == "number":
        return [*_numbers(column.name, "", train), *_missing(column.name, train), *_codes(column, train)]
    if column.kind == "date":
        return [*_date(column.name, train), *_missing(column.name, train)]
    if column.kind in ("boolean", "ordered"):
        return _ranked(column, train)
    return _categories(column, train)


def date_part(values: Values, part: str) -> npt.NDArray[np.float64]:
    """The year, days since 1970 (`age`), or a part that comes again, from 0 on; NaN where missing."""
    days = values.astype("datetime64[D]")
    months = values.astype("datetime64[M]")
    whole: Values
    match part:
        case "year":
            whole = values.astype("datetime64[Y]")
        case "age":
            return _float(values) / DAY
        case "month":
            return _float(months) % PERIODS[part]
        case "day":
            whole = days - months.astype("datetime64[D]")
        case "weekday":
            return (_float(days) + 3) % PERIODS[part]  # 1970 began with a Thursday
        case _:
            whole = values - days.astype(values.dtype)
    return _float(whole)


def _float(values: Values) -> npt.NDArray[np.float64]:
    """Dates and spans as numbers of their unit."""
    numbers = values.astype(np.int64).astype(np.float64)
    numbers[np.isnat(values)] = np.nan
    return numbers


def _numbers(name: str, part: str, train: Values) -> Iterator[Input]:
    """The number, where it varies."""
    ordered = np.sort(train[~np.isnan(train)])
    if not len(ordered) or ordered[0] == ordered[-1]:
        return
    scale = fitted_scale(ordered)
    ends = scale(ordered[[0, -1]]).astype(np.float32)
    if ends[0] < ends[1]:
        yield Number(name=name, part=part, fill=float(np.median(ordered)), scale=scale)


def _missing(name: str, train: Values) -> list[Input]:
    count = int(pd.isna(train).sum())
    return [Missing(name=name)] if 0 < count < len(train) else []


def _codes(column: InputColumn, train: Values) -> list[Input]:
    if not column.codes:
        return []
    values, counts = np.unique(train[~np.isnan(train)], return_counts=True)
    frequent = np.sort(values[np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]])
    return [Codes(name=column.name, values=frequent)] if len(frequent) > 1 else []


def _date(name: str, train: Values) -> Iterator[Input]:
    for part in ("year", "age"):
        yield from _numbers(name, part, date_part(train, part))
    for part in PERIODS:
        found = date_part(train, part)
        if len(np.unique(found[~np.isnan(found)])) > 1:
            yield Cycle(name=name, part=part)


def _ranked(column: InputColumn, train: Values) -> list[Input]:
    counts = _counts(train)
    order = column.order or tuple(sorted(counts))
    ranks: list[Input] = [Rank(name=column.name, order=order)] if len(counts) > 1 else []
    steps: list[Input] = []
    if column.kind == "ordered" and 2 < len(counts) <= MAX_STEPS:
        steps = [Categories(name=column.name, values=tuple(value for value in order if value in counts))]
    return [*ranks, *_missing(column.name, train), *steps]


def _categories(column: InputColumn, train: Values) -> list[Input]:
    counts = _counts(train)
    absent = len(train) > sum(counts.values())
    if len(counts) + absent < 2:
        return []
    most = MAX_CATEGORIES - absent
    frequent = sorted(counts, key=lambda value: (-counts[value], value))
    shared = len(frequent) > most
    values = tuple(sorted(frequent[: most - shared]))
    return [Categories(name=column.name, values=values, missing=absent, shared=shared)]


def _counts(train: Values) -> Counter[str]:
    codes, values = pd.factorize(train)
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def places_of(known: Sequence[str], values: Values) -> npt.NDArray[np.intp]:
    """The place of each value among the known ones, -1 for none of them."""
    index = pd.Index(np.array(known, dtype=object))
    places: npt.NDArray[np.intp] = index.get_indexer(pd.Index(values))
    return places
