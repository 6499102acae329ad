"""Scales, ticks and texts."""

import math

import pytest
from hpo_spaces import Categorical, Float, Integer, LogFloat, Ordered, SearchSpace
from hpo_spaces.mlp import MLP
from hypothesis import given
from hypothesis import strategies as st

from hpo.report.axes import axes, dimensions, log_ticks
from hpo.study.spec import SpaceSpec
from hpo.words import duration_text, label, loss_text, significant, value_text

ALL_KINDS = SearchSpace(
    name="all",
    dimensions=(
        Float("share", 0.0, 1.0),
        LogFloat("rate", 1e-3, 1e-1),
        Integer("layers", 1, 4),
        Ordered("width", (16, 64, 256)),
        Categorical("flag", (True, "1")),
        Float("fixed", 0.3, 0.3),
    ),
)


def study_in(make, space):
    spec = make.spec(space=SpaceSpec(reference="all", description=space.describe()))
    return make.study([make.trial(0, params={})], spec=spec)


def test_dimensions_are_rebuilt_from_the_spec(make, mixed):
    assert dimensions(mixed) == MLP.dimensions
    assert dimensions(study_in(make, ALL_KINDS)) == ALL_KINDS.dimensions


def test_axes_of_mlp(mixed):
    shown = {axis.name: axis for axis in axes(mixed)}
    assert shown["learning_rate"].scale == "log"
    assert shown["learning_rate"].title == "learning rate"
    assert shown["dropout"].scale == "linear"
    assert [text for _, text in shown["activation"].ticks][:3] == ["relu", "leaky_relu", "elu"]
    batch = shown["batch_exponent"]
    assert batch.title == "batch size"
    assert batch.text(6) == "64"
    assert (batch.low, batch.high) == (16, 512)
    assert batch.ticks[0] == (16.0, "16")


def test_choices_lie_at_their_index(make):
    flag = {axis.name: axis for axis in axes(study_in(make, ALL_KINDS))}["flag"]
    assert [flag.position(value) for value in (True, "1")] == [0, 1]
    assert math.isnan(flag.position("other"))
    assert math.isnan(flag.position(None))


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (1e-4, 1e-1, ["0.0001", "0.001", "0.01", "0.1"]),
        (0.1, 2.0, ["0.1", "0.2", "0.5", "1", "2"]),
        (0.31, 0.33, ["0.31", "0.33"]),
    ],
)
def test_log_ticks(low, high, texts):
    assert [text for _, text in log_ticks(low, high)] == texts


@given(st.floats(1e-6, 1e6), st.floats(1.001, 1e9))
def test_log_ticks_lie_within_the_range(low, ratio):
    positions = [position for position, _ in log_ticks(low, low * ratio)]
    assert len(positions) >= 2
    assert positions == sorted(positions)
    assert low * 0.999 <= positions[0]
    assert positions[-1] <= low * ratio * 1.001


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.08234, 0.00512, "0.0823 ± 0.0051"),
        (0.5, None, "0.5000"),
        (0.00012345, None, "0.00012"),
        (123456.0, None, "1.23e+05"),
        (math.nan, None, "–"),
        (None, 0.1, "–"),
        (0.25, math.nan, "0.2500"),
    ],
)
def test_loss_text(value, error, text):
    assert loss_text(value, error) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.31, "2.3 s"), (45.2, "45 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (None, "–")]
)
def test_duration_text(seconds, text):
    assert duration_text(seconds) == text


def test_labels_are_plain_text():
    assert label("<b>a & b</b>") == "&lt;b&gt;a &amp; b&lt;/b&gt;"
    assert label("x" * 100) == "x" * 39 + "…"


def test_significant_digits_and_gaps():
    assert significant(0.123456789) == 0.12346
    assert significant(math.inf) is None
    assert significant(math.nan) is None


def test_values_as_text():
    assert [value_text(v) for v in (0.123456, 12, "relu", True)] == ["0.123", "12", "relu", "True"]
