"""What preparing a study's objective found out, and what a trial's network was. Standard library only.

Storage holds both as flat JSON. What an earlier version did not store has its default, and what a later one
stores besides is left unread.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class InputColumn:
    """A column of the table that the network learns from.

    Attributes:
        kind: number, category, ordered, boolean, date or text; numeric or text in studies of the first preparation.
        codes: whether its numbers are few whole ones, which may be codes: they become a number and categories.
        order: the values of an ordered column, the lowest first.
        note: what a person should know about how it was understood; it may hold marks.
    """

    name: str
    kind: str
    codes: bool = False
    order: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of an objective before its first trial; all but the replicates and the loss are of tables.

    Attributes:
        rows, features: of the table, and inputs of the network.
        task: `classification`, `multilabel` or `regression`.
        head, outputs: how a network's outputs become a prediction, and their number.
        classes, class_counts: their names (or the labels'), and the rows of each.
        target_mean, target_deviation: of a quantity, in its own units.
        loss_name, prior_loss: what trials are judged by, and that of the best prediction that is the same for all rows.
        notes: what a person should know about how the table was read; they may hold marks.
        replicates: of a fully evaluated trial.
        train_rows: of replicate 0.
        sha256: of the file; empty where there is none.
        most_train_rows: of the replicate with most, where that is not replicate 0.
    """

    rows: int | None = None
    features: int | None = None
    columns: tuple[InputColumn, ...] = ()
    task: str | None = None
    head: str = ""
    outputs: int = 0
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    target_mean: float | None = None
    target_deviation: float | None = None
    loss_name: str = "log loss"
    prior_loss: float | None = None
    notes: tuple[str, ...] = ()
    replicates: int = 1
    train_rows: int | None = None
    sha256: str = ""
    most_train_rows: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, of columns without what has its default; `from_json` is the inverse."""
        values: dict[str, Any] = {name: _plain(value) for name, value in asdict(self).items()}
        known = [
            {name: _plain(value) for name, value in each.items() if value or name == "name"}
            for each in values["columns"]
        ]
        return {**values, "columns": known}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`, of any version."""
        columns = tuple(InputColumn(**_known(InputColumn, column)) for column in values.get("columns", ()))
        return cls(**{**_known(cls, values), "columns": columns})


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialInfo:
    """The network of a trial; nothing is known of an objective without networks.

    Attributes:
        parameters: how many weights and biases there are.
        widths: units of the hidden layers.
        batch_size: rows per step.
    """

    parameters: int | None = None
    widths: tuple[int, ...] = ()
    batch_size: int | None = None

    def to_json(self) -> dict[str, Any]:
        """What is known, as plain values for JSON; `from_json` is the inverse."""
        return {name: _plain(value) for name, value in asdict(self).items() if value not in (None, ())}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`, of any version; what else an objective tells by these names is left unread."""
        return cls(**{name: value for name, value in _known(cls, values).items() if _is_info(name, value)})


class _OfAKind(Protocol):
    @property
    def kind(self) -> str: ...


def kinds_text(columns: Iterable[_OfAKind]) -> str:
    """How many columns are of which kind: `12 number, 3 category`."""
    counts = Counter(column.kind for column in columns)
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())


def _known(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the class has fields for, lists as tuples."""
    names = {field.name for field in fields(cls)}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in names}


def _is_info(name: str, value: object) -> bool:
    """Whether it is what a `TrialInfo` holds by this name."""
    if name == "widths":
        return isinstance(value, tuple) and all(isinstance(width, int) for width in value)
    return isinstance(value, int)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
