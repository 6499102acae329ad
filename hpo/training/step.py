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


def forward(
    layers: Sequence[Layer],
    x: Tensor,
    activation: Activation,
    matmul: Matmul,
    masks: Sequence[Tensor] | None = None,
) -> Tensor:
    """Logits (s, rows, classes) of inputs (s, rows, features).

    `masks` are the dropout factors (s, rows, width) of each hidden layer, None when predicting.
    """
    h = x
    for index, layer in enumerate(layers[:-1]):
        h = activation.function(matmul(h, layer.kernel) + layer.bias, layer.slopes)
        if masks is not None:
            h = h * masks[index]
    return matmul(h, layers[-1].kernel) + layers[-1].bias


def training_loss(labels: Tensor, logits: Tensor) -> Tensor:
    """Sum over networks of the mean cross-entropy (nats); labels (s * rows,), logits (s, rows, classes).

    The networks share no weight, so the gradient of the sum is each network's own gradient.
    """
    rows, classes = ops.shape(logits)[1:]
    flat = ops.reshape(logits, (-1, classes))
    losses = ops.sparse_categorical_crossentropy(labels, flat, from_logits=True)
    return ops.sum(losses) / ops.cast(rows, losses.dtype)
