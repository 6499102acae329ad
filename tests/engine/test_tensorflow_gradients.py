"""Gradients without arithmetic of shapes are TensorFlow's own."""

import operator

import numpy as np
import pytest
import tensorflow as tf

from hpo.engine.backend.tensorflow_gradients import known_repetition

FULL = [None, None, None]
OPERANDS = {
    "alike": (((2, 5, 3), FULL), ((2, 5, 3), FULL)),
    "a vector": (((2, 5, 3), FULL), ((2, 1, 3), [None, 1, None])),
    "a number for each network": (((2, 1, 1), [None, 1, 1]), ((2, 5, 3), FULL)),
    "both are repeated": (((2, 5, 1), [None, None, 1]), ((2, 1, 3), [None, 1, None])),
    "one row, and it is not known": (((2, 1, 3), FULL), ((2, 1, 3), [None, 1, None])),
    "a scalar": (((), []), ((2, 5, 3), FULL)),
    "another rank": (((5, 3), [None, None]), ((2, 5, 3), FULL)),
    "an unknown rank": (((2, 1, 3), None), ((2, 5, 3), FULL)),
}


def gradients(operation, shapes, values, *, known):
    """Of a sum of squares to both operands."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(shape) for shape in shapes])
    def both(x, y):
        # An operation between: what comes from outside is taken for given.
        x, y = tf.exp(x), tf.exp(y)
        if known:
            with known_repetition():
                result = operation(x, y)
        else:
            result = operation(x, y)
        return tf.gradients(tf.reduce_sum(result**2), [x, y])

    return both(*values)


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
@pytest.mark.parametrize("operands", OPERANDS)
def test_gradients_are_tensorflows_own(operation, operands):
    sizes, shapes = zip(*OPERANDS[operands], strict=True)
    values = [np.random.default_rng(i).normal(size=size).astype(np.float32) for i, size in enumerate(sizes)]
    ours, theirs = (gradients(operation, shapes, values, known=known) for known in (True, False))
    for value, one, other in zip(values, ours, theirs, strict=True):
        assert one.shape == value.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("operation", [tf.reduce_sum, tf.reduce_mean])
@pytest.mark.parametrize("axis", [None, 1, -1, (0, 2), [2, 0, 1]])
@pytest.mark.parametrize("keepdims", [True, False])
def test_gradients_of_sums_are_tensorflows_own(operation, axis, keepdims):
    def summed(x, y):
        return operation(x * y, axis=axis, keepdims=keepdims) ** 2

    values = [np.random.default_rng(i).normal(size=(2, 5, 3)).astype(np.float32) for i in range(2)]
    ours, theirs = (gradients(summed, [FULL, FULL], values, known=known) for known in (True, False))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
