"""From a frame as read to a table that can be learned from: the target checked, useless columns dropped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.columns import LARGEST, Kind, kind_of, listed, numbers, texts
from hpo.data.source import UNNAMED, Source
from hpo.data.target import Target, read_target
from hpo.data.target_names import divided
from hpo.data.weights import row_weights
from hpo.errors import DataError, use
from hpo.settings import EvaluationSpec
from hpo.study.facts import InputColumn

ID_SHARE = 0.9
ID_ROWS = 20


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to learn from.

    `frame` holds the feature columns: float64 with NaN, or object with text and None. `groups` (rows,) number
    the values of the group column; `weights` (rows,) float32 are above 0. `notes` say how it was read and what
    was left out; `left_out` has the reason by column.
    """

    frame: pd.DataFrame
    columns: tuple[InputColumn, ...]
    target: Target
    groups: npt.NDArray[np.intp] | None
    weights: npt.NDArray[np.float32] | None
    notes: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def build_table(source: Source, target: str, evaluation: EvaluationSpec | None = None) -> Table:
    """Check the target and keep the columns that can be used; raises DataError where none of it can.

    `target` is a column, or several with commas between; the evaluation's task, loss, weights and group count.
    """
    evaluation = evaluation or EvaluationSpec()
    group, weight, notes = evaluation.group, evaluation.weight, list(source.notes)
    targets = divided(target, list(source.frame.columns))
    roles = [*(("target", name) for name in targets), ("group", group), ("weight", weight)]
    taken = _check_roles(source, [(role, name) for role, name in roles if name is not None])
    frame = _known(source.frame, targets, notes)
    weights = None if weight is None else row_weights(frame[weight], weight)
    if weights is not None and (unused := int((weights == 0).sum())):
        notes.append(f"{unused:,} rows have weight 0 and are not used")
        frame, weights = frame.loc[weights > 0].reset_index(drop=True), weights[weights > 0]
    outcome = read_target(frame[list(targets)], evaluation, weights, notes)
    groups = None if group is None else _groups(frame[group], group)
    features, columns, left_out = _features(frame.drop(columns=taken), notes)
    return Table(features, columns, outcome, groups, weights, tuple(notes), left_out)


def _check_roles(source: Source, roles: list[tuple[str, str]]) -> list[str]:
    """The columns that are no features; DataError where one is not there, or has two roles."""
    taken: dict[str, str] = {}
    for role, name in roles:
        _check_column(source, role, name)
        if name in taken:
            if taken[name] == role:
                raise DataError(f"a {role} must name each column once, got {name!r} twice; name it once", setting=role)
            raise DataError(
                f"the {role} column must not be the {taken[name]}, got {name!r}; use another {use(role)}", setting=role
            )
        taken[name] = role
    return list(taken)


def _check_column(source: Source, role: str, name: str) -> None:
    columns = list(source.frame.columns)
    if name in columns:
        return
    close = get_close_matches(name.lower(), [column.lower() for column in columns], n=3)
    matches = [column for column in columns if column.lower() in close]
    if matches:
        names = " or ".join(repr(column) for column in matches[:3])
        remedy = f"did you mean {names}? Use {use(role, matches[0])}"
    else:
        remedy = f"use {use(role)} with one of: {listed(columns)}"
    raise DataError(f"the {role} must be a column of {source.name}, got {name!r}; {remedy}", setting=role)


def _known(frame: pd.DataFrame, targets: tuple[str, ...], notes: list[str]) -> pd.DataFrame:
    """The rows that have a target, all of several."""
    for name in targets:
        if frame[name].isna().all():
            raise DataError(
                f"the target needs values, column {name!r} is empty in all rows; use another {use('target')}",
                setting="target",
            )
    known = frame[list(targets)].notna().all(axis=1)
    if not known.any():
        raise DataError(
            f"a row must have all targets, none has all of {listed(targets)}; leave one of them away", setting="target"
        )
    if missing := int((~known).sum()):
        notes.append(f"{missing:,} rows have no target and are not used")
        return frame.loc[known].reset_index(drop=True)
    return frame


def _groups(values: pd.Series, group: str) -> npt.NDArray[np.intp]:
    if missing := int(values.isna().sum()):
        raise DataError(
            f"every row needs a group, column {group!r} has none in {missing:,} rows; fill these in", setting="group"
        )
    codes, _ = pd.factorize(values)
    return codes


def _features(frame: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, tuple[InputColumn, ...], dict[str, str]]:
    """The columns that can be used, and why others are left out, for which `notes` gets a line."""
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
    left_out = {name: reason for reason, names in dropped.items() for name in names}
    return pd.DataFrame(kept), tuple(columns), left_out


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
