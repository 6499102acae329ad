"""From target columns to what a network learns: the task, its loss, and a number or more for each row."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.columns import LARGEST, kind_of, listed, numbers, texts
from hpo.errors import DataError
from hpo.settings import EvaluationSpec

MAX_FRACTIONAL_CLASSES = 10
MAX_INTEGER_CLASSES = 100
FEW_CLASSES = 20
LOSS_NAMES = {"log_loss": "log loss", "squared_error": "mean squared error", "gaussian": "Gaussian NLL"}
_LOSSES = {
    "classification": ("log_loss",),
    "multilabel": ("log_loss",),
    "regression": ("squared_error", "gaussian"),
}
"""Task -> the losses that go with it, the default first."""

Weights = npt.NDArray[np.float32] | None
Task = Literal["classification", "multilabel", "regression"]
Head = Literal["softmax", "sigmoid", "squared", "gaussian"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is predicted.

    Attributes:
        head: how outputs become a prediction; `outputs` is their number.
        loss_name: for people.
        values: (rows,) int32 class numbers for `softmax`; else float32, (rows, labels) of 0 and 1, or (rows, 1)
            of numbers with mean 0 and deviation 1.
        strata: (rows,) class numbers, or zeros where rows are drawn without regard to the target.
        classes: their names, or the labels'; none of regression.
        counts: rows of each class, or with each label.
        mean, deviation: what was subtracted from numbers, then divided by.
        prior_loss: of the best prediction that is the same for all rows.
    """

    task: Task
    head: Head
    outputs: int
    loss_name: str
    values: npt.NDArray[np.int32] | npt.NDArray[np.float32]
    strata: npt.NDArray[np.int32]
    prior_loss: float
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    mean: float | None = None
    deviation: float | None = None


def read_target(frame: pd.DataFrame, evaluation: EvaluationSpec, weights: Weights, notes: list[str]) -> Target:
    """The target of a frame that holds its columns alone, without missing values; `notes` may get a line.

    Raises DataError where the columns do not suit the task, or the settings each other.
    """
    task = _task(frame, evaluation, notes)
    loss = _loss(task, evaluation)
    if evaluation.class_weights != "none" and task != "classification":
        raise DataError(
            f"class weights are for classification, got {evaluation.class_weights!r} for {task}; use "
            f"--class-weights none, or --task classification where the target names classes"
        )
    if task == "multilabel":
        return _labels(frame, weights)
    name = str(frame.columns[0])
    return _quantity(frame[name], name, loss, weights) if task == "regression" else _classes(frame[name], name, weights)


def _task(frame: pd.DataFrame, evaluation: EvaluationSpec, notes: list[str]) -> Task:
    """The task that is asked for, or that the columns and the loss suggest."""
    names, asked = [str(name) for name in frame.columns], evaluation.task
    if len(names) > 1:
        if asked not in ("auto", "multilabel"):
            raise DataError(
                f"{asked} takes one target column, got {len(names)}: {listed(names)}; "
                f"use --task multilabel, or name one with --target"
            )
        return "multilabel"
    if asked == "multilabel":
        raise DataError(
            f"multilabel takes at least 2 target columns, got {listed(names)}; "
            f"name them with commas between, or use --task classification"
        )
    if asked != "auto":
        return asked
    if evaluation.loss in _LOSSES["regression"]:
        return "regression"
    values = frame[names[0]]
    if evaluation.loss == "auto" and kind_of(values) == "numeric":
        distinct = np.unique(_finite(values, names[0]))
        if _looks_like_a_quantity(distinct, len(values)):
            notes.append(
                f"the target {names[0]!r} looks like a quantity ({len(distinct):,} different numbers in "
                f"{len(values):,} rows), so the task is regression; "
                f"--task classification takes each number for a class"
            )
            return "regression"
    return "classification"


def _loss(task: Task, evaluation: EvaluationSpec) -> str:
    fitting = _LOSSES[task]
    if evaluation.loss == "auto":
        return fitting[0]
    if evaluation.loss not in fitting:
        raise DataError(
            f"the loss must go with the task, which is {task}, got {evaluation.loss!r}; "
            f"use --loss {' or '.join(fitting)}, or another --task"
        )
    return evaluation.loss


def _looks_like_a_quantity(distinct: npt.NDArray[np.float64], rows: int) -> bool:
    """Whether numbers measure rather than name: over 10 different ones with fractions, over 20 integers that are
    more than 5% of the rows, or over 100 integers."""
    fractional = bool((distinct != np.floor(distinct)).any())
    most = MAX_FRACTIONAL_CLASSES if fractional else min(MAX_INTEGER_CLASSES, max(FEW_CLASSES, rows // 20))
    return len(distinct) > most


def _classes(values: pd.Series, name: str, weights: Weights) -> Target:
    codes, classes = _codes(values, name)
    shares = np.bincount(codes, weights) / (len(codes) if weights is None else weights.sum(dtype=float))
    binary = len(classes) == 2
    return Target(
        task="classification",
        head="sigmoid" if binary else "softmax",
        outputs=1 if binary else len(classes),
        loss_name=LOSS_NAMES["log_loss"],
        values=codes[:, None].astype(np.float32) if binary else codes,
        strata=codes,
        prior_loss=_entropy(shares),
        classes=classes,
        counts=tuple(np.bincount(codes).tolist()),
    )


def _labels(frame: pd.DataFrame, weights: Weights) -> Target:
    """One yes or no per column: the greater of its two values, or the later in the alphabet, is yes."""
    columns = []
    for name in frame.columns:
        codes, found = _codes(frame[name], name)
        if len(found) != 2:
            raise DataError(
                f"a label must have 2 values, column {name!r} has {len(found):,} ({listed(found)}); "
                f"make a column of each, or use --task classification with this --target alone"
            )
        columns.append(codes)
    values = np.stack(columns, axis=1).astype(np.float32)
    shares = np.average(values.astype(float), axis=0, weights=weights)
    return Target(
        task="multilabel",
        head="sigmoid",
        outputs=values.shape[1],
        loss_name=LOSS_NAMES["log_loss"],
        values=values,
        strata=np.zeros(len(values), np.int32),
        prior_loss=float(np.mean([_entropy(np.array([1 - share, share])) for share in shares])),
        classes=tuple(str(name) for name in frame.columns),
        counts=tuple(int(count) for count in values.sum(axis=0, dtype=float)),
    )


def _quantity(values: pd.Series, name: str, loss: str, weights: Weights) -> Target:
    """Numbers as deviations from their mean, in units of their standard deviation: 1 is what the mean misses by."""
    if kind_of(values) != "numeric":
        raise DataError(
            f"regression needs numbers, the target {name!r} holds {values.dtype}; "
            f"use another --target, or --task classification"
        )
    given = _finite(values, name)
    mean = float(np.average(given, weights=weights))
    deviation = float(np.average((given - mean) ** 2, weights=weights) ** 0.5)
    if given.min() == given.max() or not deviation > 0:
        raise DataError(f"the target must vary, column {name!r} is {given[0]:g} in all rows; use another --target")
    gaussian = loss == "gaussian"
    return Target(
        task="regression",
        head="gaussian" if gaussian else "squared",
        outputs=2 if gaussian else 1,
        loss_name=LOSS_NAMES[loss],
        values=((given - mean) / deviation)[:, None].astype(np.float32),
        strata=np.zeros(len(given), np.int32),
        prior_loss=0.5 * (1 + float(np.log(2 * np.pi))) if gaussian else 1.0,
        mean=mean,
        deviation=deviation,
    )


def _codes(values: pd.Series, name: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Class number of each row, and the classes' names: numbers in their order, others by name."""
    kind = kind_of(values)
    if kind is None:
        raise DataError(f"the target must hold numbers or text, {name!r} holds {values.dtype}; convert it to text")
    if kind == "numeric":
        distinct, codes = np.unique(_finite(values, name), return_inverse=True)
        classes = tuple(str(int(n)) if n == np.floor(n) else str(n) for n in distinct.tolist())
    else:
        words, codes = np.unique(texts(values).astype(str), return_inverse=True)
        classes = tuple(words.tolist())
    if len(classes) == 1:
        raise DataError(
            f"the target needs at least 2 classes, column {name!r} holds only {classes[0]!r}; use another --target"
        )
    return codes.astype(np.int32), classes


def _finite(values: pd.Series, name: str) -> npt.NDArray[np.float64]:
    found = numbers(values)
    if (np.abs(found) > LARGEST).any():
        raise DataError(
            f"the target must not be infinite or beyond {LARGEST:g}, column {name!r} is in some rows; correct these"
        )
    return found


def _entropy(shares: npt.NDArray[np.float64]) -> float:
    """The log loss of predicting the shares, in nats."""
    return float(-(shares * np.log(shares)).sum())
