import json
import math
import pickle

import numpy as np
import optuna
import pytest
from hpo_spaces import (
    Categorical,
    Float,
    Integer,
    LogFloat,
    MlpSpace,
    Ordered,
    SearchSpace,
    changed_dimensions,
    space_changes,
)
from hpo_spaces.mlp import MLP, mlp_space
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpo.errors import SpaceError
from hpo.network.architecture import Architecture


def small_network(params):
    return Architecture(
        widths=(4,),
        activation="relu",
        initializer="he_normal",
        dropout=0.0,
        learning_rate=0.01,
        batch_size=32,
    )


def space(*dimensions, **fields):
    return MlpSpace(**{"name": "test", "dimensions": dimensions, "architecture": small_network, **fields})


EVERY_KIND = space(
    Float("share", -1.0, 1.0),
    Ordered("size", ("small", "medium", "large")),
    Categorical("kind", ("a", "b", 3, True)),
    LogFloat("rate", 1e-3, 1e3),
    Integer("count", -2, 5),
    settings={"units": 7},
)
GOOD = {"share": 0.25, "size": "large", "kind": "b", "rate": 1.0, "count": 5}
SPACES = pytest.mark.parametrize("searched", [EVERY_KIND, MLP], ids=lambda s: s.name)


def same(given_params, decoded):
    """Exact for discrete values, to 1e-12 relative for floats (none of the tests comes close to zero)."""
    assert given_params.keys() == decoded.keys()
    for name, value in given_params.items():
        if type(value) is float:
            assert math.isclose(decoded[name], value, rel_tol=1e-12, abs_tol=1e-12)
        else:
            assert decoded[name] == value
            assert type(decoded[name]) is type(value)


@SPACES
@given(data=st.data())
def test_decode_then_encode_then_decode_is_the_identity(searched, data):
    params = searched.decode(data.draw(arrays(float, searched.size, elements=st.floats(0, 1))))
    vector = searched.encode(params)
    assert vector.shape == (searched.size,)
    assert vector.dtype == np.float64
    assert ((vector >= 0) & (vector <= 1)).all()
    same(params, searched.decode(vector))


@SPACES
@given(data=st.data())
def test_every_vector_decodes_to_an_architecture(searched, data):
    vector = data.draw(arrays(float, searched.size, elements=st.floats(-1, 2)))
    params = searched.decode(vector)
    assert isinstance(searched.architecture(params), Architecture)
    assert params == searched.decode(np.clip(vector, 0, 1))


@SPACES
def test_what_optuna_proposes_goes_there_and_back(searched):
    """Random, then model-based: every proposal of a real study is a point of the space."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=15))
    for _ in range(30):
        trial = study.ask(fixed_distributions=searched.distributions())
        vector = searched.encode(trial.params)
        same(trial.params, searched.decode(vector))
        searched.architecture(trial.params)
        study.tell(trial, float(vector.sum()))
    assert len({tuple(t.params.values()) for t in study.trials}) == 30


def test_parameters_may_come_in_any_order():
    backwards = dict(reversed(GOOD.items()))
    assert (EVERY_KIND.encode(backwards) == EVERY_KIND.encode(GOOD)).all()
    assert list(EVERY_KIND.decode(EVERY_KIND.encode(backwards))) == list(GOOD)


def test_the_vector_is_the_dimensions_side_by_side():
    assert EVERY_KIND.size == 1 + 1 + 4 + 1 + 1
    assert EVERY_KIND.encode(GOOD) == pytest.approx([0.625, 5 / 6, 0, 1, 0, 0, 0.5, 7.5 / 8])


def test_samplers_may_see_the_order_of_choices():
    distributions = EVERY_KIND.sampling_distributions()
    assert distributions["size"] == optuna.distributions.IntDistribution(0, 2)
    assert EVERY_KIND.distributions()["size"] == optuna.distributions.CategoricalDistribution(
        ("small", "medium", "large")
    )
    others = {name: d for name, d in distributions.items() if name != "size"}
    assert others == {name: d for name, d in EVERY_KIND.distributions().items() if name != "size"}
    assert EVERY_KIND.to_sampling(GOOD) == {**GOOD, "size": 2}

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        sampled = study.ask(fixed_distributions=distributions).params
        params = EVERY_KIND.draw(lambda name, distribution, sampled=sampled: sampled[name])
        assert params["size"] in ("small", "medium", "large")
        assert EVERY_KIND.to_sampling(params) == sampled


def test_a_point_is_drawn_one_dimension_after_another():
    asked = []

    def lowest(name, distribution):
        asked.append((name, distribution))
        return distribution.choices[0] if name == "kind" else distribution.low

    params = EVERY_KIND.draw(lowest)
    assert params == {"share": -1.0, "size": "small", "kind": "a", "rate": 1e-3, "count": -2}
    assert dict(asked) == EVERY_KIND.sampling_distributions()
    assert [name for name, _ in asked] == list(params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({k: v for k, v in GOOD.items() if k != "rate"}, "dimension 'rate': a value is required"),
        ({**GOOD, "depth": 3}, "got 'depth'; remove it"),
        ({**GOOD, "count": 6}, "dimension 'count': .*from -2 to 5, got 6"),
        ({**GOOD, "size": "huge"}, "dimension 'size': .*'medium'.*got 'huge'"),
    ],
)
def test_wrong_parameters_are_refused_by_name(params, message):
    with pytest.raises(SpaceError, match=message):
        EVERY_KIND.encode(params)


@pytest.mark.parametrize("vector", [[0.5] * 7, [0.5] * 9, [[0.5] * 8], [0.5] * 7 + [math.nan], [math.inf] * 8])
def test_wrong_vectors_are_refused(vector):
    with pytest.raises(SpaceError, match="must hold 8 finite numbers"):
        EVERY_KIND.decode(vector)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: space(), "at least one dimension"),
        (lambda: space(dimensions={}), "at least one dimension"),
        (lambda: space(Float("x", 0, 1), Integer("x", 0, 1)), "dimension 'x': names must differ"),
        (lambda: space(Float), "got <class .*Float"),
        (lambda: space(("x", 0.0, 1.0)), "dimensions must be Float"),
        (lambda: space(Float("x", 0, 1), name="no good"), "space's name"),
        (lambda: space(Float("x", 0, 1), architecture=None), "architecture must be a function"),
        (lambda: space(Float("x", 0, 1), settings={"a": math.nan}), "settings must be finite JSON"),
        (lambda: space(Float("x", 0, 1), settings={"a": object()}), "settings must be finite JSON"),
    ],
)
def test_impossible_spaces_are_refused(make, message):
    """Fault 32."""
    with pytest.raises(SpaceError, match=message):
        make()


@SPACES
def test_the_description_survives_json(searched):
    description = searched.describe()
    stored = json.loads(json.dumps(description, allow_nan=False))
    assert stored == description
    assert changed_dimensions(stored, description) == []
    assert [d["name"] for d in stored["dimensions"]] == [d.name for d in searched.dimensions]


def test_settings_are_compared_as_json_stores_them():
    made = space(Float("x", 0, 1), settings={"sizes": (1, 2)})
    assert changed_dimensions(json.loads(json.dumps(made.describe())), made.describe()) == []


A, B, C = Float("a", 0, 1), Ordered("b", (1, 2)), Integer("c", 0, 3)


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        (space(A, B, C), []),
        (space(A, Ordered("b", (1, 2, 3)), C), ["b"]),
        (space(A, Ordered("b", (2, 1)), C), ["b"]),
        (space(A, Categorical("b", (1, 2)), C), ["b"]),
        (space(LogFloat("a", 0.5, 1), B, Integer("c", 1, 3)), ["a", "c"]),
        (space(A, C), ["b"]),
        (space(Float("new", 0, 1), A, B, C), ["new"]),
        (space(A, C, B), ["b", "c"]),
        (space(A, B, C, settings={"units": 3}), ["setting units"]),
        (space(A, B, C, settings={"units": None}), ["setting units"]),
        (space(A, B, C, name="other"), ["name of the space"]),
    ],
)
def test_changes_are_named(now, changed):
    """Fault 32: choices changed mid-study."""
    stored = json.loads(json.dumps(space(A, B, C).describe()))
    assert changed_dimensions(stored, now.describe()) == changed
    assert sorted(changed_dimensions(now.describe(), stored)) == changed
    assert (stored == now.describe()) is (changed == [])


def test_a_changed_setting_of_mlp_is_named():
    assert changed_dimensions(mlp_space(300).describe(), MLP.describe()) == ["setting units"]


@SPACES
def test_spaces_can_be_sent_to_another_process(searched):
    copy = pickle.loads(pickle.dumps(searched))
    vector = [0.3] * searched.size
    assert copy.architecture(copy.decode(vector)) == searched.architecture(searched.decode(vector))


def test_changes_of_a_space_are_told_with_both_values():
    old = SearchSpace(name="s", dimensions=(Float("x", 0, 1), Float("gone", 0, 1)), settings={"units": 5})
    new = SearchSpace(name="s", dimensions=(Float("x", 0, 2), Float("more", 0, 1)), settings={"units": 7})
    assert space_changes(old.describe(), new.describe()) == [
        "dimension 'x': high 1.0 -> 2.0",
        "dimension 'gone': removed",
        "dimension 'more': new",
        "setting units: 5 -> 7",
    ]
    assert space_changes(old.describe(), old.describe()) == []
