"""Losses of what a network puts out, computed in float64 and never clipped; not finite where an output is not.

Targets and outputs are as a study's head has them: class numbers (rows,) and logits (rows, classes) for softmax,
0 or 1 and logits (rows, labels) for sigmoid, standardized numbers (rows, 1) for squared and gaussian, whose outputs
are a mean, and for gaussian the logarithm of a variance beside it.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LossFunction = Callable[[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any] | None], float]


def _softmax_losses(labels: npt.NDArray[Any], logits: Floats) -> Floats:
    """Negative log likelihood of each row's class (nats)."""
    largest = logits.max(axis=1, keepdims=True)
    normalizer = largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1))
    losses: Floats = normalizer - logits[np.arange(len(labels)), labels]
    return losses


def _sigmoid_losses(labels: npt.NDArray[Any], logits: Floats) -> Floats:
    """Negative log likelihood of each row's labels (nats), mean over labels."""
    losses: Floats = (np.logaddexp(0.0, logits) - labels * logits).mean(axis=1)
    return losses


def _squared_losses(numbers: npt.NDArray[Any], means: Floats) -> Floats:
    """Squared error of each row."""
    losses: Floats = np.square(means - numbers).mean(axis=1)
    return losses


def _gaussian_losses(numbers: npt.NDArray[Any], outputs: Floats) -> Floats:
    """Negative log likelihood of each row's number (nats)."""
    mean, log_variance = outputs[:, :1], outputs[:, 1:]
    squares = np.square(numbers - mean) * np.exp(-log_variance)
    losses: Floats = 0.5 * (squares + log_variance + math.log(2 * math.pi)).mean(axis=1)
    return losses


ROW_LOSSES = {
    "softmax": _softmax_losses,
    "sigmoid": _sigmoid_losses,
    "squared": _squared_losses,
    "gaussian": _gaussian_losses,
}
"""By head."""


def loss_function(head: str) -> LossFunction:
    """`loss(targets, outputs, weights)`: the mean over rows, weighted where `weights` (rows,) is not None."""
    row_losses = ROW_LOSSES[head]

    def loss(targets: npt.NDArray[Any], outputs: npt.NDArray[Any], weights: npt.NDArray[Any] | None = None) -> float:
        with np.errstate(invalid="ignore", over="ignore"):
            return float(np.average(row_losses(targets, outputs.astype(np.float64)), weights=weights))

    return loss


log_loss = loss_function("softmax")
"""Of class numbers and logits."""
