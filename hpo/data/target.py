"""From target columns to what a network learns: the task, its loss, and a number or more for each row."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.columns import LARGEST, content, kind_of, listed, numbers, texts
from hpo.errors import DataError, use
from hpo.losses import Head, Loss, Task, losses_for
from hpo.settings import EvaluationSpec

MAX_FRACTIONAL_CLASSES = 10
MAX_INTEGER_CLASSES = 100
FEW_CLASSES = 20

RowWeights = npt.NDArray[np.float32] | None
"""(rows,); None where all count alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is predicted.

    Attributes:
        head: what networks put out for it.
        values: (rows,) int32 class numbers for `softmax`; else float32, (rows, labels) of 0 and 1, or (rows, 1)
            of numbers with mean 0 and deviation 1.
        strata: (rows,) class numbers, or zeros where rows are drawn without regard to the target.
        classes: their names, or the labels'; none of regression.
        counts: rows of each class, or with each label.
        mean, deviation: what was subtracted from numbers, then divided by.
        prior_loss: of the best prediction that is the same for all rows.
    """

    task: Task
    loss: Loss
    head: Head
    values: npt.NDArray[np.int32] | npt.NDArray[np.float32]
    strata: npt.NDArray[np.int32]
    prior_loss: float
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    mean: float | None = None
    deviation: float | None = None


def read_target(frame: pd.DataFrame, evaluation: EvaluationSpec, weights: RowWeights, notes: list[str]) -> Target:
    """The target of a frame that holds its columns alone, without missing values; `notes` may get a line.

    Raises DataError where the columns do not suit the task, or the settings each other.
    """
    task = _task(frame, evaluation, notes)
    loss = _loss(task, evaluation)
    if evaluation.class_weights != "none" and task != "classification":
        raise DataError(
            f"class weights are for classification, got {evaluation.class_weights!r} for {task}; "
            f"use {use('class_weights', 'none')}, or {use('task', 'classification')} where the target names classes",
            setting="class_weights",
        )
    if task == "multilabel":
        return _labels(frame, loss, weights)
    name = str(frame.columns[0])
    read = _quantity if task == "regression" else _classes
    return read(frame[name], name, loss, weights)


def _task(frame: pd.DataFrame, evaluation: EvaluationSpec, notes: list[str]) -> Task:
    """The task that is asked for, or that the columns and the loss suggest."""
    names, asked = [str(name) for name in frame.columns], evaluation.task
    if len(names) > 1:
        if asked not in ("auto", "multilabel"):
            raise DataError(
                f"{asked} takes one target column, got {len(names)}: {listed(names)}; "
                f"use {use('task', 'multilabel')}, or name one with {use('target')}",
                setting="target",
            )
        return "multilabel"
    if asked == "multilabel":
        raise DataError(
            f"multilabel takes at least 2 target columns, got {listed(names)}; "
            f"name them with commas between, or use {use('task', 'classification')}",
            setting="target",
        )
    if asked != "auto":
        return asked
    if evaluation.loss in [loss.key for loss in losses_for("regression")]:
        return "regression"
    values = frame[names[0]]
    if evaluation.loss == "auto" and kind_of(values) == "numeric":
        distinct = np.unique(_finite(values, names[0]))
        if looks_like_a_quantity(distinct, len(values)):
            notes.append(
                f"the target {names[0]!r} looks like a quantity ({len(distinct):,} different numbers in "
                f"{len(values):,} rows), so the task is regression; "
                f"classification would take each number for a class"
            )
            return "regression"
    return "classification"


def _loss(task: Task, evaluation: EvaluationSpec) -> Loss:
    fitting = {loss.key: loss for loss in losses_for(task)}
    if evaluation.loss == "auto":
        return next(iter(fitting.values()))
    if evaluation.loss not in fitting:
        raise DataError(
            f"the loss must go with the task, which is {task}, got {evaluation.loss!r}; "
            f"use {' or '.join(use('loss', name) for name in fitting)}, or another {use('task')}",
            setting="loss",
        )
    return fitting[evaluation.loss]


def looks_like_a_quantity(distinct: npt.NDArray[np.float64], rows: int) -> bool:
    """Whether numbers measure rather than name: over 10 different ones with fractions, over 20 integers that are
    more than 5% of the rows, or over 100 integers."""
    fractional = bool((distinct != np.floor(distinct)).any())
    most = MAX_FRACTIONAL_CLASSES if fractional else min(MAX_INTEGER_CLASSES, max(FEW_CLASSES, rows // 20))
    return len(distinct) > most


def _classes(values: pd.Series, name: str, loss: Loss, weights: RowWeights) -> Target:
    codes, classes = _codes(values, name)
    shares = np.bincount(codes, weights) / (len(codes) if weights is None else weights.sum(dtype=float))
    head = loss.head("classification", len(classes))
    return Target(
        task="classification",
        loss=loss,
        head=head,
        values=codes if head.name == "softmax" else codes[:, None].astype(np.float32),
        strata=codes,
        prior_loss=loss.prior(shares),
        classes=classes,
        counts=tuple(np.bincount(codes).tolist()),
    )


def _labels(frame: pd.DataFrame, loss: Loss, weights: RowWeights) -> Target:
    """One yes or no per column: the greater of its two values, or the later in the alphabet, is yes."""
    columns = []
    for name in frame.columns:
        codes, found = _codes(frame[name], name)
        if len(found) != 2:
            raise DataError(
                f"a label must have 2 values, column {name!r} has {len(found):,} ({listed(found)}); "
                f"make a column of each, or use {use('task', 'classification')} with {use('target', str(name))} alone",
                setting="target",
            )
        columns.append(codes)
    values = np.stack(columns, axis=1).astype(np.float32)
    shares = np.average(values.astype(float), axis=0, weights=weights)
    return Target(
        task="multilabel",
        loss=loss,
        head=loss.head("multilabel", values.shape[1]),
        values=values,
        strata=np.zeros(len(values), np.int32),
        prior_loss=loss.prior(np.stack([1 - shares, shares], axis=1)),
        classes=tuple(str(name) for name in frame.columns),
        counts=tuple(int(count) for count in values.sum(axis=0, dtype=float)),
    )


def _quantity(values: pd.Series, name: str, loss: Loss, weights: RowWeights) -> Target:
    """Numbers as deviations from their mean, in units of their standard deviation: 1 is what the mean misses by."""
    if kind_of(values) != "numeric":
        raise DataError(
            f"regression needs numbers, the target {name!r} holds {content(values)}; "
            f"use another {use('target')}, or {use('task', 'classification')}",
            setting="target",
        )
    given = _finite(values, name)
    mean = float(np.average(given, weights=weights))
    deviation = float(np.average((given - mean) ** 2, weights=weights) ** 0.5)
    if given.min() == given.max() or not deviation > 0:
        raise DataError(
            f"the target must vary, column {name!r} is {given[0]:g} in all rows; use another {use('target')}",
            setting="target",
        )
    return Target(
        task="regression",
        loss=loss,
        head=loss.head("regression", 1),
        values=((given - mean) / deviation)[:, None].astype(np.float32),
        strata=np.zeros(len(given), np.int32),
        prior_loss=loss.prior(np.empty(0)),
        mean=mean,
        deviation=deviation,
    )


def _codes(values: pd.Series, name: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Class number of each row, and the classes' names: numbers in their order, others by name."""
    kind = kind_of(values)
    if kind is None:
        raise DataError(
            f"the target must hold numbers or text, {name!r} holds {values.dtype}; convert it to text", setting="target"
        )
    if kind == "numeric":
        distinct, codes = np.unique(_finite(values, name), return_inverse=True)
        classes = tuple(str(int(n)) if n == np.floor(n) else str(n) for n in distinct.tolist())
    else:
        words, codes = np.unique(texts(values).astype(str), return_inverse=True)
        classes = tuple(words.tolist())
    if len(classes) == 1:
        raise DataError(
            f"the target needs at least 2 classes, column {name!r} holds only {classes[0]!r}; "
            f"use another {use('target')}",
            setting="target",
        )
    return codes.astype(np.int32), classes


def _finite(values: pd.Series, name: str) -> npt.NDArray[np.float64]:
    found = numbers(values)
    if (np.abs(found) > LARGEST).any():
        raise DataError(
            f"the target must not be infinite or beyond {LARGEST:g}, column {name!r} is in some rows; correct these",
            setting="target",
        )
    return found
