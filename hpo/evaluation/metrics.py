"""Losses, computed from logits in float64 and never clipped."""

import numpy as np
import numpy.typing as npt


def log_loss(labels: npt.NDArray[np.integer], logits: npt.NDArray[np.floating]) -> float:
    """Mean negative log likelihood in nats; labels (rows,), logits (rows, classes).

    Not finite where a logit is not finite.
    """
    wide = logits.astype(np.float64)
    largest = wide.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        normalizer = largest[:, 0] + np.log(np.exp(wide - largest).sum(axis=1))
        return float(np.mean(normalizer - wide[np.arange(len(labels)), labels]))
