"""Networks trained together: every weight has a leading axis of networks (lanes)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from keras import tree

from hpo.engine.layout import Kind, Layout, Widths
from hpo.engine.optimizers import OPTIMIZERS
from hpo.network.activations import ACTIVATIONS
from hpo.network.architecture import Architecture
from hpo.network.initializers import INITIALIZERS

FloatArray = npt.NDArray[np.float32]
Tensor = Any

# By name: for each hidden layer i kernel_i; bias_i unless values are normalized over batches, which would take any bias
# away again; slopes_i where the activation learns them, scale_i and shift_i where values are normalized, mean_i and
# variance_i where they are normalized over batches; kernel_out, bias_out; frequencies where inputs are embedded. Of one
# network: kernels (in, out), the others (1, units), frequencies (features, k). Of a stack: the same with a leading axis
# of lanes, narrow networks filled up with zeros.
Weights = dict[str, FloatArray]
Settings = dict[str, npt.NDArray[Any]]
STATISTICS = ("mean_", "variance_")


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
    (rows, outputs) float32) and weights (rows,), ones where the kind is not weighted."""

    x: FloatArray
    y: npt.NDArray[Any]
    weights: FloatArray


def no_rows(head: str, features: int, outputs: int) -> Rows:
    """Rows to predict without training: one that is never used."""
    y = np.zeros(1, np.int32) if head == "softmax" else np.zeros((1, outputs), np.float32)
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

    def hold(self, state: State, settings: Settings) -> None:
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

    def program(self, kind: Kind) -> Program:
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


def initial_weights(architecture: Architecture, inputs: int, outputs: int, rng: np.random.Generator) -> Weights:
    """Weights of one network."""
    a = architecture
    hidden, last = INITIALIZERS[a.initializer], INITIALIZERS["glorot_uniform"]
    sizes = (a.embedded(inputs), *a.widths)
    weights: Weights = {}
    for i, (fan_in, units) in enumerate(pairwise(sizes)):
        weights[f"kernel_{i}"] = hidden(rng, fan_in, units)
        weights |= _vectors(a, str(i), units)
    weights["kernel_out"] = last(rng, a.widths[-1], outputs)
    weights["bias_out"] = np.zeros((1, outputs), np.float32)
    if a.embedding == "periodic":
        draws = rng.standard_normal((inputs, a.embedding_frequencies), dtype=np.float32)
        weights["frequencies"] = draws * np.float32(a.embedding_scale)
    return weights


def _vectors(architecture: Architecture, layer: str, units: int) -> Weights:
    """The weights of a hidden layer beside its kernel, as they start."""
    zeros, ones = np.zeros((1, units), np.float32), np.ones((1, units), np.float32)
    vectors = {} if architecture.normalization == "batch" else {f"bias_{layer}": zeros}
    if ACTIVATIONS[architecture.activation].learns_slopes:
        vectors[f"slopes_{layer}"] = zeros
    if architecture.normalization != "none":
        vectors |= {f"scale_{layer}": ones, f"shift_{layer}": zeros}
    if architecture.normalization == "batch":
        vectors |= {f"mean_{layer}": zeros, f"variance_{layer}": ones}
    return vectors


def stack_weights(networks: Sequence[Mapping[str, FloatArray]], layout: Layout) -> Weights:
    """Join the weights of single networks; a missing layer becomes the identity, missing units zero."""
    if layout.kind.mixed or layout.kind.padded:
        lanes = zip(networks, layout.architectures, strict=True)
        networks = [_filled(network, own, layout) for network, own in lanes]
    return {name: np.stack([network[name] for network in networks]) for name in networks[0]}


def new_state(kind: Kind, weights: Weights) -> State:
    """The state of lanes that start with these weights and statistics; each moment is an array of its own."""
    trained = {name: w for name, w in weights.items() if not name.startswith(STATISTICS)}
    statistics = {name: w for name, w in weights.items() if name.startswith(STATISTICS)}
    moments = {
        o: {
            name: tuple(np.full_like(w, OPTIMIZERS[o].initial) for _ in range(OPTIMIZERS[o].moments))
            for name, w in trained.items()
        }
        for o in kind.optimizers
    }
    return State(trained, statistics, moments)


def picked(state: State, lanes: Sequence[int]) -> State:
    """The state of these lanes alone."""
    kept: State = tree.map_structure(lambda array: array[list(lanes)], state)
    return kept


def joined(states: Sequence[State]) -> State:
    """The state of the lanes of all these, one after another."""
    whole: State = tree.map_structure(lambda *arrays: np.concatenate(arrays), *states) if states[1:] else states[0]
    return whole


def _filled(network: Mapping[str, FloatArray], own: Architecture, layout: Layout) -> Weights:
    widths, (inputs, outputs) = layout.widths, (network["kernel_0"].shape[0], network["kernel_out"].shape[1])
    slopes = any(ACTIVATIONS[name].learns_slopes for name in layout.kind.activations)
    filled: Weights = {}
    for i, (fan_in, units) in enumerate(pairwise((inputs, *widths))):
        if i < own.depth:
            part = {name: network[name] for name in network if name.endswith(f"_{i}")}
        else:
            part = {f"kernel_{i}": np.eye(own.widths[-1], dtype=np.float32), **_vectors(own, str(i), own.widths[-1])}
        if slopes:
            part.setdefault(f"slopes_{i}", np.zeros((1, 1), np.float32))
        filled |= {n: _grown(w, fan_in if n.startswith("kernel") else 1, units) for n, w in part.items()}
    filled["kernel_out"] = _grown(network["kernel_out"], widths[-1], outputs)
    return {**filled, **{name: network[name] for name in ("bias_out", "frequencies") if name in network}}


def _grown(array: FloatArray, rows: int, columns: int) -> FloatArray:
    grown = np.zeros((rows, columns), np.float32)
    grown[: array.shape[0], : array.shape[1]] = array
    return grown


def lane_weights(weights: Mapping[str, FloatArray], lane: int, architecture: Architecture, inputs: int) -> Weights:
    """Copies of one network's weights, without what fills it up."""
    sizes = (architecture.embedded(inputs), *architecture.widths)
    own: Weights = {}
    for name, array in weights.items():
        kind, _, layer = name.rpartition("_")
        part = array[lane]
        if name == "kernel_out":
            part = part[: sizes[-1]]
        elif layer.isdigit():
            i = int(layer)
            if i >= architecture.depth or (kind == "slopes" and not ACTIVATIONS[architecture.activation].learns_slopes):
                continue
            part = part[: sizes[i] if kind == "kernel" else 1, : sizes[i + 1]]
        own[name] = part.copy() if len(array) > 1 else part
    return own


def dropout_threshold(probability: float) -> int:
    """A dropout probability in units of 1/256, as the engine quantizes it."""
    return min(round(probability * 256), 255)


def lane_settings(layout: Layout) -> Settings:
    """What a stack's lanes are trained with: an array (s, 1, 1) by name, `units_i` (s, 1, width of layer i)."""
    architectures, kind, widths = layout

    def column(values: Sequence[Any], dtype: type[np.generic] = np.float32) -> npt.NDArray[Any]:
        return np.array(values, dtype)[:, None, None]

    settings = {
        name: column([getattr(a, name) for a in architectures])
        for name in ("momentum", "nesterov", "weight_decay", "l1", "l2", "noise", "label_smoothing", "clip_norm")
    }
    for name in ("dropout", "input_dropout"):
        thresholds = [dropout_threshold(getattr(a, name)) for a in architectures]
        settings[f"{name}_threshold"] = column(thresholds, np.uint8)
        settings[f"{name}_scale"] = column([256 / (256 - t) for t in thresholds])
    for field, names in (("activation", kind.activations), ("optimizer", kind.optimizers)):
        if len(names) > 1:
            settings |= {f"{field}_{n}": column([getattr(a, field) == n for a in architectures]) for n in names}
    for i, width in enumerate(widths):
        if kind.skip and i:
            settings[f"skip_{i}"] = column([i < a.depth and a.widths[i] == a.widths[i - 1] for a in architectures])
        if kind.shallow:
            settings[f"active_{i}"] = column([i < a.depth for a in architectures])
        if kind.padded:
            own = [a.widths[min(i, a.depth - 1)] for a in architectures]
            settings[f"units_{i}"] = (np.arange(width) < np.array(own)[:, None])[:, None].astype(np.float32)
    return settings
