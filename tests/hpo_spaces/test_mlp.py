import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hpo_spaces.mlp import ACTIVATIONS, MLP, layer_widths, mlp_space
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpo.errors import SpaceError

GOOD = {
    "dropout": 0.1,
    "learning_rate": 1e-3,
    "neuron_percent": 0.2,
    "neuron_shrink": 0.5,
    "activation": "relu",
    "batch_exponent": 5,
}


@pytest.mark.parametrize(
    ("percent", "shrink", "units", "widths"),
    [
        (1.0, 0.5, 500, (500, 250, 125, 62, 31)),  # 15 would follow
        (1.0, 1.0, 500, (500,) * 10),  # ten layers at most
        (1.0, 0.01, 500, (500,)),
        (0.01, 1.0, 500, (5,)),  # the first layer may be narrow, a next one may not
        (0.052, 1.0, 500, (26,) * 10),
        (0.05, 1.0, 500, (25,)),  # 25 is not more than 25
        (0.2, 0.26, 500, (100, 26)),
        (0.2, 0.25, 500, (100,)),
        (0.5, 0.6, 500, (250, 150, 90, 54, 32)),
        (0.01, 0.5, 50, (1,)),  # floor is 0, at least 1 stays
    ],
)
def test_layer_rule(percent, shrink, units, widths):
    assert layer_widths(percent, shrink, units) == widths


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(1, 2000))
def test_layer_rule_holds_everywhere(percent, shrink, units):
    widths = layer_widths(percent, shrink, units)
    assert 1 <= len(widths) <= 10
    assert widths[0] == max(1, int(percent * units))
    assert all(b == int(shrink * a) and b > 25 for a, b in pairwise(widths))
    assert len(widths) == 10 or int(shrink * widths[-1]) <= 25


def test_dimensions_are_the_documented_ones():
    assert MLP.describe() == {
        "name": "mlp",
        "settings": {"units": 500},
        "dimensions": [
            {"kind": "float", "name": "dropout", "low": 0.0, "high": 0.5},
            {"kind": "log_float", "name": "learning_rate", "low": 1e-4, "high": 1e-1},
            {"kind": "float", "name": "neuron_percent", "low": 0.01, "high": 1.0},
            {"kind": "float", "name": "neuron_shrink", "low": 0.01, "high": 1.0},
            {
                "kind": "categorical",
                "name": "activation",
                "choices": ["relu", "leaky_relu", "elu", "selu", "swish", "tanh", "sigmoid", "prelu"],
            },
            {"kind": "integer", "name": "batch_exponent", "low": 4, "high": 9},
        ],
    }


def test_the_description_is_the_stored_one_to_the_byte():
    """A study whose stored description differs is not resumed."""
    assert json.dumps(MLP.describe()) == (
        '{"name": "mlp", "settings": {"units": 500}, "dimensions": ['
        '{"kind": "float", "name": "dropout", "low": 0.0, "high": 0.5}, '
        '{"kind": "log_float", "name": "learning_rate", "low": 0.0001, "high": 0.1}, '
        '{"kind": "float", "name": "neuron_percent", "low": 0.01, "high": 1.0}, '
        '{"kind": "float", "name": "neuron_shrink", "low": 0.01, "high": 1.0}, '
        '{"kind": "categorical", "name": "activation", "choices": '
        '["relu", "leaky_relu", "elu", "selu", "swish", "tanh", "sigmoid", "prelu"]}, '
        '{"kind": "integer", "name": "batch_exponent", "low": 4, "high": 9}]}'
    )


def test_values_become_the_architecture():
    made = MLP.architecture(GOOD)
    assert made.widths == (100, 50)
    assert (made.dropout, made.learning_rate, made.activation, made.batch_size) == (0.1, 1e-3, "relu", 32)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation_has_its_initializer(activation):
    expected = {"relu": "he_normal", "leaky_relu": "he_normal", "prelu": "he_normal", "selu": "lecun_normal"}
    made = MLP.architecture({**GOOD, "activation": activation})
    assert made.initializer == expected.get(activation, "glorot_uniform")


def test_batch_sizes_are_the_powers_of_two():
    sizes = [MLP.architecture({**GOOD, "batch_exponent": e}).batch_size for e in range(4, 10)]
    assert sizes == [16, 32, 64, 128, 256, 512]


@given(arrays(float, MLP.size, elements=st.floats(0, 1)), st.integers(1, 1000))
def test_every_vector_is_a_network_within_the_documented_ranges(vector, units):
    space = mlp_space(units)
    made = space.architecture(space.decode(vector))
    assert made.widths[0] <= units
    assert 0.0 <= made.dropout <= 0.5
    assert 1e-4 <= made.learning_rate <= 1e-1
    assert made.batch_size in (16, 32, 64, 128, 256, 512)
    assert made.activation in ACTIVATIONS


@pytest.mark.parametrize("units", [0, -5, 2.5, True, "500"])
def test_units_are_checked(units):
    with pytest.raises(SpaceError, match="units must be a whole number of at least 1"):
        mlp_space(units)


def test_starting_points_are_points_of_the_space():
    for start in MLP.starts:
        assert MLP.decode(MLP.encode(start)) == pytest.approx(start)
    with pytest.raises(SpaceError, match="dropout"):
        replace(MLP, starts=({**MLP.starts[0], "dropout": 0.9},))
