"""The loss of each head in training, in `keras.ops`: of each row, and its gradient where it is short to write."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

Tensor = Any


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """A head as networks learn it; the same losses as in `hpo.losses`.

    Attributes:
        row_losses: (targets (s, rows[, outputs]), outputs (s, rows, outputs), label smoothing (s, 1, 1) or None) -> the
            loss of each row, (s, rows).
        gradient: (targets, outputs, rows, outputs of a row) -> the gradient of the sum of the lanes' mean losses to the
            outputs, without smoothing; class numbers are one-hot. None where the framework finds it.
    """

    row_losses: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    gradient: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None = None


def _softmax_losses(y: Tensor, logits: Tensor, smoothing: Tensor | None) -> Tensor:
    rows, classes = ops.shape(logits)[1], ops.shape(logits)[2]
    flat = ops.reshape(logits, (-1, classes))
    losses = ops.sparse_categorical_crossentropy(ops.reshape(y, (-1,)), flat, from_logits=True)
    losses = ops.reshape(losses, (-1, rows))
    if smoothing is None:
        return losses
    # The loss of smoothed labels is a mix of the label's own and the mean over all classes.
    share = smoothing[:, 0]
    return (1 - share) * losses + share * ops.mean(-ops.log_softmax(logits, axis=-1), axis=-1)


def _sigmoid_losses(y: Tensor, logits: Tensor, smoothing: Tensor | None) -> Tensor:
    target = y if smoothing is None else y * (1 - smoothing) + 0.5 * smoothing
    return ops.mean(ops.softplus(logits) - target * logits, axis=-1)


def _squared_losses(y: Tensor, means: Tensor, _: Tensor | None) -> Tensor:
    return ops.mean(ops.square(means - y), axis=-1)


def _gaussian_losses(y: Tensor, outputs: Tensor, _: Tensor | None) -> Tensor:
    mean, log_variance = outputs[..., :1], outputs[..., 1:]
    squares = ops.square(y - mean) * ops.exp(-log_variance)
    return 0.5 * (ops.mean(squares + log_variance, axis=-1) + math.log(2 * math.pi))


HEADS: dict[str, TrainedHead] = {
    "softmax": TrainedHead(_softmax_losses, lambda y, logits, rows, _: (ops.softmax(logits) - y) / rows),
    "sigmoid": TrainedHead(_sigmoid_losses, lambda y, logits, rows, count: (ops.sigmoid(logits) - y) / (rows * count)),
    "squared": TrainedHead(_squared_losses, lambda y, means, rows, count: (means - y) * (2.0 / (rows * count))),
    "gaussian": TrainedHead(_gaussian_losses),
}
