"""A search space: an ordered list of dimensions, between values by name and vectors."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.errors import SpaceError
from hpo_spaces.conditions import check_conditions, is_active
from hpo_spaces.dimensions import NAME, Dimension, Ordered, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Params = Mapping[str, Any]
"""Values by name, each as its dimension has it; only those of dimensions whose condition holds."""
NEUTRAL = 0.5
"""Every coordinate of a dimension whose condition does not hold."""


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What a study searches.

    Attributes:
        name: shown in reports.
        dimensions: at least one, with different names; their order is the order of the vector.
        settings: JSON values the space was made with, stored with a study: {"units": 500}.
        starts: points that a study tries first, before the sampler knows anything; good guesses, if there are any.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    starts: tuple[Params, ...] = ()

    def __new__(cls, *_: object, **fields: object) -> Self:
        """Refuse what only a space of networks has."""
        if cls is SearchSpace and "architecture" in fields:
            raise SpaceError(
                "a SearchSpace has dimensions only, got architecture; write MlpSpace(..., architecture=...)"
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise SpaceError(
                f"a space's name must be 1 to 100 letters, digits, '_' or '-' and start with a letter, "
                f"got {self.name!r}; rename it"
            )
        object.__setattr__(self, "dimensions", _checked_dimensions(self.name, self.dimensions))
        object.__setattr__(self, "settings", _checked_settings(self.name, self.settings))
        for start in self.starts:
            self.encode(start)

    @property
    def size(self) -> int:
        """Length d of the vector."""
        return sum(dimension.size for dimension in self.dimensions)

    def encode(self, params: Params) -> NDArray[np.float64]:
        """Return the vector in [0, 1]^d, shape (d,); SpaceError names the dimension that is missing, unknown,
        inactive or outside its range."""
        self._check_names(params)
        return np.concatenate(
            [d.encode(params[d.name]) if d.name in params else (NEUTRAL,) * d.size for d in self.dimensions]
        )

    def decode(self, vector: ArrayLike) -> dict[str, Value]:
        """Return the values by name for d numbers, shape (d,), clipped to [0, 1]; SpaceError where there are
        more or fewer or one of them is not finite. Those of inactive dimensions change nothing."""
        numbers = np.asarray(vector, dtype=np.float64)
        infinite = np.count_nonzero(~np.isfinite(numbers))
        if numbers.shape != (self.size,) or infinite:
            raise SpaceError(
                f"space {self.name!r}: a vector must hold {self.size} finite numbers, got "
                f"shape {numbers.shape} with {infinite} not finite; make it with encode"
            )
        params: dict[str, Value] = {}
        start = 0
        for dimension in self.dimensions:
            if is_active(dimension, params):
                params[dimension.name] = dimension.decode(numbers[start : start + dimension.size].tolist())
            start += dimension.size
        return params

    def draw(self, suggest: Callable[[str, "BaseDistribution"], Any]) -> dict[str, Value]:
        """Return a point of what `suggest(name, distribution)` answers for one active dimension after another,
        with their `sampling_distributions`."""
        params: dict[str, Value] = {}
        distributions = self.sampling_distributions()
        for d in self.dimensions:
            if is_active(d, params):
                value = suggest(d.name, distributions[d.name])
                params[d.name] = d.choices[int(value)] if isinstance(d, Ordered) else value
        return params

    def distributions(self) -> dict[str, "BaseDistribution"]:
        """Return Optuna's distributions by name; Optuna's parameters are the values themselves."""
        return {dimension.name: dimension.distribution() for dimension in self.dimensions}

    def sampling_distributions(self) -> dict[str, "BaseDistribution"]:
        """Return `distributions` with ordered dimensions as the index of the choice, for samplers."""
        return {d.name: d.index_distribution() if isinstance(d, Ordered) else d.distribution() for d in self.dimensions}

    def to_sampling(self, params: Params) -> dict[str, Value]:
        """Return `params` with ordered choices as their index, to go with `sampling_distributions`."""
        self._check_names(params)
        return {
            d.name: d.index(params[d.name]) if isinstance(d, Ordered) else params[d.name]
            for d in self.dimensions
            if d.name in params
        }

    def describe(self) -> dict[str, Any]:
        """Return name, settings and dimensions as plain JSON values."""
        return {
            "name": self.name,
            "settings": dict(self.settings),
            "dimensions": [dimension.describe() for dimension in self.dimensions],
        }

    def _check_names(self, params: Params) -> None:
        """Raise SpaceError where `params` do not hold the active dimensions, all of them and no others."""
        for dimension in self.dimensions:
            given, active = dimension.name in params, is_active(dimension, params)
            if active and not given:
                raise SpaceError(
                    f"dimension {dimension.name!r}: a value is required, got none; add it to the parameters"
                )
            if given and not active:
                assert dimension.when is not None
                other, choices = dimension.when
                raise SpaceError(
                    f"dimension {dimension.name!r}: there is a value only where {other!r} is one of {list(choices)}, "
                    f"got {params[dimension.name]!r} with {params.get(other)!r}; remove it, or correct {other!r}"
                )
        names = {dimension.name for dimension in self.dimensions}
        for name in sorted(params.keys() - names):
            raise SpaceError(
                f"parameters must name dimensions of space {self.name!r}, got {name!r}; remove it "
                f"(there are {', '.join(sorted(names))})"
            )


def changed_dimensions(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs between two `describe()` results; empty only where they are equal.

    Dimensions that were added, removed, changed or moved come by their names; other differences as
    "setting units" and "name of the space".
    """
    before = {fields["name"]: fields for fields in stored["dimensions"]}
    after = {fields["name"]: fields for fields in now["dimensions"]}
    kept = zip((n for n in before if n in after), (n for n in after if n in before), strict=True)
    moved = {name for name, other in kept if name != other}
    changed = [n for n in {**before, **after} if n in moved or before.get(n) != after.get(n)]
    old, new = stored["settings"], now["settings"]
    changed += [f"setting {key}" for key in {**old, **new} if old.get(key, ...) != new.get(key, ...)]
    return changed + ["name of the space"] * (stored["name"] != now["name"])


def space_changes(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two `describe()` results, in words: `dimension 'dropout': high 0.5 -> 0.7`."""
    before = {fields["name"]: fields for fields in stored["dimensions"]}
    after = {fields["name"]: fields for fields in now["dimensions"]}
    lines = []
    for name in changed_dimensions(stored, now):
        if name not in before and name not in after:
            key = name.removeprefix("setting ")
            old, new = (stored["name"], now["name"]) if name == "name of the space" else _both(stored, now, key)
            lines.append(f"{name}: {old!r} -> {new!r}")
        elif name not in after:
            lines.append(f"dimension {name!r}: removed")
        elif name not in before:
            lines.append(f"dimension {name!r}: new")
        else:
            old, new = before[name], after[name]
            fields = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            changes = ", ".join(f"{key} {old.get(key)} -> {new.get(key)}" for key in fields)
            lines.append(f"dimension {name!r}: {changes or 'in another place'}")
    return lines


def _both(stored: Mapping[str, Any], now: Mapping[str, Any], key: str) -> tuple[Any, Any]:
    return stored["settings"].get(key), now["settings"].get(key)


def _checked_dimensions(space: str, dimensions: object) -> tuple[Dimension, ...]:
    if not isinstance(dimensions, Sequence) or not dimensions:
        raise SpaceError(f"space {space!r}: there must be at least one dimension, got {dimensions!r}; add one")
    seen: set[str] = set()
    for dimension in dimensions:
        if isinstance(dimension, type) or not isinstance(dimension, Dimension):
            raise SpaceError(
                f"space {space!r}: dimensions must be Float, LogFloat, Integer, Ordered or Categorical, "
                f"got {dimension!r}; make it one of these"
            )
        if dimension.name in seen:
            raise SpaceError(f"dimension {dimension.name!r}: names must differ, got it twice; rename one")
        seen.add(dimension.name)
    check_conditions(dimensions)
    return tuple(dimensions)


def _checked_settings(space: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what JSON makes of the settings, so that a stored description compares equal."""
    try:
        values = json.loads(json.dumps(dict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SpaceError(
            f"space {space!r}: settings must be finite JSON values by name, got {settings!r}: {error}; change them"
        ) from error
    return dict(values)
