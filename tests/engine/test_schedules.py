"""Learning-rate schedules: equal to Keras' where it has them, and with the promised shape elsewhere."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.engine.schedules import SCHEDULES, learning_rates
from hpo.network.architecture import SCHEDULE_NAMES, Architecture

RATE, EPOCHS, PER_EPOCH = 0.02, 10, 12
HORIZON = EPOCHS * PER_EPOCH


def rates(schedule, first_step=0, steps=HORIZON + 40, per_epoch=PER_EPOCH, **changes):
    architecture = Architecture(
        widths=(4,),
        activation="relu",
        initializer="he_normal",
        dropout=0.0,
        batch_size=32,
        **{"learning_rate": RATE, "schedule": schedule, "schedule_epochs": EPOCHS, **changes},
    )
    return learning_rates(architecture, first_step=first_step, steps=steps, steps_per_epoch=per_epoch)


def in_keras(schedule, steps):
    return np.array([float(schedule(step)) for step in range(steps)])


def test_registry_has_the_names_of_architectures():
    assert tuple(SCHEDULES) == SCHEDULE_NAMES


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("linear", keras.optimizers.schedules.PolynomialDecay(RATE, HORIZON, RATE / 100, power=1.0)),
        ("cosine", keras.optimizers.schedules.CosineDecay(RATE, HORIZON)),
    ],
)
def test_schedule_is_that_of_keras(name, schedule):
    ours = rates(name)
    np.testing.assert_allclose(ours, in_keras(schedule, len(ours)), rtol=1e-5, atol=1e-7 * RATE)


def test_exponential_is_that_of_keras_up_to_the_horizon():
    """Keras' goes on falling."""
    schedule = keras.optimizers.schedules.ExponentialDecay(RATE, HORIZON, decay_rate=0.01)
    np.testing.assert_allclose(rates("exponential", steps=HORIZON + 1), in_keras(schedule, HORIZON + 1), rtol=1e-5)


@pytest.mark.parametrize("warmup", [0.1, 0.35, 0.9])
def test_warm_up_is_that_of_keras(warmup):
    warm = round(warmup * HORIZON)
    schedule = keras.optimizers.schedules.CosineDecay(0.0, HORIZON - warm, warmup_target=RATE, warmup_steps=warm)
    ours = rates("cosine", warmup=warmup)
    np.testing.assert_allclose(ours, in_keras(schedule, len(ours)), rtol=1e-5, atol=1e-7 * RATE)


def test_constant_is_constant():
    assert set(rates("constant")) == {np.float32(RATE)}


@pytest.mark.parametrize(
    ("name", "last"), [("constant", 1), ("exponential", 0.01), ("linear", 0.01), ("cosine", 0), ("one_cycle", 1e-4)]
)
def test_last_rate_stays_after_the_horizon(name, last):
    np.testing.assert_allclose(rates(name)[HORIZON:], RATE * last, rtol=1e-6)


def test_one_cycle_rises_linearly_and_falls_by_cosine():
    share = rates("one_cycle") / RATE
    top = round(0.3 * HORIZON)
    np.testing.assert_allclose(share[: top + 1], np.linspace(1 / 25, 1, top + 1), rtol=1e-5)
    fall = keras.optimizers.schedules.CosineDecay(1.0, HORIZON - top, alpha=1e-4)
    np.testing.assert_allclose(share[top:], in_keras(fall, len(share) - top), rtol=1e-4, atol=1e-7)


settings = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(1e-6, 1e2),
        "warmup": st.floats(0.0, 0.99),
        "schedule_epochs": st.integers(1, 500),
    }
)


@given(st.sampled_from(SCHEDULE_NAMES), settings, st.integers(1, 50))
def test_rates_stay_between_zero_and_the_highest(name, settings, per_epoch):
    horizon = settings["schedule_epochs"] * per_epoch
    values = rates(name, steps=horizon + 2, per_epoch=per_epoch, **settings)
    assert values.dtype == np.float32
    assert values.shape == (horizon + 2,)
    assert values.min() >= 0.0
    assert values.max() <= np.float32(settings["learning_rate"])
    assert values[horizon] == values[horizon + 1]


@given(st.sampled_from(SCHEDULE_NAMES), settings, st.integers(1, 50))
def test_rates_rise_once_at_most_then_fall(name, settings, per_epoch):
    values = rates(name, steps=settings["schedule_epochs"] * per_epoch + 2, per_epoch=per_epoch, **settings)
    peak = int(values.argmax())
    assert (np.diff(values[: peak + 1]) >= 0).all()
    assert (np.diff(values[peak:]) <= 0).all()


@given(st.sampled_from(SCHEDULE_NAMES), settings, st.integers(0, 3000), st.integers(0, 200))
def test_a_part_of_the_steps_has_the_same_rates(name, settings, first_step, steps):
    """So an epoch in parts, or a run resumed, trains as a whole one."""
    whole = rates(name, steps=first_step + steps, **settings)
    np.testing.assert_array_equal(rates(name, first_step=first_step, steps=steps, **settings), whole[first_step:])
