"""The five kinds of dimension: each maps its values to and from coordinates in [0, 1].

Numbers take one coordinate. `Float` is even in the number, `LogFloat` in its logarithm; the values of
`Integer` and `Ordered` lie in the middles of equal cells, so that uniform coordinates give uniform values.
`Categorical` takes one coordinate per choice (one-hot). Decoding accepts any finite numbers and clips.
`low == high` and a single choice are allowed: they fix a value without removing its name from the space.

`when=("optimizer", ("sgd", "rmsprop"))` makes any of them conditional: it has a value only where the earlier
dimension `optimizer`, with choices, has one of these two.
"""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hpo.errors import SpaceError
from hpo_spaces.conditions import Condition, checked_condition

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = bool | int | float | str
"""What a parameter can be: anything that JSON and Optuna store unchanged."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
LARGEST_INTEGER = 2**48
"""Bound of `Integer` dimensions: above about 2**51 a coordinate in double precision is no longer exact."""


@runtime_checkable
class Dimension(Protocol):
    """One named parameter of a search space."""

    @property
    def name(self) -> str:
        """The parameter's name, unique in its space."""

    @property
    def when(self) -> Condition | None:
        """Where it has a value: an earlier dimension and some of its choices; None for everywhere."""

    @property
    def size(self) -> int:
        """Coordinates in the vector, at least 1."""

    def encode(self, value: Value) -> tuple[float, ...]:
        """Return `size` coordinates in [0, 1]; SpaceError where `value` is not in the dimension."""

    def decode(self, coordinates: Sequence[float]) -> Value:
        """Return a valid value for any `size` finite numbers, clipped to [0, 1]."""

    def distribution(self) -> "BaseDistribution":
        """Return Optuna's distribution of the values themselves."""

    def describe(self) -> dict[str, Any]:
        """Return kind and all fields as plain JSON values."""


@dataclass(frozen=True, slots=True)
class Float:
    """A number in [low, high]. Decoding an encoded value errs by less than 1e-12 of the larger of the value
    and, where the range reaches below zero, of the range's width."""

    name: str
    low: float
    high: float
    when: Condition | None = None

    def __post_init__(self) -> None:
        _set_float_bounds(self)

    @property
    def size(self) -> int:
        """1."""
        return 1

    def encode(self, value: Value) -> tuple[float, ...]:
        """Return how far `value` lies between low and high."""
        return (_fraction(_number_within(self, value), self.low, self.high),)

    def decode(self, coordinates: Sequence[float]) -> float:
        """Return the number at that fraction of the range."""
        number = self.low + _unit(coordinates[0]) * (self.high - self.low)
        return min(max(number, self.low), self.high)

    def distribution(self) -> "BaseDistribution":
        """Return FloatDistribution(low, high)."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high)

    def describe(self) -> dict[str, Any]:
        """Return kind, name, bounds and any condition."""
        return _description(self, "float", {"low": self.low, "high": self.high})


@dataclass(frozen=True, slots=True)
class LogFloat:
    """A positive number in [low, high], even in its logarithm."""

    name: str
    low: float
    high: float
    when: Condition | None = None

    def __post_init__(self) -> None:
        _set_float_bounds(self)
        if self.low <= 0.0:
            raise SpaceError(
                f"dimension {self.name!r}: low must be positive on a logarithmic scale, got {self.low}; "
                f"raise it or use Float"
            )

    @property
    def size(self) -> int:
        """1."""
        return 1

    def encode(self, value: Value) -> tuple[float, ...]:
        """Return how far the logarithm of `value` lies between those of low and high."""
        number = _number_within(self, value)
        return (_fraction(math.log(number), math.log(self.low), math.log(self.high)),)

    def decode(self, coordinates: Sequence[float]) -> float:
        """Return the number at that fraction of the logarithmic range."""
        low = math.log(self.low)
        exponent = low + _unit(coordinates[0]) * (math.log(self.high) - low)
        return min(max(math.exp(exponent), self.low), self.high)

    def distribution(self) -> "BaseDistribution":
        """Return FloatDistribution(low, high, log=True)."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=True)

    def describe(self) -> dict[str, Any]:
        """Return kind, name, bounds and any condition."""
        return _description(self, "log_float", {"low": self.low, "high": self.high})


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number in [low, high], both included."""

    name: str
    low: int
    high: int
    when: Condition | None = None

    def __post_init__(self) -> None:
        _set_name_and_condition(self)
        for role in ("low", "high"):
            bound = _whole(getattr(self, role))
            if bound is None or abs(bound) > LARGEST_INTEGER:
                raise SpaceError(
                    f"dimension {self.name!r}: {role} must be a whole number of at most 2**48 in size, "
                    f"got {getattr(self, role)!r}; use Float for anything else"
                )
            object.__setattr__(self, role, bound)
        _check_order(self.name, self.low, self.high)

    @property
    def size(self) -> int:
        """1."""
        return 1

    def encode(self, value: Value) -> tuple[float, ...]:
        """Return the middle of the value's cell."""
        number = _whole(value)
        if number is None or not self.low <= number <= self.high:
            raise SpaceError(
                f"dimension {self.name!r}: the value must be a whole number from {self.low} to {self.high}, "
                f"got {value!r}; choose one in that range"
            )
        return (_cell_middle(number - self.low, self.high - self.low + 1),)

    def decode(self, coordinates: Sequence[float]) -> int:
        """Return the whole number in whose cell the coordinate lies."""
        return self.low + _cell(coordinates[0], self.high - self.low + 1)

    def distribution(self) -> "BaseDistribution":
        """Return IntDistribution(low, high)."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high)

    def describe(self) -> dict[str, Any]:
        """Return kind, name, bounds and any condition."""
        return _description(self, "integer", {"low": self.low, "high": self.high})


@dataclass(frozen=True, slots=True)
class Ordered:
    """One of several choices that have an order: ("small", "medium", "large").

    Optuna has no such distribution. The choice itself is stored, as a categorical parameter, so that every
    tool shows it; samplers may be shown its index (`SearchSpace.to_sampling`), so that they know the order.
    """

    name: str
    choices: tuple[Value, ...]
    when: Condition | None = None

    def __post_init__(self) -> None:
        _set_choices(self)

    @property
    def size(self) -> int:
        """1."""
        return 1

    def encode(self, value: Value) -> tuple[float, ...]:
        """Return the middle of the choice's cell."""
        return (_cell_middle(self.index(value), len(self.choices)),)

    def decode(self, coordinates: Sequence[float]) -> Value:
        """Return the choice in whose cell the coordinate lies."""
        return self.choices[_cell(coordinates[0], len(self.choices))]

    def index(self, value: Value) -> int:
        """Return the place of `value` among the choices, from 0; SpaceError where it is none of them."""
        return _index(self.name, self.choices, value)

    def distribution(self) -> "BaseDistribution":
        """Return CategoricalDistribution(choices)."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def index_distribution(self) -> "BaseDistribution":
        """Return IntDistribution over the index of the choice."""
        from optuna.distributions import IntDistribution

        return IntDistribution(0, len(self.choices) - 1)

    def describe(self) -> dict[str, Any]:
        """Return kind, name, choices and any condition."""
        return _description(self, "ordered", {"choices": list(self.choices)})


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of several choices without an order."""

    name: str
    choices: tuple[Value, ...]
    when: Condition | None = None

    def __post_init__(self) -> None:
        _set_choices(self)

    @property
    def size(self) -> int:
        """One coordinate per choice."""
        return len(self.choices)

    def encode(self, value: Value) -> tuple[float, ...]:
        """Return 1 at the place of the choice and 0 elsewhere."""
        chosen = _index(self.name, self.choices, value)
        return tuple(float(place == chosen) for place in range(len(self.choices)))

    def decode(self, coordinates: Sequence[float]) -> Value:
        """Return the choice with the largest coordinate, the first of equal ones."""
        weights = [_unit(coordinate) for coordinate in coordinates]
        return self.choices[weights.index(max(weights))]

    def distribution(self) -> "BaseDistribution":
        """Return CategoricalDistribution(choices)."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def describe(self) -> dict[str, Any]:
        """Return kind, name, choices and any condition."""
        return _description(self, "categorical", {"choices": list(self.choices)})


def _description(dimension: Dimension, kind: str, fields: Mapping[str, object]) -> dict[str, Any]:
    """Return JSON values; the condition only where there is one."""
    condition = {} if dimension.when is None else {"when": [dimension.when[0], list(dimension.when[1])]}
    return {"kind": kind, "name": dimension.name, **fields, **condition}


def _unit(coordinate: float) -> float:
    """Clip to [0, 1]."""
    return min(max(float(coordinate), 0.0), 1.0)


def _fraction(number: float, low: float, high: float) -> float:
    """Return how far `number` lies between low and high; the middle where they are equal."""
    return _unit((number - low) / (high - low)) if high > low else 0.5


def _cell_middle(index: int, cells: int) -> float:
    return (index + 0.5) / cells


def _cell(coordinate: float, cells: int) -> int:
    return min(int(_unit(coordinate) * cells), cells - 1)


def _whole(value: object) -> int | None:
    """Return `value` as an int, None where it is not a whole number; truth values are not numbers here."""
    return None if isinstance(value, bool) or not isinstance(value, Integral) else int(value)


def _finite(value: object) -> float | None:
    """Return `value` as a float, None where it is not a finite number; truth values are not numbers here."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    with suppress(OverflowError):
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def _number_within(dimension: Float | LogFloat, value: Value) -> float:
    number = _finite(value)
    if number is None or not dimension.low <= number <= dimension.high:
        raise SpaceError(
            f"dimension {dimension.name!r}: the value must be a number from {dimension.low} to "
            f"{dimension.high}, got {value!r}; choose one in that range"
        )
    return number


def _index(name: str, choices: tuple[Value, ...], value: Value) -> int:
    if not isinstance(value, str | Real) or value not in choices:
        raise SpaceError(
            f"dimension {name!r}: the value must be one of {list(choices)}, got {value!r}; choose one of them"
        )
    return choices.index(value)


def _set_name_and_condition(dimension: Dimension) -> None:
    """Check the name and condition of a half-built dimension and make the condition's choices a tuple."""
    name: object = dimension.name
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise SpaceError(
            f"a dimension's name must be 1 to 100 letters, digits, '_' or '-' and start with a letter, "
            f"got {name!r}; rename it"
        )
    object.__setattr__(dimension, "when", checked_condition(name, dimension.when))


def _check_order(name: str, low: float, high: float) -> None:
    if low > high:
        raise SpaceError(f"dimension {name!r}: low must not be above high, got low {low} and high {high}; swap them")


def _set_float_bounds(dimension: Float | LogFloat) -> None:
    """Check the fields of a half-built dimension and make the bounds floats."""
    _set_name_and_condition(dimension)
    for role in ("low", "high"):
        bound = getattr(dimension, role)
        number = _finite(bound)
        if number is None:
            raise SpaceError(
                f"dimension {dimension.name!r}: {role} must be a finite number, got {bound!r}; give a bound"
            )
        object.__setattr__(dimension, role, number)
    _check_order(dimension.name, dimension.low, dimension.high)
    if not math.isfinite(dimension.high - dimension.low):
        raise SpaceError(
            f"dimension {dimension.name!r}: high - low must be finite, got low {dimension.low} and high "
            f"{dimension.high}; narrow the range"
        )


def _set_choices(dimension: Ordered | Categorical) -> None:
    """Check the fields of a half-built dimension and make the choices a tuple."""
    _set_name_and_condition(dimension)
    name = dimension.name
    choices: object = dimension.choices
    if isinstance(choices, str) or not isinstance(choices, Sequence) or not choices:
        raise SpaceError(
            f"dimension {name!r}: choices must be a list with at least one choice, got {choices!r}; add some"
        )
    for place, choice in enumerate(choices):
        if not isinstance(choice, Value) or (isinstance(choice, float) and not math.isfinite(choice)):
            raise SpaceError(
                f"dimension {name!r}: a choice must be a text, a finite number or a truth value, "
                f"got {choice!r}; name it by a text"
            )
        if choice in choices[:place]:
            raise SpaceError(f"dimension {name!r}: choices must differ, got {choice!r} twice; remove one")
    object.__setattr__(dimension, "choices", tuple(choices))
