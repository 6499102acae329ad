"""What the TensorFlow programs are made of: oneDNN's batched product and variables without a shape."""

import numpy as np
import tensorflow as tf
from tensorflow import raw_ops
from tensorflow.python.framework import kernels  # the registry has no public name

LABEL = "MklNameChangeOp"
"""Of the kernels that TensorFlow puts in the place of its own."""


def onednn_matmul(a: tf.Tensor, b: tf.Tensor, transpose_a: bool = False, transpose_b: bool = False) -> tf.Tensor:
    """Batched product by oneDNN's kernel, 1.7 to 2.5 times faster than Eigen's on stacks.

    TensorFlow puts this kernel in place of BatchMatMulV2 by itself, but not in loops of the single-threaded executor.
    """
    attributes = {
        "adj_x": tf.compat.v1.AttrValue(b=transpose_a),
        "adj_y": tf.compat.v1.AttrValue(b=transpose_b),
        "T": tf.compat.v1.AttrValue(type=tf.float32.as_datatype_enum),
        "_kernel": tf.compat.v1.AttrValue(s=LABEL.encode()),
    }
    graph = tf.compat.v1.get_default_graph()
    product = graph.create_op("_MklBatchMatMulV2", [a, b], [tf.float32], attrs=attributes, name="product").outputs[0]
    rows, columns = a.shape[-1 if transpose_a else -2], b.shape[-2 if transpose_b else -1]
    product.set_shape([a.shape[0], rows, columns])
    return product


@tf.RegisterGradient("_MklBatchMatMulV2")  # type: ignore[untyped-decorator] # TensorFlow has no types
def _onednn_gradients(operation: tf.Operation, gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients of a product without transposition."""
    a, b = operation.inputs
    return onednn_matmul(gradient, b, transpose_b=True), onednn_matmul(a, gradient, transpose_a=True)


def has_onednn() -> bool:
    """Whether this build of TensorFlow carries oneDNN's batched product."""
    return any(
        kernel.label == LABEL and tf.float32.as_datatype_enum in constraint.allowed_values.list.type
        for kernel in kernels.get_registered_kernels_for_op("_MklBatchMatMulV2").kernel
        for constraint in kernel.constraint
    )


def shapeless_variable() -> tf.Variable:
    """A variable (?, ?, ?) that takes a value of another shape with each stack."""
    return tf.Variable(np.zeros((1, 1, 1), np.float32), shape=tf.TensorShape([None] * 3), validate_shape=False)


def read(variable: tf.Variable) -> tf.Tensor:
    """Its value, in one operation (`read_value` takes two)."""
    return raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
