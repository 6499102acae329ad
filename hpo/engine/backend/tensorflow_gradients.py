"""Gradients of arithmetic and sums whose shapes are known only when it runs, without TensorFlow's arithmetic of shapes.

TensorFlow asks at run time along which axes an operand was repeated, in nine operations for each `+` or `*`. Here that
is known when the graph is made: along those where its length is known to be 1 and the other's is not. Where neither
length is known, both must be equal; so tensors that are repeated need a shape that says so. Of a sum, the axes are
known.
"""

from contextlib import AbstractContextManager

import numpy as np
import tensorflow as tf
from tensorflow import raw_ops

_NAMES = {operation: f"Repeating{operation}" for operation in ("AddV2", "Sub", "Mul", "RealDiv", "Sum", "Mean")}
_NO_WEIGHTS = ("Const", "Placeholder")
"""Operations whose results are no function of weights."""
_Gradients = tuple[tf.Tensor | None, tf.Tensor | None]


def known_repetition() -> AbstractContextManager[None]:
    """A context in which `+`, `-`, `*`, `/`, sums and means get these gradients."""
    overridden: AbstractContextManager[None] = tf.compat.v1.get_default_graph().gradient_override_map(_NAMES)
    return overridden


@tf.RegisterGradient(_NAMES["AddV2"])  # type: ignore[untyped-decorator] # TensorFlow has no types
def _add(operation: tf.Operation, gradient: tf.Tensor) -> _Gradients:
    x, y = operation.inputs
    return _to_shape(gradient, x, y), _to_shape(gradient, y, x)


@tf.RegisterGradient(_NAMES["Sub"])  # type: ignore[untyped-decorator]
def _subtract(operation: tf.Operation, gradient: tf.Tensor) -> _Gradients:
    x, y = operation.inputs
    return _to_shape(gradient, x, y), None if _is_given(y) else _to_shape(-gradient, y, x)


@tf.RegisterGradient(_NAMES["Mul"])  # type: ignore[untyped-decorator]
def _multiply(operation: tf.Operation, gradient: tf.Tensor) -> _Gradients:
    x, y = operation.inputs
    to_x = None if _is_given(x) else _to_shape(gradient * y, x, y)
    return to_x, None if _is_given(y) else _to_shape(gradient * x, y, x)


@tf.RegisterGradient(_NAMES["RealDiv"])  # type: ignore[untyped-decorator]
def _divide(operation: tf.Operation, gradient: tf.Tensor) -> _Gradients:
    x, y = operation.inputs
    to_x = None if _is_given(x) else _to_shape(gradient / y, x, y)
    return to_x, None if _is_given(y) else _to_shape(-gradient * operation.outputs[0] / y, y, x)


@tf.RegisterGradient(_NAMES["Sum"])  # type: ignore[untyped-decorator]
def _sum(operation: tf.Operation, gradient: tf.Tensor) -> _Gradients:
    return tf.broadcast_to(_with_all_axes(operation, gradient), tf.shape(operation.inputs[0])), None


@tf.RegisterGradient(_NAMES["Mean"])  # type: ignore[untyped-decorator]
def _mean(operation: tf.Operation, gradient: tf.Tensor) -> _Gradients:
    x, result = operation.inputs[0], operation.outputs[0]
    count = tf.cast(tf.size(x), tf.float32) / tf.cast(tf.size(result), tf.float32)
    return tf.broadcast_to(_with_all_axes(operation, gradient) / count, tf.shape(x)), None


def _with_all_axes(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    """The gradient of a sum with the axes that it lost, each of length 1."""
    if operation.get_attr("keep_dims"):
        return gradient
    x, axes = operation.inputs
    for axis in sorted(axis % x.shape.rank for axis in np.atleast_1d(tf.get_static_value(axes))):
        gradient = tf.expand_dims(gradient, axis)
    return gradient


def _is_given(x: tf.Tensor) -> bool:
    return x.op.type in _NO_WEIGHTS


def _to_shape(gradient: tf.Tensor, x: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The gradient summed over the axes along which x was repeated."""
    if x.shape.rank is None or x.shape.rank != other.shape.rank:
        axes = raw_ops.BroadcastGradientArgs(s0=tf.shape(x), s1=tf.shape(other)).r0
        return tf.reshape(tf.reduce_sum(gradient, axes), tf.shape(x))
    repeated = [axis for axis, length in enumerate(x.shape) if length == 1 and other.shape[axis] != 1]
    return tf.reduce_sum(gradient, repeated, keepdims=True) if repeated else gradient
