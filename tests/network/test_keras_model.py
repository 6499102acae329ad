"""The plain Keras reference holds every field of an architecture, on TensorFlow and on JAX."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as as_numpy

from hpo.network.architecture import (
    ACTIVATION_NAMES,
    INITIALIZER_NAMES,
    NORMALIZATION_NAMES,
    OPTIMIZER_NAMES,
    Architecture,
)
from hpo.network.keras_model import PeriodicEmbedding, StepRates, build_keras_model, compile_keras_model

FEATURES, CLASSES, ROWS = 4, 3, 24
PLAIN = {"activation": "relu", "initializer": "he_normal", "dropout": 0.0, "learning_rate": 0.01, "batch_size": 24}
FULL = {
    "widths": (16, 16, 6),
    "activation": "prelu",
    "normalization": "batch",
    "dropout": 0.2,
    "input_dropout": 0.1,
    "noise": 0.1,
    "skip": True,
    "embedding": "periodic",
    "embedding_frequencies": 2,
    "l1": 1e-4,
    "l2": 1e-3,
    "clip_norm": 1.0,
    "label_smoothing": 0.1,
    "optimizer": "adamw",
}
CHANGES = (
    # Small kernels, so that exponentials of exponentials stay finite.
    *({"activation": name, "initializer": "random_normal"} for name in ACTIVATION_NAMES),
    *({"initializer": name} for name in INITIALIZER_NAMES),
    *({"optimizer": name, "weight_decay": 0.01} for name in OPTIMIZER_NAMES),
    *({"normalization": name} for name in NORMALIZATION_NAMES),
    {"embedding": "periodic"},
    {"skip": True},
    {"skip": True, "widths": (6, 5)},
    FULL,
)


def architecture(**changes):
    return Architecture(**{"widths": (4, 5), **PLAIN, **changes})


def rows():
    rng = np.random.default_rng(1)
    return rng.normal(size=(ROWS, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, ROWS).astype(np.int32)


def compiled(rates=None, **changes):
    arch = architecture(**changes)
    keras.utils.set_random_seed(0)
    model = build_keras_model(arch, FEATURES, CLASSES)
    compile_keras_model(model, arch, rates)
    model.run_eagerly = True  # for a few steps: to compile a model takes longer
    return model


def values(model):
    """The weights; on JAX Keras' own `get_weights` draws a warning from numpy 2."""
    return [as_numpy(keras.ops.copy(weight)) for weight in model.weights]


def train(model, arch):
    """The losses, before each of two steps."""
    x, y = rows()
    labels = np.eye(CLASSES, dtype=np.float32)[y] if arch.label_smoothing else y
    return [float(model.train_on_batch(x, labels)) for _ in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_two_steps_change_all_weights(changes):
    arch, model = architecture(**changes), compiled(**changes)
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert count == arch.parameter_count(FEATURES, CLASSES)
    before = values(model)
    losses = train(model, arch)
    assert np.isfinite(losses).all()
    assert losses[0] != losses[1]
    assert all((old != new).any() for old, new in zip(before, values(model), strict=True))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, []),
        ({"activation": "prelu"}, ["alpha"]),
        ({"normalization": "layer"}, ["gamma", "beta"]),
        (
            {"normalization": "batch", "activation": "prelu"},
            ["gamma", "beta", "moving_mean", "moving_variance", "alpha"],
        ),
    ],
)
@pytest.mark.parametrize("around", [{}, {"embedding": "periodic", "skip": True, "widths": (64, 64)}], ids=str)
def test_weights_come_in_the_documented_order(around, changes, names):
    weights = compiled(**{"dropout": 0.1, **around, **changes}).weights
    start = ["frequencies"] if around else []
    bias = ["bias"] * (changes.get("normalization") != "batch")
    assert [weight.name for weight in weights] == [*start, *["kernel", *bias, *names] * 2, "kernel", "bias"]


def test_layers_come_in_the_documented_order():
    kinds = [type(layer).__name__ for layer in compiled(**FULL).layers]
    block = ["Dense", "BatchNormalization", "PReLU", "Dropout"]
    first = ["InputLayer", "GaussianNoise", "Dropout", "PeriodicEmbedding"]
    assert kinds == [*first, *block, *block, "Add", *block, "Dense"]


@pytest.mark.parametrize("widths", [(6, 5), (5, 6, 6), (6, 6)])
def test_only_skipped_layers_need_a_functional_model(widths):
    model = compiled(skip=True, widths=widths)
    assert isinstance(model, keras.Sequential) == (widths == (6, 5))
    assert isinstance(compiled(widths=widths), keras.Sequential)


@pytest.mark.parametrize(
    ("name", "z", "h"), [("gelu", 1, 0.8413447), ("swish", 1, 0.7310586), ("leaky_relu", -1, -0.2)]
)
def test_activations_are_exact(name, z, h):
    layer = compiled(activation=name).layers[1]
    assert float(layer(np.float32([z]))[0]) == pytest.approx(h, rel=1e-5)


def test_skip_adds_the_layers_input():
    x, _ = rows()
    model = compiled(skip=True, widths=(4, 4, 5), activation="tanh")
    (k1, b1, k2, b2, k3, b3, k4, b4) = values(model)
    h = np.tanh(x @ k1 + b1)
    h = h + np.tanh(h @ k2 + b2)
    logits = np.tanh(h @ k3 + b3) @ k4 + b4
    np.testing.assert_allclose(as_numpy(model(x)), logits, rtol=1e-4, atol=1e-5)


def test_embedding_gives_each_inputs_sines_then_cosines():
    x, _ = rows()
    layer = PeriodicEmbedding(3, 0.1)
    got = as_numpy(layer(x))
    angles = 2 * np.pi * x[:, :, None] * values(layer)[0]
    per_input = [np.hstack([np.sin(angles[:, i]), np.cos(angles[:, i])]) for i in range(FEATURES)]
    np.testing.assert_allclose(got, np.hstack(per_input), rtol=1e-4, atol=1e-5)


def test_embedding_scale_is_the_frequencies_deviation():
    keras.utils.set_random_seed(0)
    layer = PeriodicEmbedding(500, 0.3)
    layer.build((None, 20))
    assert values(layer)[0].std() == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("changes", [{"noise": 0.5}, {"input_dropout": 0.5}, {"dropout": 0.5}], ids=str)
def test_noise_and_dropout_act_in_training_only_and_follow_the_seed(changes):
    x, _ = rows()
    first, second = (build_keras_model(architecture(**changes), FEATURES, CLASSES, seed=3) for _ in range(2))
    second.set_weights(values(first))
    noisy, same = (as_numpy(model(x, training=True)) for model in (first, second))
    np.testing.assert_array_equal(noisy, same)
    assert (noisy != as_numpy(first(x))).any()
    np.testing.assert_array_equal(as_numpy(first(x)), as_numpy(second(x)))


def test_penalties_fall_on_all_kernels_alone():
    plain, penalized = compiled(), compiled(l1=0.01, l2=0.1)
    penalized.set_weights(values(plain))
    arch = architecture()
    kernels = [weight for weight in values(plain) if weight.ndim == 2]
    extra = sum(0.01 * np.abs(kernel).sum() + 0.1 * (kernel**2).sum() for kernel in kernels)
    assert train(penalized, arch)[0] - train(plain, arch)[0] == pytest.approx(extra, rel=1e-4)


def test_clipping_bounds_the_whole_gradient():
    model = compiled(optimizer="sgd", learning_rate=1.0, clip_norm=0.01)
    before = values(model)
    model.train_on_batch(*rows())
    length = np.sqrt(sum(((new - old) ** 2).sum() for old, new in zip(before, values(model), strict=True)))
    assert length == pytest.approx(0.01, rel=1e-3)


def test_optimizer_settings_are_the_architectures():
    sgd = compiled(optimizer="sgd", momentum=0.8, nesterov=True).optimizer
    assert (sgd.momentum, sgd.nesterov, sgd.weight_decay, sgd.global_clipnorm) == (0.8, True, None, None)
    assert compiled(optimizer="rmsprop", momentum=0.7).optimizer.momentum == 0.7
    assert compiled(optimizer="adamw").optimizer.weight_decay == 0.0
    for name in OPTIMIZER_NAMES:
        optimizer = compiled(optimizer=name, weight_decay=0.02, clip_norm=2.0).optimizer
        assert type(optimizer).__name__.lower() == name
        assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.02, 2.0)
        assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_label_smoothing_moves_the_targets():
    x, y = rows()
    model = compiled(label_smoothing=0.3)
    logits = as_numpy(model(x)).astype(float)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = 0.7 * np.eye(CLASSES)[y] + 0.1
    expected = -(targets * logs).sum(1).mean()
    assert train(model, architecture(label_smoothing=0.3))[0] == pytest.approx(expected, rel=1e-4)


def test_rates_are_those_of_the_steps_and_the_last_stays():
    schedule = StepRates(np.array([0.1, 0.2, 0.3]))
    assert [float(schedule(step)) for step in (0, 1, 2, 3, 9)] == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3])
    scheduled = compiled(rates=[0.0, 0.05], schedule="linear", optimizer="sgd")
    constant = compiled(optimizer="sgd", learning_rate=0.05)
    start = values(scheduled)
    scheduled.train_on_batch(*rows())
    for old, new in zip(start, values(scheduled), strict=True):
        np.testing.assert_array_equal(old, new)
    constant.set_weights(start)
    for _ in range(2):
        scheduled.train_on_batch(*rows())
        constant.train_on_batch(*rows())
    for ours, theirs in zip(values(scheduled), values(constant), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("changes", [{"schedule": "cosine"}, {"warmup": 0.1}], ids=str)
def test_a_schedule_without_rates_is_refused(changes):
    with pytest.raises(ValueError, match="give rates"):
        compiled(**changes)
