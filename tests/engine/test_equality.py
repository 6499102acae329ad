"""A stack of networks gives the same losses as plain Keras models trained one by one, on either backend."""

import zlib
from functools import cache

import keras
import numpy as np
import pytest

from hpo.engine.layout import layout_of, stackable
from hpo.engine.program import Epoch, Rows
from hpo.engine.weights import initial_weights, lane_settings, lane_weights, new_state, stack_weights
from hpo.losses import mean_loss
from hpo.network.architecture import ACTIVATION_NAMES, OPTIMIZER_NAMES, Architecture
from hpo.network.keras_model import build_keras_model, compile_keras_model
from tests.engine.engine import make_backend

FEATURES, CLASSES, ROWS, STEPS, BATCH = 9, 4, 160, 50, 32
OUTPUTS = {"softmax": CLASSES, "sigmoid": 3, "squared": 1, "gaussian": 2}
ALIKE = 2
"""Networks of one architecture; each begins with weights of its own and sees batches of its own."""


def architecture(**changes):
    values = {
        "widths": (13, 8),
        "activation": "tanh",
        "initializer": "glorot_uniform",
        "dropout": 0.0,
        "learning_rate": 3e-3,
        "batch_size": BATCH,
    }
    return Architecture(**{**values, **changes})


@pytest.fixture(scope="module")
def backend():
    return make_backend()


def rows_of(head):
    """Rows with targets as a study's head has them."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    if head == "softmax":
        y = rng.integers(0, CLASSES, ROWS).astype(np.int32)
    elif head == "sigmoid":
        y = rng.integers(0, 2, (ROWS, OUTPUTS[head])).astype(np.float32)
    else:
        y = rng.normal(size=(ROWS, 1)).astype(np.float32)
    return Rows(x, y, rng.uniform(0.2, 3.0, ROWS).astype(np.float32))


def network(arch, number, head):
    """The weights that the network of this number among those of its architecture begins with."""
    return initial_weights(arch, FEATURES, OUTPUTS[head], np.random.default_rng(number))


def batches(arch, number):
    """The rows of each of its steps, (steps, batch)."""
    rng = np.random.default_rng([number, zlib.crc32(repr(arch).encode())])
    return rng.integers(0, ROWS, (STEPS, arch.batch_size))


def rates_of(arch):
    """Rates that change from step to step, as a schedule's do."""
    return np.array([arch.learning_rate * (1 - 0.01 * step) for step in range(STEPS)], np.float32)


@cache
def keras_losses(arch, head, weighted):
    """Losses of each of its networks on all rows after each step, by a plain model; (networks, steps)."""
    rows = rows_of(head)
    keras.utils.set_random_seed(0)
    model = build_keras_model(arch, FEATURES, OUTPUTS[head])
    compile_keras_model(model, arch, rates_of(arch), head)
    model.optimizer.build(model.trainable_variables)
    beginning = [np.asarray(variable.value).copy() for variable in model.optimizer.variables]
    one_hot = head == "softmax" and arch.label_smoothing
    labels = keras.utils.to_categorical(rows.y, CLASSES) if one_hot else rows.y
    losses = []
    for number in range(ALIKE):
        weights = network(arch, number, head)
        named = zip(keras_names(arch), model.weights, strict=True)
        model.set_weights([weights[name].reshape(tuple(weight.shape)) for name, weight in named])
        for variable, value in zip(model.optimizer.variables, beginning, strict=True):
            variable.assign(value)
        for part in batches(arch, number):
            model.train_on_batch(rows.x[part], labels[part], sample_weight=rows.row_weights[part] if weighted else None)
            losses.append(mean_loss(head, rows.y, model.predict_on_batch(rows.x)))
    return np.reshape(losses, (ALIKE, STEPS))


def keras_names(arch):
    """Our names of a Keras model's weights, in its order."""
    parts = ["kernel"] + ["bias"] * (arch.normalization != "batch")
    parts += ["scale", "shift"] * (arch.normalization != "none") + ["mean", "variance"] * (
        arch.normalization == "batch"
    )
    parts += ["slopes"] * (arch.activation == "prelu")
    hidden = [f"{part}_{i}" for i in range(arch.depth) for part in parts]
    return [*["frequencies"] * (arch.embedding == "periodic"), *hidden, "kernel_out", "bias_out"]


def stack_losses(backend, layout, networks, rows, order, rates):
    """Loss of every network on all rows after each step; order (steps, s, batch)."""
    kind = layout.kind
    program = backend.program(kind)
    program.start(rows)
    program.hold(new_state(kind, stack_weights(networks, layout)), lane_settings(layout))
    predict = backend.tensor(np.tile(rows.x, (len(networks), 1, 1)))
    losses = []
    for number, part in enumerate(order):
        outputs = program.run(
            Epoch(
                order=part.astype(np.int32),
                bits=np.zeros((*part.shape, sum(layout.widths)), np.uint8),
                input_bits=np.zeros((*part.shape, FEATURES if kind.noisy else 0), np.uint8),
                noise=np.zeros((*part.shape, FEATURES if kind.noisy else 0), np.float32),
                batch_size=order.shape[2],
                learning_rates=rates[:, number : number + 1],
                first_steps=np.full(len(networks), number, np.float32),
                predict=predict,
            )
        )
        losses.append([mean_loss(kind.head, rows.y, own) for own in outputs])
    return np.array(losses), program.weights()


def check(backend, architectures, head="softmax", weighted=False):
    """Train a stack of these networks and each of them alone in Keras, on the same batches."""
    assert len({stackable(a) for a in architectures}) == 1
    lanes = [(a, architectures[:i].count(a)) for i, a in enumerate(architectures)]
    networks = [network(a, number, head) for a, number in lanes]
    order = np.stack([batches(a, number) for a, number in lanes], axis=1)
    rates = np.stack([rates_of(a) for a in architectures])
    layout = layout_of(architectures, head, weighted, backend.widths_for)
    ours, weights = stack_losses(backend, layout, networks, rows_of(head), order, rates)
    for i, (a, number) in enumerate(lanes):
        theirs = keras_losses(a, head, weighted)[number]
        np.testing.assert_allclose(ours[:, i], theirs, rtol=1e-4)
        assert len(set(theirs)) == STEPS  # it learned something in each step
    for i, a in enumerate(architectures):
        padding = {n: w[i].sum() for n, w in weights.items() if n.startswith("kernel")}
        own = lane_weights(weights, i, a, FEATURES)
        for name in (n for n in own if n.startswith("kernel")):
            assert padding[name] == pytest.approx(own[name].sum(), rel=1e-4, abs=1e-4)  # the filling stayed zero


def of_activation(name):
    """Exponentials of exponentials overflow unless weights are small."""
    return {"activation": name, **({"initializer": "random_normal"} if name == "exponential" else {})}


# Adam and one activation: the short cut of the TensorFlow backend.
@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_activation(backend, activation):
    check(backend, [architecture(**of_activation(activation))] * ALIKE)


OPTIMIZERS = {
    **{name: {"optimizer": name} for name in OPTIMIZER_NAMES},
    "sgd with momentum": {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01},
    "sgd with Nesterov's momentum": {"optimizer": "sgd", "momentum": 0.8, "nesterov": True, "learning_rate": 0.01},
    "rmsprop with momentum": {"optimizer": "rmsprop", "momentum": 0.5},
    "adamw with decay": {"optimizer": "adamw", "weight_decay": 0.1},
    "lion with decay": {"optimizer": "lion", "weight_decay": 0.1, "learning_rate": 1e-3},
}
SETTINGS = {
    "l1": {"l1": 1e-3},
    "l2": {"l2": 1e-2},
    "label smoothing": {"label_smoothing": 0.1},
    "clipped": {"clip_norm": 0.05, "optimizer": "sgd", "learning_rate": 0.5},
    "batch normalization": {"normalization": "batch"},
    "batch normalization, the sign of each gradient": {"normalization": "batch", **OPTIMIZERS["lion"]},
    "batch normalization, small batches": {"normalization": "batch", "batch_size": 4},
    "layer normalization": {"normalization": "layer"},
    "skip": {"skip": True, "widths": (10, 10, 10)},
    "skip where widths are equal": {"skip": True, "widths": (10, 10, 7)},
    "periodic embedding": {"embedding": "periodic", "embedding_frequencies": 3},
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [*OPTIMIZERS.values(), *SETTINGS.values()], ids=[*OPTIMIZERS, *SETTINGS])
def test_setting(backend, changes):
    check(backend, [architecture(**changes)] * ALIKE)


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("changes", [{}, {"label_smoothing": 0.1, "optimizer": "nadam"}], ids=["plain", "general"])
@pytest.mark.parametrize("head", OUTPUTS)
def test_head(backend, head, changes, weighted):
    check(backend, [architecture(**changes)] * ALIKE, head, weighted)


MIXED = {
    "widths": [{"widths": (13, 8)}, {"widths": (5, 11)}],
    "depths": [{"widths": (6,)}, {"widths": (13, 8, 5)}, {"widths": (4, 9), "activation": "sigmoid"}],
    "activations": [of_activation(name) for name in ACTIVATION_NAMES],
    "optimizers": [*OPTIMIZERS.values()],
    "penalties": [{"l1": 1e-3}, {"l2": 1e-2, "widths": (7,)}, {"label_smoothing": 0.2}, {"clip_norm": 0.1}],
    "batch normalization": [{"normalization": "batch"}, {"normalization": "batch", "widths": (6,), "optimizer": "sgd"}],
    "layer normalization": [
        {"normalization": "layer"},
        {"normalization": "layer", "widths": (6,), "activation": "prelu"},
    ],
    "skip": [{"skip": True, "widths": (8, 8, 8)}, {"skip": True, "widths": (6, 6)}, {"skip": True, "widths": (9, 5)}],
    "embedding": [{"embedding": "periodic"}, {"embedding": "periodic", "widths": (6,), "optimizer": "nadam"}],
}


@pytest.mark.slow
@pytest.mark.parametrize("mix", MIXED.values(), ids=MIXED)
def test_mixed_stack(backend, mix):
    check(backend, [architecture(**changes) for changes in mix])
