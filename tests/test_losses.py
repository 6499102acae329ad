"""Losses: what they are called, the loss of each row, baselines, and the same losses in training."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hpo.engine.heads import HEADS
from hpo.losses import BY_HEAD, LOSSES, Head, Task, losses_for, mean_loss
from hpo.settings import EvaluationSpec


def test_settings_offer_the_losses_and_their_tasks():
    fields = EvaluationSpec.model_fields
    assert get_args(fields["loss"].annotation) == ("auto", *LOSSES)
    assert get_args(fields["task"].annotation) == ("auto", *get_args(Task))


def test_the_first_loss_of_a_task_is_its_default():
    keys = {task: [loss.key for loss in losses_for(task)] for task in get_args(Task)}
    assert keys == {
        "classification": ["log_loss"],
        "multilabel": ["log_loss"],
        "regression": ["squared_error", "gaussian"],
    }


@pytest.mark.parametrize(
    ("key", "task", "count", "head"),
    [
        ("log_loss", "classification", 2, Head("sigmoid", 1)),
        ("log_loss", "classification", 3, Head("softmax", 3)),
        ("log_loss", "multilabel", 2, Head("sigmoid", 2)),
        ("squared_error", "regression", 1, Head("squared", 1)),
        ("gaussian", "regression", 1, Head("gaussian", 2)),
    ],
)
def test_a_head_has_the_outputs_that_its_loss_needs(key, task, count, head):
    assert LOSSES[key].head(task, count) == head
    assert BY_HEAD[head.name] is LOSSES[key]


def rows_of(head):
    """Targets and outputs of 20 rows."""
    rng = np.random.default_rng(0)
    if head == "softmax":
        return rng.integers(0, 3, 20), rng.normal(size=(20, 3))
    if head == "sigmoid":
        return rng.integers(0, 2, (20, 3)).astype(float), rng.normal(size=(20, 3))
    return rng.normal(size=(20, 1)), rng.normal(size=(20, 2 if head == "gaussian" else 1))


@pytest.mark.parametrize("head", BY_HEAD)
def test_networks_learn_what_they_are_judged_by(head):
    targets, outputs = rows_of(head)
    trained = np.asarray(
        HEADS[head].row_losses(targets[None].astype(np.float32), outputs[None].astype(np.float32), None)
    )
    np.testing.assert_allclose(trained[0], BY_HEAD[head].heads[head](targets, outputs), rtol=1e-4)


def test_losses_are_those_of_probability_distributions():
    targets, outputs = rows_of("gaussian")
    likelihood = stats.norm(outputs[:, :1], np.exp(outputs[:, 1:] / 2)).logpdf(targets)
    assert mean_loss("gaussian", targets, outputs) == pytest.approx(-likelihood.mean(), rel=1e-12)
    targets, outputs = rows_of("sigmoid")
    likelihood = stats.bernoulli(1 / (1 + np.exp(-outputs))).logpmf(targets)
    assert mean_loss("sigmoid", targets, outputs) == pytest.approx(-likelihood.mean(), rel=1e-12)
    targets, outputs = rows_of("squared")
    weights = np.arange(20.0)
    weighted = (weights * (targets - outputs)[:, 0] ** 2).sum() / weights.sum()
    assert mean_loss("squared", targets, outputs, weights) == pytest.approx(weighted, rel=1e-12)


@given(st.lists(st.lists(st.floats(-500, 500), min_size=3, max_size=3), min_size=1, max_size=20))
def test_log_loss_is_that_of_the_softmax(rows):
    logits = np.array(rows, dtype=np.float32)
    labels = np.arange(len(rows)) % 3
    wide = logits.astype(np.longdouble)
    expected = np.mean([np.log(np.exp(row - row[label]).sum()) for row, label in zip(wide, labels, strict=True)])
    assert mean_loss("softmax", labels, logits) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_log_loss_of_broken_logits_is_not_finite(bad):
    logits = np.zeros((4, 3), np.float32)
    logits[1] = bad
    assert not np.isfinite(mean_loss("softmax", np.zeros(4, int), logits))


def test_log_loss_is_never_clipped():
    assert mean_loss("softmax", np.array([1]), np.array([[1000.0, 0.0]])) == 1000.0
