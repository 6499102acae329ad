"""What is predicted: the task and its loss by what was asked and what the columns hold, and what is refused."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpo.data.source import Source
from hpo.data.table import build_table
from hpo.data.target_names import divided, joined
from hpo.data.weights import balanced_weights, row_weights
from hpo.errors import DataError
from hpo.losses import mean_loss
from hpo.settings import EvaluationSpec

ROWS = 60
PRICES = np.random.default_rng(0).lognormal(12, 1, ROWS)


def table(target="price", *, weights=None, **evaluation):
    """Of the columns size, price (a quantity), kind (3 texts), red and tall (labels), and w."""
    frame = pd.DataFrame(
        {
            "size": np.arange(ROWS),
            "price": PRICES,
            "kind": ["a", "b", "c"] * (ROWS // 3),
            "red": [0, 1, 1] * (ROWS // 3),
            "tall": ["no", "yes"] * (ROWS // 2),
            "w": np.ones(ROWS) if weights is None else weights,
        }
    )
    if weights is not None:
        evaluation["weight"] = "w"
    return build_table(Source("t", frame, ""), target, EvaluationSpec(**evaluation))


@pytest.mark.parametrize(
    ("target", "asked", "task", "head", "outputs", "loss_name"),
    [
        ("price", {}, "regression", "squared", 1, "mean squared error"),
        ("price", {"task": "regression"}, "regression", "squared", 1, "mean squared error"),
        ("price", {"loss": "gaussian"}, "regression", "gaussian", 2, "Gaussian NLL"),
        ("red", {"loss": "squared_error"}, "regression", "squared", 1, "mean squared error"),
        ("red", {"task": "regression"}, "regression", "squared", 1, "mean squared error"),
        ("red", {}, "classification", "sigmoid", 1, "log loss"),
        ("kind", {}, "classification", "softmax", 3, "log loss"),
        ("kind", {"loss": "log_loss", "class_weights": "balanced"}, "classification", "softmax", 3, "log loss"),
        ("price", {"loss": "log_loss"}, "classification", "softmax", ROWS, "log loss"),
        ("red,tall", {}, "multilabel", "sigmoid", 2, "log loss"),
        ("red, tall", {"task": "multilabel"}, "multilabel", "sigmoid", 2, "log loss"),
    ],
)
def test_the_task_is_what_was_asked_or_what_the_columns_suggest(target, asked, task, head, outputs, loss_name):
    found = table(target, **asked).target
    assert (found.task, *found.head, found.loss.name) == (task, head, outputs, loss_name)


@pytest.mark.parametrize(
    ("target", "asked", "message"),
    [
        (
            "price",
            {"task": "regression", "loss": "log_loss"},
            "is regression, got 'log_loss'; use loss='squared_error' or loss='gaussian'",
        ),
        ("kind", {"task": "classification", "loss": "gaussian"}, "is classification, got 'gaussian'; use loss='log_l"),
        (
            "red,tall",
            {"loss": "squared_error"},
            "is multilabel, got 'squared_error'; use loss='log_loss', or anoth",
        ),
        ("price", {"class_weights": "balanced"}, "are for classification, got 'balanced' for regression; use"),
        ("red,tall", {"class_weights": "balanced"}, "are for classification, got 'balanced' for multilabel; use"),
        ("red,tall", {"task": "regression"}, "regression takes one target column, got 2: 'red', 'tall'; use"),
        ("red", {"task": "multilabel"}, "multilabel takes at least 2 target columns, got 'red'; name them"),
        ("red,kind", {}, r"a label must have 2 values, column 'kind' has 3 \('a', 'b', 'c'\); make"),
        ("kind", {"task": "regression"}, "regression needs numbers, the target 'kind' holds text; use another"),
        ("red,red", {}, "a target must be named once, got 'red' twice; name it once"),
        ("red", {"weight": "red"}, "the weight column must not be the target, got 'red'; use another weight"),
        ("red", {"weight": "ww"}, "the weight must be a column of t, got 'ww'; did you mean 'w'"),
        ("red,rad", {}, "the target must be a column of t, got 'rad'; did you mean 'red'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_remedy(target, asked, message):
    with pytest.raises(DataError, match=message):
        table(target, **asked)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([3.5] * ROWS, "must vary, column 'y' is 3.5 in all rows"),
        ([0.1] * ROWS, "must vary"),
        ([0, 1e-200] * (ROWS // 2), "must vary"),
        ([*range(ROWS - 1), np.inf], r"must not be infinite or beyond 1e\+100, column 'y'"),
        ([*range(ROWS - 1), 1e101], "must not be infinite"),
    ],
)
def test_quantities_that_cannot_be_learned_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        build_table(
            Source("t", pd.DataFrame({"x": range(ROWS), "y": values}), ""), "y", EvaluationSpec(task="regression")
        )


NUMBERS = arrays(float, st.integers(3, 80), elements=st.floats(-1e90, 1e90)).filter(lambda a: np.ptp(a) > 1e-3)


@given(NUMBERS, st.booleans(), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_quantities_are_standardized_once_and_come_back(values, weighted, seed):
    weights = np.random.default_rng(seed).uniform(0.1, 5, len(values)) if weighted else np.ones(len(values))
    frame = pd.DataFrame({"x": range(len(values)), "y": values, "w": weights})
    result = build_table(Source("t", frame, ""), "y", EvaluationSpec(task="regression", weight="w"))
    target, scale = result.target, max(np.abs(values).max(), 1e-3)
    assert (target.values.dtype, target.values.shape) == (np.float32, (len(values), 1))
    z = target.values[:, 0].astype(float)
    assert np.average(z, weights=weights) == pytest.approx(0, abs=1e-3)
    assert np.average(z**2, weights=weights) == pytest.approx(1, rel=1e-3)
    assert z * target.deviation + target.mean == pytest.approx(values, abs=1e-5 * scale)


@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 3, ROWS)])
@pytest.mark.parametrize("asked", [{}, {"loss": "gaussian"}])
def test_the_baseline_of_a_regression_is_its_loss_of_the_mean(asked, weights):
    result = table("price", weights=weights, **asked)
    constant = np.zeros((ROWS, result.target.head.outputs))
    loss = mean_loss(result.target.head.name, result.target.values, constant, result.weights)
    assert result.target.prior_loss == pytest.approx(loss, rel=1e-6)
    if not asked:
        assert result.target.prior_loss == 1.0


@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 3, ROWS)])
@pytest.mark.parametrize("target", ["red", "kind", "red,tall"])
def test_the_baseline_of_classes_is_the_least_loss_of_a_constant_prediction(target, weights):
    result = table(target, weights=weights)
    found, row_weights_ = result.target, result.weights
    if found.head.name == "softmax":
        best = np.log(np.bincount(found.values, row_weights_))
    else:
        share = np.average(found.values, axis=0, weights=row_weights_)
        best = np.log(share / (1 - share))
    assert mean_loss(found.head.name, found.values, np.tile(best, (ROWS, 1)), row_weights_) == pytest.approx(
        found.prior_loss, rel=1e-6
    )
    for step in (-0.1, 0.1):
        moved = best + step * np.eye(len(best))[0]
        assert mean_loss(found.head.name, found.values, np.tile(moved, (ROWS, 1)), row_weights_) > found.prior_loss


def test_labels_are_0_and_1_and_rows_without_one_of_them_are_left_out():
    frame = pd.DataFrame({"x": range(9), "a": [0, 1, None] * 3, "b": ["n", "y", "y"] * 3, "c": [True, False, True] * 3})
    result = build_table(Source("t", frame, ""), "a,b,c")
    assert result.notes == ("3 rows have no target and are not used",)
    assert result.target.values.tolist() == [[0, 0, 1], [1, 1, 0]] * 3
    assert (result.target.classes, result.target.counts) == (("a", "b", "c"), (3, 3, 3))
    assert not result.target.strata.any()
    assert [column.name for column in result.columns] == ["x"]
    with pytest.raises(DataError, match="none has all of 'a', 'b'"):
        build_table(Source("t", frame.assign(a=[1, None, None] * 3, b=[None, 1, 0] * 3), ""), "a,b")


def test_a_column_with_a_comma_in_its_name_is_one_target():
    frame = pd.DataFrame({"x": range(20), "red,tall": ["a", "b"] * 10, "red": [0, 1] * 10})
    assert build_table(Source("t", frame, ""), "red,tall").target.task == "classification"
    assert build_table(Source("t", frame, ""), joined(["red,tall", "red"])).target.classes == ("red,tall", "red")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, unique=True))
@example(['"'])
def test_names_that_are_joined_can_be_divided(names):
    text = joined(names)
    if "\n" not in text and "\r" not in text:
        assert divided(text, names) == tuple(names)


def test_names_are_joined_as_csv():
    assert joined("a,b") == "a,b"
    assert joined(["a", "b,c", 7]) == 'a,"b,c",7'
    assert next(csv.reader(io.StringIO(joined(['"', ","])))) == ['"', ","]
    with pytest.raises(DataError, match="at least one column"):
        joined([])


def test_weights_have_the_mean_1_and_rows_of_weight_0_are_left_out():
    weights = np.array([0.0, 0.0, 2.0, 6.0, 0.0, 6.0] * 10)
    result = table("kind", weights=weights)
    assert result.notes == ("30 rows have weight 0 and are not used",)
    assert len(result.frame) == len(result.target.values) == 30
    assert result.weights.dtype == np.float32
    assert result.weights.mean() == pytest.approx(1)
    assert result.weights[:3].tolist() == pytest.approx(np.array([2, 6, 6]) / (14 / 3))
    assert [column.name for column in result.columns] == ["size", "price", "red", "tall"]
    assert result.target.classes == ("a", "c")
    assert np.array_equal(table("kind", weights=weights * 1e300).weights, result.weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([-1.0, 1.0], "every row needs a weight of 0 or more, in column 'w' it is negative in 30 rows; correct these"),
        ([np.nan, 1.0], "it is missing in 30 rows"),
        ([np.inf, 1.0], "it is infinite in 30 rows"),
        ([0.0, 0.0], "some row must have a weight above 0, column 'w' is 0 in all"),
        (["heavy", "light"], "weights must be numbers, column 'w' holds text; use another weight"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weights, message):
    with pytest.raises(DataError, match=message):
        table("kind", weights=weights * (ROWS // 2))


def test_the_least_weights_do_not_vanish_in_the_sum():
    weights = row_weights(pd.Series([5e-324, 1e308, 1e-300]), "w")
    assert np.isfinite(weights).all()
    assert weights.tolist() == [0, 1, 0]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200))
def test_balanced_classes_weigh_the_same(labels):
    labels = np.array(labels)
    sums = np.bincount(labels, balanced_weights(labels, 5))
    assert sums[np.unique(labels)] == pytest.approx(len(labels) / 5, rel=1e-5)
