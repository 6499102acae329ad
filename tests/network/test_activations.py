"""Every activation and its derivative are those of Keras, on both backends.

Run as a program, this file checks the backend that KERAS_BACKEND names.
"""

import keras
import numpy as np
import pytest

from hpo.network.activations import ACTIVATIONS
from hpo.network.architecture import ACTIVATION_NAMES

SLOPES = np.array([[-0.3, 0.0, 0.1, 1.5], [0.2, 0.7, 0.25, 0.0]], np.float32)[:, None]
GRID = np.concatenate([np.linspace(-12, 12, 241), [-80.0, -1e-6, 0.0, 1e-6, 80.0]])


def derivative(function, z):
    """Of each value of an element-wise function."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(lambda values: function(values).sum())(z)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(z)
        h = function(z)
    return tape.gradient(h, z)


def keras_activation(name, network):
    if name != "prelu":
        return keras.activations.get(name)
    layer = keras.layers.PReLU()
    layer.build((None, SLOPES.shape[2]))
    layer.set_weights([SLOPES[network, 0]])
    return layer


def check(name):
    """Of values (s, rows, units), one network's at a time."""
    activation = ACTIVATIONS[name]
    stack = keras.ops.convert_to_tensor(np.tile(GRID.astype(np.float32)[:, None], (2, 1, 4)))
    slopes = keras.ops.convert_to_tensor(SLOPES) if activation.learns_slopes else None

    def ours(z):
        return activation.function(z, slopes)

    values, derivatives = np.asarray(ours(stack)), np.asarray(derivative(ours, stack))
    for network in range(2):
        theirs = keras_activation(name, network)
        np.testing.assert_allclose(values[network], np.asarray(theirs(stack[network])), rtol=1e-6)
        their_derivatives = np.asarray(derivative(theirs, stack[network]))
        np.testing.assert_allclose(derivatives[network], their_derivatives, rtol=1e-5, atol=1e-7)


def test_registry_has_the_names_of_architectures():
    assert tuple(ACTIVATIONS) == ACTIVATION_NAMES


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_activation_is_that_of_keras(name):
    check(name)
