"""Forward pass and loss of a stack, written once in `keras.ops` for every backend."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import ops

from hpo.network.activations import Activation

Tensor = Any
Matmul = Callable[[Tensor, Tensor], Tensor]


class Layer(NamedTuple):
    """Weights of one layer of a stack: kernel (s, in, out), bias (s, 1, out), slopes (s, 1, out) or None."""

    kernel: Tensor
    bias: Tensor
    slopes: Tensor | None = None


class Pass(NamedTuple):
    """A forward pass: logits (s, rows, classes), and for each layer its input, and for each hidden layer the values
    before and after its activation; what a backend needs that computes gradients by itself."""

    logits: Tensor
    inputs: list[Tensor]
    before: list[Tensor]
    after: list[Tensor]


def forward(
    layers: Sequence[Layer],
    x: Tensor,
    activation: Activation,
    matmul: Matmul,
    masks: Sequence[Tensor] | None = None,
) -> Pass:
    """The pass of inputs (s, rows, features) through a stack.

    `masks` are the dropout factors (s, rows, width) of each hidden layer, None when predicting.
    """
    inputs, before, after = [x], [], []
    for index, layer in enumerate(layers[:-1]):
        before.append(matmul(inputs[-1], layer.kernel) + layer.bias)
        after.append(activation.function(before[-1], layer.slopes))
        inputs.append(after[-1] if masks is None else after[-1] * masks[index])
    return Pass(matmul(inputs[-1], layers[-1].kernel) + layers[-1].bias, inputs, before, after)


def training_loss(labels: Tensor, logits: Tensor) -> Tensor:
    """Sum over networks of the mean cross-entropy (nats); labels (s * rows,), logits (s, rows, classes).

    The networks share no weight, so the gradient of the sum is each network's own gradient.
    """
    rows, classes = ops.shape(logits)[1:]
    flat = ops.reshape(logits, (-1, classes))
    losses = ops.sparse_categorical_crossentropy(labels, flat, from_logits=True)
    return ops.sum(losses) / ops.cast(rows, losses.dtype)
