"""Conditions: a dimension that has one has a value only where an earlier choice is one of those named."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from hpo.errors import SpaceError

if TYPE_CHECKING:
    from hpo_spaces.dimensions import Dimension

Condition = tuple[str, tuple[bool | int | float | str, ...]]
"""The name of an earlier dimension, and some of its choices."""


def checked_condition(name: str, when: object) -> Condition | None:
    """Return the condition of dimension `name` as a tuple; SpaceError where it has another form."""
    match when:
        case None:
            return None
        case [str() as other, [_, *_] as choices]:
            return other, tuple(cast("Sequence[str]", choices))  # `check_conditions` compares them with what there is
    raise SpaceError(
        f"dimension {name!r}: when must be the name of an earlier dimension and a list of its choices, "
        f"got {when!r}; write it as when=('optimizer', ('sgd', 'rmsprop'))"
    )


def check_conditions(dimensions: Sequence["Dimension"]) -> None:
    """Raise SpaceError where a condition names what is not there before it, or has no such choices."""
    earlier: dict[str, Dimension] = {}
    for dimension in dimensions:
        if dimension.when is not None:
            _check(dimension.name, dimension.when, earlier)
        earlier[dimension.name] = dimension


def is_active(dimension: "Dimension", params: Mapping[str, Any]) -> bool:
    """Whether the dimension has a value, given the values by name of the earlier ones that have one."""
    if dimension.when is None:
        return True
    other, choices = dimension.when
    return other in params and params[other] in choices


def _check(name: str, when: Condition, earlier: Mapping[str, "Dimension"]) -> None:
    other, wanted = when
    if other not in earlier:
        raise SpaceError(
            f"dimension {name!r}: when must name a dimension that comes before it, got {other!r}; "
            f"use one of {list(earlier)}, or move that dimension up"
        )
    choices = getattr(earlier[other], "choices", None)
    if choices is None:
        raise SpaceError(
            f"dimension {name!r}: when must name an Ordered or Categorical dimension, got {other!r}, "
            f"a {type(earlier[other]).__name__}; make that one of these"
        )
    for choice in wanted:
        if choice not in choices:
            raise SpaceError(
                f"dimension {name!r}: when must list choices of {other!r}, got {choice!r}; choose from {list(choices)}"
            )
