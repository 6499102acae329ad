"""From a frame as read to a table that can be learned from: the target checked, useless columns dropped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data import earlier_columns
from hpo.data.asked import as_asked
from hpo.data.columns import listed
from hpo.data.forward import Times, times_of
from hpo.data.kinds import USELESS, Understood, understand
from hpo.data.named import UNNAMED
from hpo.data.roles import understood_roles
from hpo.data.scaling import absurd_note
from hpo.data.source import Source
from hpo.data.spec import PREPARATION, DataSpec
from hpo.data.target import RowWeights, Target, read_target
from hpo.data.target_names import divided
from hpo.data.texts import Words
from hpo.data.weights import row_weights
from hpo.errors import DataError, use
from hpo.settings import Corrections, EvaluationSpec
from hpo.study.facts import InputColumn
from hpo.words import count_text

_SAID = {
    "drop": "column to leave out",
    "target": "target",
    "group": "group column",
    "weight": "weight column",
    "time": "time column",
}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to learn from.

    `frame` holds the feature columns: numbers as float64 with NaN, dates as datetime64[s] with NaT, all others as
    object with text and None. `groups` (rows,) number the values of the group column; `weights` (rows,) float32 are
    above 0; `times` are None where rows are not divided by them. `notes` say how it was read and what was left
    out; `left_out` has the reason by column.
    """

    frame: pd.DataFrame
    columns: tuple[InputColumn, ...]
    target: Target
    groups: npt.NDArray[np.intp] | None
    weights: npt.NDArray[np.float32] | None
    notes: tuple[str, ...]
    times: Times | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)


def table_of(source: Source, spec: DataSpec, evaluation: EvaluationSpec) -> Table:
    """`build_table` of what a study says of its data."""
    return build_table(
        source,
        spec.target,
        evaluation,
        corrections=spec.corrections,
        usual_words=spec.missing_words,
        preparation=spec.preparation,
    )


def build_table(
    source: Source,
    target: str,
    evaluation: EvaluationSpec | None = None,
    *,
    corrections: Corrections | None = None,
    usual_words: bool = True,
    preparation: int = PREPARATION,
) -> Table:
    """Check the target and keep the columns that can be used; raises DataError where none of it can.

    `target` is a column, or several with commas between; the evaluation's task, loss, weights and group count.
    `usual_words` says whether NA and the like are missing values; see `DataSpec` for the rest.
    """
    evaluation, corrections = evaluation or EvaluationSpec(), corrections or Corrections()
    notes, targets = list(source.notes), divided(target, list(source.frame.columns))
    roles = _roles(source, targets, evaluation, corrections)
    frame, asked = source.frame, _check_kinds(source, corrections)
    words = Words(source.as_written, usual_words, _listed_words(corrections))
    if preparation > 1:
        used = {name: role for name, role in roles.items() if role != "drop"}
        frame = frame.assign(**understood_roles(frame, used, words, asked, evaluation, notes))
    frame, weights = _weighted(_known(frame, targets, notes), evaluation.weight, notes)
    outcome = read_target(frame[list(targets)], evaluation, weights, notes)
    groups = None if evaluation.group is None else _groups(frame[evaluation.group], evaluation.group)
    times = None if evaluation.time is None else times_of(frame[evaluation.time], evaluation.time)
    inputs = frame.drop(columns=list(roles))
    if preparation > 1:
        features, columns, left_out = _features(inputs, words, asked, notes)
        notes += _absurd(features, columns, has_all=len(features) == len(source.frame))
    else:
        features, columns = earlier_columns.features(inputs, notes)
        left_out = {}
        notes.append(earlier_columns.NOTE)
    return Table(features, columns, outcome, groups, weights, tuple(notes), times, left_out)


def _roles(
    source: Source, targets: tuple[str, ...], evaluation: EvaluationSpec, corrections: Corrections
) -> dict[str, str]:
    """The columns that are no features, with their roles."""
    dropped = divided(corrections.drop, list(source.frame.columns)) if corrections.drop else ()
    ones = [("group", evaluation.group), ("weight", evaluation.weight), ("time", evaluation.time)]
    given = [*(("target", name) for name in targets), *ones, *(("drop", name) for name in dropped)]
    return _check_roles(source, [(role, name) for role, name in given if name is not None])


def _weighted(frame: pd.DataFrame, weight: str | None, notes: list[str]) -> tuple[pd.DataFrame, RowWeights]:
    """The rows that count, and how much."""
    if weight is None:
        return frame, None
    weights = row_weights(frame[weight], weight)
    if unused := int((weights == 0).sum()):
        notes.append(f"{_rows_have(unused)} weight 0 and are not used")
        frame, weights = frame.loc[weights > 0], weights[weights > 0]
    return frame, weights


def _listed_words(corrections: Corrections) -> tuple[str, ...]:
    """The further words for missing values."""
    return divided(corrections.missing, ()) if corrections.missing else ()


def _check_kinds(source: Source, corrections: Corrections) -> dict[str, str]:
    """The kinds that columns are said to have; DataError for a column that is not there."""
    for name, kind in corrections.kind:
        _check_column(source, "kind", name, kind)
    return dict(corrections.kind)


def _check_roles(source: Source, roles: list[tuple[str, str]]) -> dict[str, str]:
    """The columns that are no features, with their roles; DataError where one is not there, or has two roles."""
    taken: dict[str, str] = {}
    for role, name in roles:
        _check_column(source, role, name)
        if name in taken:
            if taken[name] == role:
                raise DataError(f"a {_SAID[role]} must be named once, got {name!r} twice; name it once", setting=role)
            raise DataError(
                f"the {_SAID[role]} must not be the {taken[name]}, got {name!r}; use another {use(role)}", setting=role
            )
        taken[name] = role
    return taken


def _check_column(source: Source, role: str, name: str, kind: str = "") -> None:
    columns = list(source.frame.columns)
    if name in columns:
        return
    close = get_close_matches(name.lower(), [column.lower() for column in columns], n=3)
    matches = [column for column in columns if column.lower() in close]
    if matches:
        names = " or ".join(repr(column) for column in matches[:3])
        remedy = f"did you mean {names}? Use {use(role, {matches[0]: kind} if kind else matches[0])}"
    else:
        remedy = f"use {use(role)} with one of: {listed(columns)}"
    said = {"drop": _SAID["drop"], "kind": "column that has a kind"}.get(role, role)
    raise DataError(f"the {said} must be a column of {source.name}, got {name!r}; {remedy}", setting=role)


def _known(frame: pd.DataFrame, targets: tuple[str, ...], notes: list[str]) -> pd.DataFrame:
    """The rows that have a target, all of several; they keep their numbers."""
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
        notes.append(f"{_rows_have(missing)} no target and are not used")
        return frame.loc[known]
    return frame


def _rows_have(count: int) -> str:
    return f"{count_text(count, 'row')} ha{'s' if count == 1 else 've'}"


def _groups(values: pd.Series, group: str) -> npt.NDArray[np.intp]:
    if missing := int(values.isna().sum()):
        raise DataError(
            f"every row needs a group, column {group!r} has none in {count_text(missing, 'row')}; fill these in",
            setting="group",
        )
    codes, _ = pd.factorize(values)
    return codes


def _features(
    frame: pd.DataFrame, words: Words, asked: Mapping[str, str], notes: list[str]
) -> tuple[pd.DataFrame, tuple[InputColumn, ...], dict[str, str]]:
    """The columns that become inputs; `notes` gets lines for what is special about some, and for those left out.
    Last, why these are."""
    found = dict[str, Understood]()
    reasons = dict[str, list[str]]()
    for name in frame.columns:
        if name.startswith(UNNAMED) and name not in asked:
            reasons.setdefault("no name, so taken for row numbers", []).append(name)
            continue
        each = as_asked(name, frame[name], words, asked[name]) if name in asked else understand(frame[name], words)
        found[name] = each
    kept = _inputs(found)
    _note_columns({name: each.notes for name, each in found.items() if each.kind != "other"}, notes)
    for name in (name for name in found if name not in kept):
        each = found[name]
        reasons.setdefault(_why_useless(each), []).append(name)
    notes += [f"not used, {reason}: {listed(names)}" for reason, names in reasons.items()]
    if not kept:
        why = "; ".join(notes) or "there is only the target"
        raise DataError(f"the table needs a column to learn from, none is left ({why}); add columns")
    columns = tuple(
        InputColumn(name=name, kind=each.kind, codes=each.codes, order=each.order, note="; ".join(each.notes))
        for name, each in kept.items()
    )
    left_out = {name: reason for reason, names in reasons.items() for name in names}
    return pd.DataFrame({name: each.values for name, each in kept.items()}, copy=False), columns, left_out


def _why_useless(column: Understood) -> str:
    """Why a column becomes no input, in words."""
    if column.kind == "identifier" and column.values.dtype != object:
        return "whole numbers that count the rows"
    return USELESS.get(column.kind) or column.notes[0]


def _absurd(frame: pd.DataFrame, columns: Sequence[InputColumn], *, has_all: bool) -> list[str]:
    """Notes on single numbers far beyond the others; rows are named where all of the source are there."""
    named = [column.name for column in columns if column.kind == "number"]
    found = (absurd_note(name, frame[name].to_numpy(), rows=has_all) for name in named)
    return [note for note in found if note is not None]


def _inputs(found: Mapping[str, Understood]) -> dict[str, Understood]:
    """The columns that something can be learned from. Whole numbers that may number rows are taken where there is
    nothing else."""
    kept = {name: each for name, each in found.items() if each.is_input}
    if kept:
        return kept
    numbers = {name: each for name, each in found.items() if each.kind == "identifier" and each.values.dtype != object}
    return {name: replace(each, kind="number") for name, each in numbers.items()}


def _note_columns(said: Mapping[str, tuple[str, ...]], notes: list[str]) -> None:
    """A line for all columns about which the same is to say."""
    alike = dict[str, list[str]]()
    for name, lines in said.items():
        for line in lines:
            alike.setdefault(line, []).append(name)
    notes += [f"column{'' if len(names) == 1 else 's'} {listed(names)}: {line}" for line, names in alike.items()]
