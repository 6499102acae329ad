"""`python -m hpo.data.check`: the child process that reads and understands a table without making a study of it.

It takes the request of `hpo.data.prepare`, of which it needs `data`, `evaluation` and `copy`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.data.prepare import main
from hpo.study.facts import InputColumn

if TYPE_CHECKING:
    import pandas as pd

    from hpo.data.inputs import Input
    from hpo.data.table import Table
    from hpo.data.target import Target
    from hpo.settings import EvaluationSpec

MOST_EXAMPLES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnView:
    """A column that becomes inputs: what it is, what it becomes, how many rows miss it, and some of its values."""

    name: str
    kind: str
    becomes: str
    missing: int
    values: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Understanding:
    """What was understood of a table.

    Attributes:
        rows: that have a target.
        table_columns: in the file, the target and what is left out included.
        task, reason: what is predicted, and why that is thought.
        classes: their names (or the labels'), and the rows of each.
        target_range, target_mean: of a quantity.
        columns: that become inputs.
        left_out: the reason by column.
        copies: rows that equal an earlier one.
        notes: how the table was read, and what makes a result doubtful.
    """

    rows: int
    table_columns: int
    task: str
    reason: str
    classes: dict[str, int]
    target_range: tuple[float, float] | None
    target_mean: float | None
    columns: tuple[ColumnView, ...]
    left_out: dict[str, str]
    copies: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Understanding":
        """Rebuild from `to_json`."""
        bounds = values["target_range"]
        changed = {
            "columns": tuple(ColumnView(**column) for column in values["columns"]),
            "target_range": None if bounds is None else tuple(bounds),
            "notes": tuple(values["notes"]),
        }
        return cls(**{**values, **changed})


def check(request: Mapping[str, Any]) -> Understanding:
    """Read and understand the data; DataError where it cannot be used."""
    from hpo.data.source import read_source
    from hpo.data.spec import DataSpec
    from hpo.data.table import table_of
    from hpo.data.warning_signs import copies, warnings_about
    from hpo.settings import EvaluationSpec

    spec, evaluation = DataSpec(**request["data"]), EvaluationSpec(**request["evaluation"])
    copy = request.get("copy")
    source = read_source(spec, Path(copy) if copy else None)
    table_columns = source.frame.shape[1]
    table = table_of(source, spec, evaluation)
    target = table.target
    return Understanding(
        rows=len(target.strata),
        table_columns=table_columns,
        task=target.task,
        reason=reason_of(target, evaluation),
        classes=dict(zip(target.classes, target.counts, strict=True)),
        target_range=range_of(target),
        target_mean=target.mean,
        columns=tuple(view_of(column, table) for column in table.columns),
        left_out=dict(table.left_out),
        copies=copies(table),
        notes=tuple(note for note in (*table.notes, *warnings_about(table)) if not note.startswith("not used, ")),
    )


def range_of(target: "Target") -> tuple[float, float] | None:
    """The least and the greatest value of a quantity, as exact as it is kept; None of anything else."""
    if target.mean is None or target.deviation is None:
        return None
    import numpy as np

    digits = 5 - math.floor(math.log10(target.deviation))
    low, high = (target.mean + target.deviation * float(end(target.values)) for end in (np.min, np.max))
    return round(low, digits), round(high, digits)


def reason_of(target: "Target", evaluation: "EvaluationSpec") -> str:
    """Why the target is taken for what it is."""
    if evaluation.task != "auto":
        return "as was asked for"
    if target.task == "multilabel":
        return "as there are several target columns"
    if evaluation.loss != "auto":
        return f"as the loss {evaluation.loss} asks for"
    if target.task == "regression":
        return "as it holds many different numbers"
    return f"as it holds {len(target.classes):,} different values"


def view_of(column: InputColumn, table: "Table") -> ColumnView:
    """How a column of the table is shown."""
    values = table.frame[column.name]
    return ColumnView(
        name=column.name,
        kind=column.kind,
        becomes=becomes(column, values),
        missing=int(values.isna().sum()),
        values=examples(values),
        note=column.note,
    )


def becomes(column: InputColumn, values: "pd.Series") -> str:
    """`number + 5 categories`, `one input per value (12)`, `year, month, weekday`: the inputs, fitted on all rows."""
    from hpo.data.features import read_column
    from hpo.data.inputs import fitted_inputs

    found = [said(each) for each in fitted_inputs(column, read_column(column, values))]
    mark = ", " if column.kind == "date" else " + "
    return mark.join(filter(None, found)) or "nothing, as it does not vary"


def said(each: "Input") -> str:
    """One input, or several alike, in words; marks of missing values go without saying."""
    from hpo.data import inputs

    match each:
        case inputs.Number() | inputs.Cycle():
            return {"": "number", "time": "time of day"}.get(each.part, each.part)
        case inputs.Codes():
            return f"{each.width} categories"
        case inputs.Rank():
            return "-1 or 1" if len(each.order) == 2 else "rank from -1 to 1"
        case inputs.Categories():
            return f"{each.width} inputs, one shared" if each.shared else f"one input per value ({len(each.values)})"
    return ""


def examples(values: "pd.Series") -> str:
    """The range of numbers and dates, the most frequent of other values."""
    known = values.dropna()
    if values.dtype == object:
        counts = known.value_counts()
        shown = ", ".join(str(value) for value in counts.index[:MOST_EXAMPLES])
        return shown if len(counts) <= MOST_EXAMPLES else f"{shown}, …"
    if len(known) == 0:
        return ""
    low, high = known.min(), known.max()
    if values.dtype.kind == "M":
        return f"{low:%Y-%m-%d} to {high:%Y-%m-%d}"
    return f"{low:.6g} to {high:.6g}"


if __name__ == "__main__":
    main(check)
