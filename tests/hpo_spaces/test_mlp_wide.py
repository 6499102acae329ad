import pytest
from hpo_spaces import load_space
from hpo_spaces.mlp import MLP
from hpo_spaces.mlp_wide import MLP_WIDE, RATE_SCALES
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

PLAIN, COSINE, MOMENTUM = MLP_WIDE.starts


@given(arrays(float, MLP_WIDE.size, elements=st.floats(0, 1)))
def test_every_vector_is_a_network_within_the_documented_ranges(vector):
    params = MLP_WIDE.decode(vector)
    made = MLP_WIDE.architecture(params)
    assert 1e-4 <= made.learning_rate / RATE_SCALES.get(made.optimizer, 1.0) * 1.0000001 <= 0.1000001
    assert 0.0 <= made.momentum <= 0.95
    assert made.momentum == 0.0 or made.optimizer in ("sgd", "rmsprop")
    assert not made.nesterov or made.optimizer == "sgd"
    assert (made.weight_decay > 0.0) == (made.optimizer in ("adamw", "lion"))
    assert made.warmup == 0.0 or made.schedule in ("linear", "cosine", "exponential")
    assert (made.l2 > 0.0) == (params["penalty"] == "l2")
    assert made.schedule == "constant" or made.schedule_epochs in (20, 40, 80, 160)
    assert (made.clip_norm, made.skip, made.embedding) == (0.0, False, "none")


@given(arrays(float, MLP.size, elements=st.floats(0, 1)))
def test_the_networks_of_mlp_are_among_them(vector):
    params = MLP.decode(vector)
    plain = MLP.architecture(params)
    choices = {**PLAIN, **params, "initializer": plain.initializer}
    assert MLP_WIDE.architecture(MLP_WIDE.decode(MLP_WIDE.encode(choices))).widths == plain.widths
    assert MLP_WIDE.architecture(choices) == plain


def test_each_value_reaches_the_network():
    params = {
        **MOMENTUM,
        **{"momentum": 0.7, "nesterov": False, "schedule": "linear", "schedule_epochs": 80, "warmup": 0.15},
        **{"initializer": "orthogonal", "penalty": "l2", "l2": 1e-3, "normalization": "layer", "label_smoothing": 0.2},
    }
    made = MLP_WIDE.architecture(MLP_WIDE.decode(MLP_WIDE.encode(params)))
    assert (made.optimizer, made.momentum, made.nesterov) == ("sgd", 0.7, False)
    assert (made.schedule, made.schedule_epochs, made.warmup) == ("linear", 80, 0.15)
    assert (made.initializer, made.normalization, made.label_smoothing) == ("orthogonal", "layer", 0.2)
    assert made.l2 == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("optimizer", "own", "rate"),
    [
        ("adam", {}, 1e-3),
        ("nadam", {}, 1e-3),
        ("adamax", {}, 2e-3),
        ("rmsprop", {"momentum": 0.5}, 1e-3),
        ("sgd", {"momentum": 0.5, "nesterov": True}, 1e-2),
    ],
)
def test_the_learning_rate_is_scaled_to_the_optimizer(optimizer, own, rate):
    params = {**PLAIN, "learning_rate": 1e-3, "optimizer": optimizer, **own}
    made = MLP_WIDE.architecture(MLP_WIDE.decode(MLP_WIDE.encode(params)))
    assert made.learning_rate == pytest.approx(rate)
    assert made.weight_decay == 0.0


def test_lion_has_a_lower_rate_and_decays_as_adamw_does():
    adamw, lion = (MLP_WIDE.architecture({**COSINE, "optimizer": name}) for name in ("adamw", "lion"))
    assert lion.learning_rate == pytest.approx(adamw.learning_rate / 10)
    assert lion.learning_rate * lion.weight_decay == pytest.approx(adamw.learning_rate * adamw.weight_decay)


def test_starting_points_are_three_recipes():
    made = [MLP_WIDE.architecture(start) for start in MLP_WIDE.starts]
    assert [network.optimizer for network in made] == ["adam", "adamw", "sgd"]
    assert made[0] == MLP.architecture(MLP.starts[0])
    for start in MLP_WIDE.starts:
        assert MLP_WIDE.decode(MLP_WIDE.encode(start)) == pytest.approx(start)


def test_it_loads_by_name():
    assert load_space("mlp_wide") is MLP_WIDE
    assert MLP_WIDE.describe()["settings"] == {"units": 500, "sgd_rate": 10.0, "adamax_rate": 2.0, "lion_rate": 0.1}
