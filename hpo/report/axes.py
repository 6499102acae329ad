"""How each dimension of a search space is drawn: its title, its scale and its ticks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hpo_spaces.dimensions import Categorical, Dimension, Float, Integer, LogFloat, Ordered, Value
from hpo_storage.records import StudyRecord

from hpo.words import value_text

_KINDS: dict[str, type] = {
    "float": Float,
    "log_float": LogFloat,
    "integer": Integer,
    "ordered": Ordered,
    "categorical": Categorical,
}
MOST_DECADES_WITH_STEPS = 2.5
"""A longer logarithmic axis has ticks at powers of ten alone, a shorter one also at 2 and 5 times those."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One dimension as people read it.

    Attributes:
        name: of the parameter.
        title: shown; "batch size" for `batch_exponent`, whose powers of two are shown.
        scale: of the positions; categories lie at 0, 1, ….
        low: least position.
        high: greatest position.
        ticks: (position, text); empty where plotly may choose.
    """

    name: str
    title: str
    scale: Literal["linear", "log", "categories"]
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()
    choices: tuple[Value, ...] = ()

    def shown(self, value: Value) -> Value:
        """The value as people read it: 64 for a batch exponent of 6."""
        return 2 ** int(value) if _is_exponent(self.name) else value

    def text(self, value: Value | None) -> str:
        """The value as text; empty for None."""
        return "" if value is None else value_text(self.shown(value))

    def position(self, value: Value | None) -> float:
        """Where the value lies; NaN for None and what is not among the choices."""
        if value is None:
            return math.nan
        if self.scale == "categories":
            return float(self.choices.index(value)) if value in self.choices else math.nan
        return float(self.shown(value))


def dimensions(study: StudyRecord) -> tuple[Dimension, ...]:
    """The dimensions that the study was created with, rebuilt from its spec."""
    return tuple(_dimension(fields) for fields in study.spec["space"]["description"]["dimensions"])


def axes(study: StudyRecord) -> tuple[Axis, ...]:
    """One per dimension, in the space's order."""
    return tuple(_axis(dimension) for dimension in dimensions(study))


def log_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Round positions in [low, high], both positive: (0.001, "0.001"), …; the ends where there are none."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) <= MOST_DECADES_WITH_STEPS else (1,)
    positions = [step * 10.0**decade for decade in decades for step in steps]
    within = [p for p in positions if low * (1 - 1e-9) <= p <= high * (1 + 1e-9)]
    if len(within) < 2:
        within = sorted({low, *within, high})
    return tuple((position, f"{position:.3g}") for position in within)


def _dimension(fields: Mapping[str, Any]) -> Dimension:
    arguments = {key: value for key, value in fields.items() if key != "kind"}
    if "choices" in arguments:
        arguments["choices"] = tuple(arguments["choices"])
    dimension: Dimension = _KINDS[fields["kind"]](**arguments)
    return dimension


def _axis(dimension: Dimension) -> Axis:
    name = dimension.name
    title = "batch size" if _is_exponent(name) else name.replace("_", " ")
    if isinstance(dimension, Ordered | Categorical):
        choices = dimension.choices
        ticks = tuple((float(i), value_text(choice)) for i, choice in enumerate(choices))
        return Axis(
            name=name,
            title=title,
            scale="categories",
            low=0.0,
            high=len(choices) - 1.0,
            ticks=ticks,
            choices=choices,
        )
    assert isinstance(dimension, Float | LogFloat | Integer)
    low, high = float(dimension.low), float(dimension.high)
    if isinstance(dimension, LogFloat):
        return Axis(name=name, title=title, scale="log", low=low, high=high, ticks=log_ticks(low, high))
    if _is_exponent(name):
        powers = tuple((2.0**e, str(2**e)) for e in range(int(low), int(high) + 1))
        return Axis(name=name, title=title, scale="log", low=2**low, high=2**high, ticks=powers)
    return Axis(name=name, title=title, scale="linear", low=low, high=high)


def _is_exponent(name: str) -> bool:
    return name == "batch_exponent"
