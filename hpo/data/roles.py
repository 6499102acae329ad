"""Columns that are no inputs: targets, groups and weights, whose words are values unless the others are numbers."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.asked import as_asked
from hpo.data.columns import kind_of
from hpo.data.kinds import has_leading_zeros, plain_numbers, said
from hpo.data.parsing import MISSING_WORDS, Unread, each_number, is_likely, numbers_of
from hpo.data.target import looks_like_a_quantity
from hpo.data.texts import Texts, Words, no_numbers, texts_of
from hpo.errors import use
from hpo.losses import losses_for
from hpo.settings import EvaluationSpec
from hpo.words import count_text

MOSTLY, HALF = 0.9, 0.5
"""A target of texts is meant to be numbers where so many of its rows are, and these look like a quantity."""


def understood_roles(
    frame: pd.DataFrame,
    roles: Mapping[str, str],
    words: Words,
    asked: Mapping[str, str],
    evaluation: EvaluationSpec,
    notes: list[str],
) -> dict[str, pd.Series]:
    """The columns that have a role, by name: numbers, texts, or as they are; `notes` may get lines.

    DataError where a quantity or a weight is no number.
    """
    found = {}
    for name, role in roles.items():
        values = frame[name]
        if name in asked:
            found[name] = as_asked(name, values, words, asked[name]).values.set_axis(values.index)
        elif kind_of(values) != "text":
            found[name] = values.mask(values.isin(words.further_numbers)) if words.further_numbers else values
        elif not isinstance(values.dtype, pd.StringDtype) and values.dtype != object:
            given = texts_of(values, words.further).column()  # booleans and categories are names
            found[name] = given.set_axis(values.index)
        else:
            is_alone = list(roles.values()).count("target") == 1
            task = _task(evaluation) if role == "target" and is_alone else "weighting" if role == "weight" else ""
            found[name] = _read(name, role, values, words, task, notes).set_axis(values.index)
    return found


def _task(evaluation: EvaluationSpec) -> str:
    """What is asked for of a single target: `auto`, where its values decide."""
    quantities = [loss.key for loss in losses_for("regression")]
    return "regression" if evaluation.task == "auto" and evaluation.loss in quantities else evaluation.task


def _read(name: str, role: str, values: pd.Series, words: Words, task: str, notes: list[str]) -> pd.Series:
    """Numbers where all texts but the usual missing words are some; else texts, unless they are meant as numbers."""
    given = texts_of(values, words.further)
    known = given.without(MISSING_WORDS if words.usual and words.as_written else ())
    plain = plain_numbers(values, words)
    if role in ("group", "time"):
        return (known if role == "time" or plain is not None else given).column()
    if plain is not None and not (_has_few_names(plain, values) and task in ("auto", "classification", "")):
        return pd.Series(plain)
    are_names = plain is not None or not known.distinct
    parsed = Unread(()) if are_names else numbers_of(known.distinct, known.counts.tolist())
    if not isinstance(parsed, Unread) and not parsed.words:
        notes += [f"the {role} {name!r}: {each}" for each in said(known, parsed)]
        return pd.Series(known.taken(parsed.values))
    if not are_names and _are_meant_as_numbers(known, task):
        raise no_numbers(name, known, role)
    notes += [f"the {role} {name!r}: {each}" for each in (*given.notes, *_doubtful(given))]
    return given.column()


def _has_few_names(plain: npt.NDArray[np.float64], values: pd.Series) -> bool:
    """Whether digits are names, as they have leading zeros, and too few to be quantities."""
    known = plain[np.isfinite(plain)]
    return has_leading_zeros(values) and not looks_like_a_quantity(np.unique(known), len(known))


def _are_meant_as_numbers(given: Texts, task: str) -> bool:
    """Whether numbers are needed and half of the rows are some; or nearly all are and look like a quantity."""
    if task not in ("auto", "regression", "weighting"):
        return False
    found = each_number(given.distinct)
    known = np.isfinite(found)
    rows = int(given.counts[known].sum())
    share = rows / int(given.counts.sum())
    return share >= (MOSTLY if task == "auto" else HALF) and (
        task != "auto" or looks_like_a_quantity(np.unique(found[known]), rows)
    )


def _doubtful(given: Texts) -> list[str]:
    """A line for each word that is taken for a value, and often means that there is none."""
    doubtful = [text for text in given.distinct if is_likely(text)]
    return [
        f"{text!r} is a value, in {count_text(given.rows([text]), 'row')}; "
        f"where it means none, use {use('missing', text)}"
        for text in doubtful
    ]
