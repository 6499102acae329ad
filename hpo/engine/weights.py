"""The weights of single networks and of stacks, the state that training starts with, and the lanes' settings.

By name: for each hidden layer i kernel_i; bias_i unless values are normalized over batches, which would take any bias
away again; slopes_i where the activation learns them, scale_i and shift_i where values are normalized, mean_i and
variance_i where they are normalized over batches; kernel_out, bias_out; frequencies where inputs are embedded.

Of one network: kernels (in, out), the others (1, units), frequencies (features, k). Of a stack: the same with a leading
axis of networks (lanes), narrow networks filled up with zeros.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import tree

from hpo.engine.layout import Layout, ProgramKind
from hpo.engine.optimizers import OPTIMIZERS
from hpo.engine.program import FloatArray, LaneSettings, State, Weights
from hpo.network.activations import ACTIVATIONS
from hpo.network.architecture import Architecture
from hpo.network.initializers import INITIALIZERS

STATISTICS = ("mean_", "variance_")
"""Names of what is not learned, but averaged over batches, begin so."""


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


def new_state(kind: ProgramKind, weights: Weights) -> State:
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
        role, _, layer = name.rpartition("_")
        part = array[lane]
        if name == "kernel_out":
            part = part[: sizes[-1]]
        elif layer.isdigit():
            i = int(layer)
            if i >= architecture.depth or (role == "slopes" and not ACTIVATIONS[architecture.activation].learns_slopes):
                continue
            part = part[: sizes[i] if role == "kernel" else 1, : sizes[i + 1]]
        own[name] = part.copy() if len(array) > 1 else part
    return own


def dropout_threshold(probability: float) -> int:
    """A dropout probability in units of 1/256, as the engine quantizes it."""
    return min(round(probability * 256), 255)


def lane_settings(layout: Layout) -> LaneSettings:
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
