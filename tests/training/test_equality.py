"""A stack of networks gives the same losses as plain Keras models trained one by one."""

import numpy as np
import pytest

from hpo.network.activations import ACTIVATIONS
from hpo.network.architecture import Architecture
from hpo.network.keras_model import build_keras_model, compile_keras_model
from hpo.training.backend.tensorflow import TensorFlowBackend
from hpo.training.stack import Epoch, initial_weights, stack_weights

FEATURES, CLASSES, ROWS, STACK, STEPS = 9, 4, 160, 3, 50


@pytest.fixture(scope="module")
def backend():
    return TensorFlowBackend()


def architecture(activation, **changes):
    values = {
        "widths": (13, 8, 5),
        "activation": activation,
        "initializer": "lecun_normal" if activation == "selu" else "glorot_uniform",
        "dropout": 0.0,
        "learning_rate": 3e-3,
        "batch_size": 32,
    }
    return Architecture(**{**values, **changes})


def keras_losses(arch, weights, x, y, order):
    """Loss on all rows after each of the steps, by a plain Sequential."""
    model = build_keras_model(arch, FEATURES, CLASSES)
    shapes = [w.shape for w in model.get_weights()]
    model.set_weights([w.reshape(shape) for w, shape in zip(weights, shapes, strict=True)])
    compile_keras_model(model, arch)
    losses = []
    for rows in order:
        model.train_on_batch(x[rows], y[rows])
        losses.append(model.loss(y, model(x)).numpy())
    return losses


def stack_losses(backend, arch, networks, x, y, order):
    """Loss of every network on all rows after each step; order (steps, s, batch)."""
    program = backend.program(arch.depth, arch.activation)
    program.start(stack_weights(networks), np.tile(x, (STACK, 1)), np.tile(y, STACK))
    offsets = np.arange(STACK, dtype=np.int32)[:, None] * ROWS
    predict = backend.tensor(np.tile(x, (STACK, 1, 1)))
    losses = []
    for number, rows in enumerate(order):
        bits = np.zeros((*rows.shape, sum(arch.widths)), np.uint8)
        logits = program.run(
            Epoch(
                order=(rows + offsets).astype(np.int32),
                bits=bits,
                threshold=0,
                batch_size=arch.batch_size,
                learning_rate=arch.learning_rate,
                first_step=number,
                predict=predict,
            )
        ).astype(np.float64)
        normalized = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        losses.append(-normalized[:, np.arange(ROWS), y].mean(axis=1))
    return np.array(losses)


@pytest.mark.slow
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_stack_equals_keras_models(backend, activation):
    rng = np.random.default_rng(3)
    arch = architecture(activation)
    x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    y = rng.integers(0, CLASSES, ROWS).astype(np.int32)
    networks = [initial_weights(arch, FEATURES, CLASSES, np.random.default_rng(i)) for i in range(STACK)]
    order = rng.integers(0, ROWS, (STEPS, STACK, arch.batch_size))
    ours = stack_losses(backend, arch, networks, x, y, order)
    theirs = np.array([keras_losses(arch, networks[i], x, y, order[:, i]) for i in range(STACK)]).T
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert (ours[-1] < ours[0]).all()
