"""What the first preparation took the columns of a table for; studies that were made so keep it."""

import numpy as np
import pandas as pd

from hpo.data.columns import LARGEST, Kind, kind_of, listed, numbers, texts
from hpo.data.named import UNNAMED
from hpo.errors import DataError
from hpo.study.facts import InputColumn

ID_SHARE = 0.9
ID_ROWS = 20
NOTE = "the data is prepared as by the version of hpo that made the study: columns are numbers or texts"


def features(frame: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, tuple[InputColumn, ...]]:
    """The columns that can be used; `notes` gets a line for what was left out. DataError where none is left."""
    kept: dict[str, pd.Series] = {}
    columns: list[InputColumn] = []
    dropped: dict[str, list[str]] = {}
    for name in frame.columns:
        values, kind = _cleaned(name, frame[name], notes)
        if reason := _useless(name, frame[name], values):
            dropped.setdefault(reason, []).append(name)
        else:
            kept[name] = values
            columns.append(InputColumn(name=name, kind=kind))
    notes += [f"not used, {reason}: {listed(names)}" for reason, names in dropped.items()]
    if not columns:
        reasons = "; ".join(notes) or "there is only the target"
        raise DataError(f"the table needs a column to learn from, none is left ({reasons}); add columns")
    return pd.DataFrame(kept), tuple(columns)


def _cleaned(name: str, values: pd.Series, notes: list[str]) -> tuple[pd.Series, Kind]:
    """The column as `Table.frame` holds it; one that is neither numbers nor text becomes empty."""
    kind = kind_of(values)
    if kind is None:
        return pd.Series(np.full(len(values), None), dtype=object), "text"
    if kind == "text":
        return pd.Series(texts(values), dtype=object), kind
    found = numbers(values)
    infinite = np.abs(found) > LARGEST
    if infinite.any():
        notes.append(f"column {name!r}: {int(infinite.sum()):,} infinite or huge numbers are read as missing")
        found[infinite] = np.nan
    return pd.Series(found), kind


def _useless(name: str, raw: pd.Series, values: pd.Series) -> str | None:
    """Why nothing can be learned from a column; None where something can."""
    if name.startswith(UNNAMED):
        return "no name, so taken for row numbers"
    if kind_of(raw) is None:
        return f"neither numbers nor text but {raw.dtype}"
    count, distinct = values.count(), values.nunique()
    if count == 0:
        return "empty in all rows"
    if distinct == 1 and count == len(values):
        return "the same value in all rows"
    if values.dtype == object and count >= ID_ROWS and distinct > ID_SHARE * count:
        return "texts that are nearly all different, like names or identifiers"
    return None
