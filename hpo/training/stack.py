"""Networks trained together: every weight has a leading axis of networks (lanes)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hpo.network.activations import ACTIVATIONS
from hpo.network.architecture import Architecture
from hpo.network.initializers import INITIALIZERS

FloatArray = npt.NDArray[np.float32]
Tensor = Any

# One flat list per stack, in this order: kernel, bias[, slopes] of each layer, input side first.
Weights = list[FloatArray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One pass over the training rows of every lane (or a part of one), then a prediction.

    order: (s, n) int32, row numbers in the stack's training rows, in the order of use.
    bits: (s, n, units) uint8, eight random bits for each row and hidden unit; a unit is dropped
        where its bits are below `threshold`, the others are scaled up.
    threshold: dropout probability in units of 1/256.
    first_step: how many steps the lanes have taken before, for Adam's bias correction.
    predict: (s, m, features) inputs to predict after the steps; m may be 0.
    """

    order: npt.NDArray[np.int32]
    bits: npt.NDArray[np.uint8]
    threshold: int
    batch_size: int
    learning_rate: float
    first_step: int
    predict: Tensor


class Program(Protocol):
    """A compiled training loop for one depth and activation; any width, stack size and batch size fits.

    It holds the state of one stack at a time: weights, Adam's moments, training rows.
    """

    def start(self, weights: Weights, x: FloatArray, y: npt.NDArray[np.int32]) -> None:
        """Begin a new stack with zero moments; x (rows of all lanes, features), y (rows of all lanes,)."""

    def run(self, epoch: Epoch) -> FloatArray:
        """Train, then predict: logits (s, m, classes)."""

    def weights(self) -> Weights:
        """Copies of the current weights."""

    def keep(self, lanes: Sequence[int]) -> None:
        """Drop all lanes but these, in this order."""

    def release(self) -> None:
        """Give the stack's memory back; the compiled program stays."""


class Backend(Protocol):
    """Compiles programs and moves arrays to the device."""

    name: str

    def program(self, depth: int, activation: str) -> Program:
        """The program for networks with `depth` hidden layers; compiled once."""

    def tensor(self, array: npt.NDArray[Any]) -> Tensor:
        """A copy of `array` on the device."""


def initial_weights(
    architecture: Architecture, inputs: int, outputs: int, rng: np.random.Generator
) -> list[FloatArray]:
    """Weights of one network, without the axis of lanes: kernels (in, out), biases and slopes (1, out)."""
    sizes = (inputs, *architecture.widths, outputs)
    hidden, last = INITIALIZERS[architecture.initializer], INITIALIZERS["glorot_uniform"]
    slopes = ACTIVATIONS[architecture.activation].learns_slopes
    weights: list[FloatArray] = []
    for index, (fan_in, units) in enumerate(pairwise(sizes)):
        is_last = index == architecture.depth
        weights += [(last if is_last else hidden)(rng, fan_in, units), np.zeros((1, units), np.float32)]
        if slopes and not is_last:
            weights.append(np.zeros((1, units), np.float32))
    return weights


def stack_weights(networks: Sequence[Sequence[FloatArray]]) -> Weights:
    """Join the weights of single networks along a new leading axis."""
    return [np.stack(parts) for parts in zip(*networks, strict=True)]
