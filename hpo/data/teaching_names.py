"""Names of the generated teaching sets, and what may be said of them. Standard library only: supervisors import it."""

import re
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Self

from hpo.data.fingerprint import BUILTIN_NAMES, TEACHING_NAMES
from hpo.errors import DataError, use

MOST_ROWS = 10_000_000
_ABOUT = {
    "rows": f"a whole number from 10 to {MOST_ROWS:,}",
    "noise": "a number from 0 to 1",
    "seed": "a whole number from 0 to 4,294,967,295",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Teaching:
    """A generated set: its name, so many rows, with so much noise."""

    name: str
    rows: int = 500
    noise: float = 0.1
    seed: int = 0

    @classmethod
    def of(cls, source: str) -> Self:
        """What a text such as `xor:rows=200,noise=0.2` asks for; DataError where there is no such thing."""
        name, _, said = source.partition(":")
        given: dict[str, str] = {}
        for part in (part for part in said.split(",") if part.strip()):
            option, equals, value = (piece.strip() for piece in part.partition("="))
            if option not in _ABOUT or not equals:
                close = get_close_matches(option, _ABOUT, n=1)
                remedy = (
                    f"did you mean {close[0]}=...?" if close else f"use for instance {use('data', f'{name}:rows=500')}"
                )
                raise _wrong(f"the options of {name} are {', '.join(_ABOUT)}, got {part.strip()!r}; {remedy}")
            if option in given:
                raise _wrong(f"an option of {name} is given once, got {option} twice; leave one away")
            given[option] = value
        rows, noise, seed = (given.get(field.name, str(field.default)) for field in fields(cls)[1:])
        return cls(
            name=name,
            rows=_whole("rows", rows, 10, MOST_ROWS),
            noise=_share(noise),
            seed=_whole("seed", seed, 0, 2**32 - 1),
        )

    def __str__(self) -> str:
        return f"{self.name}:rows={self.rows},noise={self.noise:g},seed={self.seed}"


def builtin_source(source: str) -> str | None:
    """The full name of the built-in or generated set that a text names; None for anything else, as a file is.

    DataError for a generated set with options that it does not have.
    """
    if source in BUILTIN_NAMES and not Path(source).exists():
        return source
    if source.partition(":")[0] in TEACHING_NAMES and not Path(source).exists():
        return str(Teaching.of(source))
    return None


def _whole(option: str, value: str, least: int, most: int) -> int:
    number = int(value) if re.fullmatch(r"\d{1,15}", value) else -1
    if not least <= number <= most:
        raise _wrong(f"{option} must be {_ABOUT[option]}, got {value!r}; use {option}={max(least, min(number, most))}")
    return number


def _share(value: str) -> float:
    number = float(value) if re.fullmatch(r"\d{0,9}\.?\d{1,9}", value) else -1.0
    if not 0 <= number <= 1:
        raise _wrong(f"noise must be {_ABOUT['noise']}, got {value!r}; use noise=0.1")
    return number


def _wrong(message: str) -> DataError:
    return DataError(message, setting="data")
