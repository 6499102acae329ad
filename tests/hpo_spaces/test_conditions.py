"""Conditional dimensions, over spaces of every shape."""

import json
import math
import pickle

import numpy as np
import optuna
import pytest
from hpo_spaces import Categorical, Float, Integer, LogFloat, MlpSpace, Ordered, changed_dimensions
from hpo_spaces.space import NEUTRAL
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpo.errors import SpaceError
from hpo.network.architecture import Architecture

KINDS = {"float": Float, "log_float": LogFloat, "integer": Integer, "ordered": Ordered, "categorical": Categorical}


def network(params):
    return Architecture(
        widths=(4,), activation="relu", initializer="he_normal", dropout=0.0, learning_rate=0.01, batch_size=32
    )


def space(*dimensions, **fields):
    return MlpSpace(**{"name": "test", "dimensions": dimensions, "architecture": network, **fields})


OPTIMIZER = Categorical("optimizer", ("adam", "sgd", "rmsprop"))
TRAINING = space(
    OPTIMIZER,
    Float("momentum", 0.0, 0.9, when=("optimizer", ("sgd", "rmsprop"))),
    Ordered("nesterov", (False, True), when=("optimizer", ("sgd",))),
    LogFloat("lookahead", 0.01, 1.0, when=("nesterov", (True,))),
    Integer("layers", 1, 3),
)


@st.composite
def spaces(draw):
    """A space of up to eight dimensions, some of which depend on an earlier one with choices."""
    dimensions = []
    for number in range(draw(st.integers(1, 8))):
        discrete = [d for d in dimensions if isinstance(d, Ordered | Categorical)]
        when = None
        if discrete and draw(st.booleans()):
            upper = draw(st.sampled_from(discrete))
            wanted = draw(st.lists(st.sampled_from(upper.choices), min_size=1, max_size=3, unique=True))
            when = (upper.name, tuple(wanted))
        kind = draw(st.sampled_from([Float, LogFloat, Integer, Ordered, Categorical]))
        bounds = (("a", "b", 3)[: draw(st.integers(1, 3))],) if kind in (Ordered, Categorical) else (1, 7)
        dimensions.append(kind(f"d{number}", *bounds, when=when))
    return space(*dimensions)


@st.composite
def points(draw):
    """A space, a vector, and the point that the vector stands for."""
    searched = draw(spaces())
    vector = draw(arrays(float, searched.size, elements=st.floats(-0.5, 1.5)))
    return searched, vector, searched.decode(vector)


def active_names(searched, params):
    """The definition, once more: the condition holds, and that of the dimension it names, and so on."""
    by_name = {d.name: d for d in searched.dimensions}

    def holds(dimension):
        if dimension.when is None:
            return True
        name, choices = dimension.when
        return holds(by_name[name]) and params[name] in choices

    return [d.name for d in searched.dimensions if holds(d)]


def blocks(searched):
    """The coordinates of each dimension."""
    start = 0
    for dimension in searched.dimensions:
        yield dimension, slice(start, start + dimension.size)
        start += dimension.size


def same(params, other):
    assert list(params) == list(other)
    for name, value in params.items():
        assert type(other[name]) is type(value)
        assert math.isclose(other[name], value, rel_tol=1e-12) if type(value) is float else other[name] == value


@given(points())
def test_every_vector_is_a_point_that_holds_the_active_dimensions_only(case):
    searched, _, params = case
    assert list(params) == active_names(searched, params)
    assert isinstance(searched.architecture(params), Architecture)


@given(points())
def test_what_is_encoded_decodes_to_itself(case):
    searched, _, params = case
    vector = searched.encode(params)
    assert vector.shape == (searched.size,)
    assert ((vector >= 0) & (vector <= 1)).all()
    same(params, searched.decode(vector))
    assert (searched.encode(dict(reversed(params.items()))) == vector).all()


@given(points(), st.floats(0, 1))
def test_coordinates_of_inactive_dimensions_are_neutral_and_change_nothing(case, other):
    searched, _, params = case
    vector = searched.encode(params)
    for dimension, block in blocks(searched):
        if dimension.name not in params:
            assert (vector[block] == NEUTRAL).all()
            vector[block] = other
    same(params, searched.decode(vector))


@given(points(), st.data())
def test_a_point_that_lacks_an_active_dimension_is_refused_by_name(case, data):
    searched, _, params = case
    name = data.draw(st.sampled_from(list(params)))
    with pytest.raises(SpaceError, match=f"dimension '{name}': a value is required, got none"):
        searched.encode({key: value for key, value in params.items() if key != name})


@given(points(), st.data())
def test_a_point_that_holds_an_inactive_dimension_is_refused_by_name(case, data):
    searched, _, params = case
    searched = space(*searched.dimensions, OPTIMIZER, Float("momentum", 0, 1, when=("optimizer", ("sgd",))))
    params = {**params, "optimizer": "adam"}
    inactive = [dimension for dimension in searched.dimensions if dimension.name not in params]
    dimension = data.draw(st.sampled_from(inactive))
    params[dimension.name] = dimension.decode([0.5] * dimension.size)
    with pytest.raises(SpaceError, match=f"dimension '{dimension.name}': there is a value only where"):
        searched.encode(params)
    with pytest.raises(SpaceError, match=f"dimension '{dimension.name}': there is a value only where"):
        searched.to_sampling(params)


@given(spaces())
def test_the_description_has_a_condition_where_there_is_one(searched):
    described = searched.describe()
    stored = json.loads(json.dumps(described, allow_nan=False))
    assert changed_dimensions(stored, described) == []
    for dimension, fields in zip(searched.dimensions, stored["dimensions"], strict=True):
        assert ("when" in fields) == (dimension.when is not None)
        assert KINDS[fields.pop("kind")](**fields) == dimension


@given(spaces(), st.integers(0, 1000))
@settings(deadline=None)
def test_what_is_drawn_is_a_point(searched, seed):
    random = np.random.default_rng(seed)

    def suggest(name, distribution):
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            return distribution.choices[random.integers(len(distribution.choices))]
        if isinstance(distribution, optuna.distributions.IntDistribution):
            return int(random.integers(distribution.low, distribution.high + 1))
        return random.uniform(distribution.low, distribution.high)

    params = searched.draw(suggest)
    same(params, searched.decode(searched.encode(params)))
    sampled = searched.to_sampling(params)
    assert searched.draw(lambda name, distribution: sampled[name]) == params


@given(points())
def test_a_space_with_conditions_can_be_sent_to_another_process(case):
    searched, vector, params = case
    assert pickle.loads(pickle.dumps(searched)).decode(vector) == params


@pytest.mark.parametrize(
    ("params", "vector"),
    [
        ({"optimizer": "adam", "layers": 2}, [1, 0, 0, 0.5, 0.5, 0.5, 0.5]),
        ({"optimizer": "rmsprop", "momentum": 0.9, "layers": 2}, [0, 0, 1, 1, 0.5, 0.5, 0.5]),
        ({"optimizer": "sgd", "momentum": 0.0, "nesterov": False, "layers": 2}, [0, 1, 0, 0, 0.25, 0.5, 0.5]),
        (
            {"optimizer": "sgd", "momentum": 0.0, "nesterov": True, "lookahead": 1.0, "layers": 2},
            [0, 1, 0, 0, 0.75, 1, 0.5],
        ),
    ],
)
def test_a_condition_that_does_not_hold_takes_what_depends_on_it_along(params, vector):
    assert TRAINING.encode(params) == pytest.approx(vector)
    assert TRAINING.decode(vector) == params


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"optimizer": "sgd", "layers": 1}, "dimension 'momentum': a value is required"),
        (
            {"optimizer": "adam", "momentum": 0.5, "layers": 1},
            "dimension 'momentum': there is a value only where 'optimizer' is one of .*'sgd', 'rmsprop'.*, "
            "got 0.5 with 'adam'; remove it",
        ),
        (
            {"optimizer": "adam", "nesterov": True, "lookahead": 0.1, "layers": 1},
            "dimension 'nesterov': there is a value only where",
        ),
        ({"optimizer": "adam", "lookahead": 0.1, "layers": 1}, "dimension 'lookahead': .* got 0.1 with None"),
        ({"optimizer": "rmsprop", "momentum": 0.95, "layers": 1}, "dimension 'momentum': .*from 0.0 to 0.9, got 0.95"),
    ],
)
def test_wrong_points_are_refused_with_the_condition(params, message):
    with pytest.raises(SpaceError, match=message):
        TRAINING.encode(params)
    with pytest.raises(SpaceError, match=message):
        space(*TRAINING.dimensions, starts=(params,))


@pytest.mark.parametrize(
    ("dimensions", "message"),
    [
        ([Float("m", 0, 1, when=("optimiser", ("sgd",))), OPTIMIZER], "got 'optimiser'; use one of \\[\\]"),
        ([OPTIMIZER, Float("m", 0, 1, when=("optimiser", ("sgd",)))], "got 'optimiser'; use one of \\['optimizer'\\]"),
        ([Float("m", 0, 1, when=("optimizer", ("sgd",))), OPTIMIZER], "comes before it, got 'optimizer'; .*move"),
        ([Ordered("m", (1, 2), when=("m", (1,)))], "comes before it, got 'm'"),
        ([Integer("n", 1, 3), Float("m", 0, 1, when=("n", (1,)))], "Ordered or Categorical .*'n', a Integer"),
        (
            [OPTIMIZER, Float("m", 0, 1, when=("optimizer", ("sgd", "sdg")))],
            "choices of 'optimizer', got 'sdg'; choose",
        ),
    ],
)
def test_impossible_conditions_are_refused_by_name(dimensions, message):
    with pytest.raises(SpaceError, match=f"dimension 'm': when must .*{message}"):
        space(*dimensions)


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("when", ["optimizer", ("optimizer",), ("optimizer", "sgd"), ("optimizer", ()), (1, (2,)), {}])
def test_conditions_of_another_form_are_refused(kind, when):
    bounds = (("a",),) if kind in (Ordered, Categorical) else (1, 2)
    with pytest.raises(SpaceError, match=r"dimension 'x': when must be the name .* write it as when=\('optimizer'"):
        kind("x", *bounds, when=when)


def test_changed_conditions_are_named():
    def described(when):
        return space(OPTIMIZER, Float("m", 0, 1, when=when)).describe()

    conditions = [None, ("optimizer", ("sgd",)), ("optimizer", ("sgd", "rmsprop"))]
    for stored in conditions:
        for now in conditions:
            assert changed_dimensions(described(stored), described(now)) == ([] if stored == now else ["m"])
