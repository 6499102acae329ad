"""How a setting is declared, and what its values may be. `hpo.settings` holds the settings themselves."""

import codecs
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from enum import StrEnum
from os import PathLike
from types import NoneType, UnionType
from typing import Any, Literal, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

from hpo.errors import StudyError, use
from hpo.words import comma_separated, shown

Duration = NewType("Duration", float)
"""Seconds; given as a number, or as a text such as 10m; infinite for none."""
Pairs = tuple[tuple[str, str], ...]
"""A mapping, by name; given as a dict, as a list of pairs, or as texts like `zip=category`."""


class Group(StrEnum):
    """What settings are about; the headings under which they are listed."""

    RUN = "Work"
    LIMITS = "Limits (90, 10m, 2h, 1d, or none to lift one)"
    DATA = "Data (fixed for a study)"
    JUDGE = "How trials are judged (fixed for a study)"
    SEARCH = "Search (fixed for a study)"


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What is known of a setting beside its name, type and default.

    Attributes:
        help: what it means, a sentence or two.
        group: see `Group`.
        unit: what a number counts.
        example: how a value is called where it is asked for: COLUMN.
        otherwise: what happens where it is not given, if that is no constant.
        several: whether it may name several columns.
        canonical: how a text is written that has several names; raises StudyError for one that is none.
        pair: whether `NAME=VALUE` is one that a mapping may hold; raises StudyError where it is not.
        rule: what a text may be.
        least, most: bounds of a number, inclusive; above, below: exclusive ones.
        listed: whether it is shown where options are listed.
    """

    help: str
    group: Group
    unit: str = ""
    example: str = ""
    otherwise: str = ""
    several: bool = False
    canonical: Callable[[str], str] | None = None
    pair: Callable[[str, str], None] | None = None
    rule: str = ""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    listed: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """A group of settings that is handed on as one value; each is checked when it is made."""

    def __post_init__(self) -> None:
        for setting in settings_of(type(self)):
            value = getattr(self, setting.name)
            if value is not None:
                object.__setattr__(self, setting.name, setting.checked(value))


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; `type` is that of a value, never optional."""

    name: str
    type: Any
    default: Any
    about: About

    @property
    def choices(self) -> tuple[str, ...]:
        """The values there are, where there are few."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def accepted(self) -> Any:  # noqa: ANN401 - a type
        """The type of what may be given, for who reads it."""
        if self.type is Duration:
            return float | str
        if self.type == Pairs:
            return dict[str, str] | list[str]
        return str | list[str] if self.about.several else self.type

    @property
    def allowed(self) -> str:
        """What its values may be, in words."""
        return self._rule

    @property
    def text(self) -> str:
        """Help with unit and default."""
        default = self.about.otherwise or _default_text(self.default)
        parts = [self.about.help, f"In {self.about.unit}." if self.about.unit else ""]
        return " ".join(part for part in (*parts, f"Default: {default}." if default else "") if part)

    def checked(self, value: object) -> Any:  # noqa: ANN401 - of the setting's type
        """The value as it is used: what has a plain meaning is converted; StudyError for anything else."""
        plain = _plain(value)
        found = self._converted(plain)
        if found is None:
            raise StudyError(
                f"{use(self.name)} must be {self._rule}, got {shown(plain)}{self._close(plain)}", setting=self.name
            )
        return found if self.about.canonical is None else self.about.canonical(str(found))

    def _converted(self, value: object) -> object:
        if self.choices:
            return value if isinstance(value, str) and value in self.choices else None
        if self.type is Duration:
            return _seconds(value)
        if self.type == Pairs:
            return _pairs(value, self.about.pair)
        if self.about.several and isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return _joined(value)
        if self.about.rule and not str(value).strip():
            return None
        convert = {bool: _boolean, int: _whole, float: _number, str: _text}[self.type]
        found = convert(value)
        return found if found is None or isinstance(found, bool | str) or self._within(found) else None

    def _within(self, number: float) -> bool:
        about = self.about
        return (
            (about.least is None or number >= about.least)
            and (about.most is None or number <= about.most)
            and (about.above is None or number > about.above)
            and (about.below is None or number < about.below)
        )

    @property
    def _rule(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.type is Duration:
            return "a time above 0, such as 90, 10m, 2h or 1d, or none"
        if self.about.several and not self.about.rule:
            return "the name of a column, or a list of several"
        if self.about.rule or self.about.example == "COLUMN":
            return self.about.rule or "the name of a column"
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[self.type]
        if self.about.least is not None and self.about.most is not None:
            return f"{kind} from {_number_text(self.about.least)} to {_number_text(self.about.most)}"
        bounds = {
            "of at least": self.about.least,
            "of at most": self.about.most,
            "above": self.about.above,
            "below": self.about.below,
        }
        limits = " and ".join(f"{word} {_number_text(bound)}" for word, bound in bounds.items() if bound is not None)
        return f"{kind} {limits}".strip()

    def _close(self, value: object) -> str:
        """A value to use instead."""
        close = get_close_matches(str(value).lower(), self.choices, n=1)
        if close:
            return f"; did you mean {use(self.name, close[0])}?"
        whole = _whole(value) if self.type is int else None
        if whole is not None and self.about.least is not None and whole < self.about.least:
            return f"; use {use(self.name, int(self.about.least))} or more"
        return f"; change {use(self.name)}"


SettingsT = TypeVar("SettingsT", bound=Settings)


def settings_of(owner: type[Settings]) -> tuple[Setting, ...]:
    """The settings of a group, in their order; fields that say nothing about themselves are none."""
    if owner not in _DECLARED:
        hints = get_type_hints(owner, include_extras=True)
        declared = ((field, get_args(hints[field.name])) for field in fields(owner))
        _DECLARED[owner] = tuple(
            _setting(field.name, hint[0], field.default, hint[-1])
            for field, hint in declared
            if hint and isinstance(hint[-1], About)
        )
    return _DECLARED[owner]


_DECLARED: dict[type[Settings], tuple[Setting, ...]] = {}


def _setting(name: str, kind: object, default: object, about: About) -> Setting:
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    return Setting(name, kind, None if default is MISSING else default, about)


def taken(group: type[SettingsT], given: Mapping[str, Any], before: SettingsT | None = None) -> SettingsT:
    """The group with what is given of it; the rest is as before, or has its default."""
    names = [setting.name for setting in settings_of(group)]
    values = {} if before is None else {name: getattr(before, name) for name in names}
    return group(**{**values, **{name: given[name] for name in names if name in given}})


def to_json(group: Settings) -> dict[str, Any]:
    """Plain values by name; the group's class takes them as keywords."""
    return {setting.name: getattr(group, setting.name) for setting in settings_of(type(group))}


def encoding_name(name: str) -> str:
    """The name under which Python knows the encoding; StudyError where it does not."""
    try:
        "a".encode(name)  # looks the name up, and refuses codecs that are not of text
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise StudyError(
            f"an encoding must be one that Python knows, such as utf-8, utf-16, cp1252 or latin-1, got {name!r}; "
            f"use the one that the file was saved in",
            setting="encoding",
        ) from None


KINDS = ("number", "category", "ordered", "boolean", "date", "text")
"""What a person may say that a column is."""
_MARKS = {"number": (",", "."), "date": ("%d.%m.%Y",), "ordered": ("low,middle,high",)}
"""What may follow a kind and a colon: the decimal mark, the format, the values with the lowest first."""


def column_kind(column: str, kind: str) -> None:
    """StudyError unless `kind` is one that a column may be said to have: `category`, `date:%d.%m.%Y`."""
    name, colon, more = kind.partition(":")
    if name not in KINDS:
        close = get_close_matches(name.lower(), KINDS, n=1)
        remedy = f"did you mean {use('kind', {column: close[0]})}?" if close else "use one of these"
        raise StudyError(
            f"the kind of a column must be one of {', '.join(KINDS)}, got {kind!r} for {column!r}; {remedy}",
            setting="kind",
        )
    examples = _MARKS.get(name, ())
    fits = {"number": more in examples, "date": "%" in more, "ordered": bool(more)}.get(name, False)
    if colon and not fits:
        said = " or ".join(use("kind", {column: f"{name}:{example}"}) for example in examples)
        remedy = f"use {said}" if said else f"use {use('kind', {column: name})}"
        raise StudyError(
            f"what follows a kind must say more about it, got {kind!r} for {column!r}; {remedy}", setting="kind"
        )


def _pairs(value: object, check: Callable[[str, str], None] | None) -> Pairs | None:
    """The pairs by name; None for what are none, or where a name has several values."""
    given = list(value.items()) if isinstance(value, Mapping) else [value] if isinstance(value, str) else value
    if not isinstance(given, Sequence):
        return None
    found = dict[str, str]()
    for pair in given:
        name, mark, text = pair.partition("=") if isinstance(pair, str) else (None, None, None)
        if isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2:
            name, text = (_text(_plain(part)) for part in pair)
            mark = "="
        if not name or not mark or not text or found.setdefault(name, text) != text:
            return None
        if check is not None:
            check(name, text)
    return tuple(sorted(found.items()))


def _default_text(default: object) -> str:
    match default:
        case None | ():
            return ""
        case bool():
            return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _plain(value: object) -> object:
    """Python's own value for one of numpy's, and a path's text."""
    if isinstance(value, type):
        return value
    if isinstance(value, PathLike):
        return value.__fspath__()
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    return value


def _boolean(value: object) -> bool | None:
    words = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(value, str):
        return words.get(value.strip().lower())
    return bool(value) if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _whole(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\s*[+-]?[0-9]{1,30}\s*", value) else None
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _text(value: object) -> str | None:
    """A text; a number names the column that is called so."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _joined(values: Sequence[object]) -> str | None:
    """The names of several columns as one text."""
    names = [name for value in values if (name := _text(_plain(value))) is not None]
    return comma_separated(names) if names and len(names) == len(values) else None


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
NO_LIMIT = "none"


def _seconds(value: object) -> float | None:
    """Seconds in `90`, `90s`, `10m`, `2h` or `1d`; infinity for `none`."""
    if isinstance(value, str):
        text = value.strip().lower()
        if text == NO_LIMIT:
            return math.inf
        found = re.fullmatch(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([smhd]?)", text)
        value = float(found[1]) * _UNITS[found[2] or "s"] if found else None
    number = _number(value) if isinstance(value, int | float) else None
    if isinstance(value, float) and value == math.inf:
        return value
    return number if number is not None and number > 0 else None


def _number_text(number: float) -> str:
    """`100`, `0.5`: whole numbers in full."""
    return str(int(number)) if float(number).is_integer() else f"{number:g}"
