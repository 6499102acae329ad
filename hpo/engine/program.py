"""What a compiled program takes: rows, an epoch, the state of a stack; and the protocols of programs and backends."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from hpo.engine.layout import ProgramKind, Widths

FloatArray = npt.NDArray[np.float32]
Tensor = Any
Weights = dict[str, FloatArray]
"""Parameters and statistics of one network, or of a stack of them, by name (see `hpo.engine.weights`)."""
LaneSettings = dict[str, npt.NDArray[Any]]
"""What a stack's lanes are trained with, by name (see `hpo.engine.weights.lane_settings`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One pass over the training rows of every lane (or a part of one), then a prediction.

    order: (s, n) int32, row numbers in the stack's training rows, in the order of use.
    bits: (s, n, units) uint8, eight random bits for each row and hidden unit; a unit is dropped where its bits are
        below the lane's threshold, the others are scaled up.
    input_bits: (s, n, features) uint8, the same for inputs; noise: (s, n, features) standard normal numbers; both
        without features (s, n, 0) where the kind is not noisy.
    learning_rates: (s, steps) of each step.
    first_steps: (s,) float32, how many steps each lane has taken before.
    predict: (s, m, features) inputs to predict after the steps; m may be 0.
    """

    order: npt.NDArray[np.int32]
    bits: npt.NDArray[np.uint8]
    input_bits: npt.NDArray[np.uint8]
    noise: FloatArray
    batch_size: int
    learning_rates: FloatArray
    first_steps: FloatArray
    predict: Tensor


class Rows(NamedTuple):
    """Training rows of all replicates: inputs (rows, features), targets (class numbers (rows,) int32 for softmax, else
    (rows, outputs) float32) and their weights (rows,), ones where the kind is not weighted."""

    x: FloatArray
    y: npt.NDArray[Any]
    row_weights: FloatArray


def no_rows(kind: ProgramKind, features: int, outputs: int) -> Rows:
    """Rows to predict without training: one that is never used."""
    y = np.zeros(1, np.int32) if kind.takes_class_numbers else np.zeros((1, outputs), np.float32)
    return Rows(np.zeros((1, features), np.float32), y, np.ones(1, np.float32))


class State(NamedTuple):
    """What a step changes: weights and statistics by name, the optimizers' moments by optimizer and weight."""

    weights: dict[str, Tensor]
    statistics: dict[str, Tensor]
    moments: dict[str, dict[str, tuple[Tensor, ...]]]


class Program(Protocol):
    """A compiled training loop for one kind of stack, and the one stack that it trains at a time."""

    def start(self, rows: Rows) -> None:
        """Begin a new stack, whose lanes train on these rows."""

    def hold(self, state: State, settings: LaneSettings) -> None:
        """Go on with these lanes, of arrays of the host."""

    def run(self, epoch: Epoch) -> FloatArray:
        """Train, then predict: outputs (s, m, outputs of the head)."""

    def weights(self) -> Weights:
        """Copies of the current weights, and of the statistics."""

    def state(self) -> State:
        """A copy of the whole state, of arrays of the host."""

    def release(self) -> None:
        """Give the stack's memory back; the compiled program stays."""


class Backend(Protocol):
    """Compiles programs and moves arrays to the device."""

    @property
    def traces(self) -> int:
        """How often a program was compiled so far."""

    def program(self, kind: ProgramKind) -> Program:
        """The program for stacks of this kind."""

    def tensor(self, array: npt.NDArray[Any]) -> Tensor:
        """`array` as programs take the rows that they predict."""

    def trains_together(self, parameters: int) -> bool:
        """Whether a trial's replicates should share a stack where a network has so many weights."""

    def most_lanes(self, lanes: int) -> int:
        """How many of so many lanes should train at once, while the others wait for a place."""

    def predicted_rows(self, rows: int) -> int:
        """How many of so many rows are predicted at a time."""

    def lanes_for(self, live: int) -> int:
        """How many lanes a stack should keep where so many are live."""

    def widths_for(self, widths: Widths) -> Widths:
        """How wide a stack's layers should be where lanes need these widths."""
