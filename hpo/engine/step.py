"""One training step of a stack, written once in `keras.ops` for every backend: forward pass, loss and update."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from keras import ops

from hpo.engine.heads import HEADS
from hpo.engine.layout import ProgramKind
from hpo.engine.optimizers import OPTIMIZERS, OptimizerSettings, clip_by_global_norm
from hpo.engine.program import State
from hpo.network.activations import ACTIVATIONS

Tensor = Any
Tensors = Mapping[str, Tensor]
Matmul = Callable[..., Tensor]
NORMALIZATION_EPSILON, STATISTICS_MOMENTUM = 1e-3, 0.99
"""As in `keras.layers.BatchNormalization` and `LayerNormalization`."""


class Batch(NamedTuple):
    """The rows of one step: inputs (s, rows, features), targets (s, rows[, outputs]), dropout factors (s, rows, width)
    of each hidden layer, weights of the rows (s, rows), None where all count alike, and which rows are there (rows,):
    1, or 0 for those that only fill the batch up, None where all are."""

    x: Tensor
    y: Tensor
    dropout: Sequence[Tensor]
    row_weights: Tensor | None = None
    present: Tensor | None = None


def forward(
    kind: ProgramKind,
    weights: Tensors,
    x: Tensor,
    settings: Tensors,
    matmul: Matmul,
    batch: Batch | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs (s, rows, outputs) for inputs (s, rows, features), and the new statistics of normalized layers.

    `batch` is None when predicting; its `x` is not used.
    """
    values = embed(weights["frequencies"], x) if kind.embedding == "periodic" else x
    statistics: dict[str, Tensor] = {}
    for i in range(kind.depth):
        before = values
        product = matmul(values, weights[f"kernel_{i}"])
        if kind.normalization != "batch":
            product = product + weights[f"bias_{i}"]
        normalized, new = _normalize(kind, i, product, weights, settings, batch)
        statistics |= new
        if kind.shallow:  # an activation must not overflow in a layer that the lane does not have
            normalized = ops.where(settings[f"active_{i}"] > 0, normalized, ops.zeros_like(normalized))
        values = activate(kind, settings, normalized, weights.get(f"slopes_{i}"))
        if batch is not None:
            values = values * batch.dropout[i]
        if kind.skip and i:
            values = values + settings[f"skip_{i}"] * before
        if kind.shallow:  # a layer that the lane does not have passes its input on
            values = ops.where(settings[f"active_{i}"] > 0, values, product)
        if kind.padded:
            values = values * settings[f"units_{i}"]
    return matmul(values, weights["kernel_out"]) + weights["bias_out"], statistics


def embed(frequencies: Tensor, x: Tensor) -> Tensor:
    """Sines and cosines of each input, (s, rows, features · 2k), for frequencies (s, features, k)."""
    angles = 2 * math.pi * x[..., None] * frequencies[:, None]
    waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
    s, rows, features, width = (ops.shape(waves)[axis] for axis in range(4))
    return ops.reshape(waves, (s, rows, features * width))


def activate(kind: ProgramKind, settings: Tensors, values: Tensor, slopes: Tensor | None) -> Tensor:
    """Each lane's own activation of values (s, rows, units)."""
    if len(kind.activations) == 1:
        return ACTIVATIONS[kind.activations[0]].function(values, slopes)
    # Not a sum of products: an exponential that overflows must not reach lanes that do not use it.
    result = values
    for name in kind.activations:
        chosen = settings[f"activation_{name}"] > 0
        safe = ops.where(chosen, values, ops.zeros_like(values))
        result = ops.where(chosen, ACTIVATIONS[name].function(safe, slopes), result)
    return result


def _normalize(
    kind: ProgramKind, layer: int, values: Tensor, weights: Tensors, settings: Tensors, batch: Batch | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Normalized values (s, rows, units) and new moving statistics."""
    if kind.normalization == "none":
        return values, {}
    statistics: dict[str, Tensor] = {}
    if kind.normalization == "layer":
        mean, variance = _unit_moments(values, settings.get(f"units_{layer}"))
    elif batch is None:
        mean, variance = weights[f"mean_{layer}"], weights[f"variance_{layer}"]
    else:
        mean, variance = _row_moments(values, batch.present)
        for name, now in ((f"mean_{layer}", mean), (f"variance_{layer}", variance)):
            statistics[name] = weights[name] * STATISTICS_MOMENTUM + now * (1 - STATISTICS_MOMENTUM)
    scaled = (values - mean) * ops.rsqrt(variance + NORMALIZATION_EPSILON)
    return scaled * weights[f"scale_{layer}"] + weights[f"shift_{layer}"], statistics


def _unit_moments(values: Tensor, units: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance over a lane's own units, (s, rows, 1)."""
    if units is None:
        return ops.mean(values, axis=2, keepdims=True), ops.var(values, axis=2, keepdims=True)
    count = ops.sum(units, axis=2, keepdims=True)
    mean = ops.sum(values * units, axis=2, keepdims=True) / count
    return mean, ops.sum(ops.square(values - mean) * units, axis=2, keepdims=True) / count


def _row_moments(values: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance over the rows that are there, (s, 1, units)."""
    if present is None:
        return ops.mean(values, axis=1, keepdims=True), ops.var(values, axis=1, keepdims=True)
    shares = (present / ops.sum(present))[None, :, None]
    mean = ops.sum(values * shares, axis=1, keepdims=True)
    return mean, ops.sum(ops.square(values - mean) * shares, axis=1, keepdims=True)


def loss(
    kind: ProgramKind, weights: Tensors, statistics: Tensors, settings: Tensors, matmul: Matmul, batch: Batch
) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum over lanes of each one's loss, and the new statistics.

    The lanes share no weight, so the gradient of the sum is each lane's own gradient.
    """
    logits, new = forward(kind, {**weights, **statistics}, batch.x, settings, matmul, batch)
    total = ops.sum(_mean_losses(kind, batch, logits, settings))
    kernels = [weight for name, weight in weights.items() if name.startswith("kernel_")]
    if kind.l1:
        total += sum(ops.sum(settings["l1"] * ops.abs(kernel)) for kernel in kernels)
    if kind.l2:
        total += sum(ops.sum(settings["l2"] * ops.square(kernel)) for kernel in kernels)
    return total, new


def _mean_losses(kind: ProgramKind, batch: Batch, outputs: Tensor, settings: Tensors) -> Tensor:
    """Mean over the rows of a batch, (s,); as in Keras, weights do not change what the sum is divided by."""
    smoothing = settings["label_smoothing"] if kind.smoothed else None
    losses = HEADS[kind.head].row_losses(batch.y, outputs, smoothing)
    if batch.row_weights is not None:
        losses = losses * batch.row_weights
    if batch.present is None:
        return ops.mean(losses, axis=1)
    return ops.sum(losses * batch.present, axis=1) / ops.sum(batch.present)


def update(kind: ProgramKind, state: State, gradients: Tensors, settings: Tensors, rate: Tensor, step: Tensor) -> State:
    """Weights and moments after one step of each lane's own optimizer; `rate` (s, 1, 1), `step` taken before."""
    if kind.shallow:  # a layer that the lane does not have learns nothing
        gradients = {name: _where_active(name, gradient, settings) for name, gradient in gradients.items()}
    if kind.clipped:
        names = list(gradients)
        clipped = clip_by_global_norm([gradients[name] for name in names], settings["clip_norm"])
        gradients = dict(zip(names, clipped, strict=True))
    decay = settings["weight_decay"] if kind.decayed else None
    own = OptimizerSettings(rate, settings["momentum"], settings["nesterov"], decay)
    updates = {name: OPTIMIZERS[name].at(own, step) for name in kind.optimizers}
    weights: dict[str, Tensor] = {}
    moments: dict[str, dict[str, tuple[Tensor, ...]]] = {name: {} for name in kind.optimizers}
    for name, weight in state.weights.items():
        weights[name] = weight
        for o in kind.optimizers:
            new, moments[o][name] = updates[o](weight, gradients[name], state.moments[o][name])
            chosen = settings[f"optimizer_{o}"] > 0 if len(kind.optimizers) > 1 else None
            weights[name] = new if chosen is None else ops.where(chosen, new, weights[name])
        if kind.shallow:  # and stays the identity, whatever the decay
            weights[name] = weight + _where_active(name, weights[name] - weight, settings)
    return State(weights, state.statistics, moments)


def _where_active(name: str, change: Tensor, settings: Tensors) -> Tensor:
    """The change where the lane has the layer that the weight belongs to, zero elsewhere."""
    layer = name.rpartition("_")[2]
    return ops.where(settings[f"active_{layer}"] > 0, change, ops.zeros_like(change)) if layer.isdigit() else change


def dropout_factors(bits: Sequence[Tensor], settings: Tensors) -> list[Tensor]:
    """The dropout factors of each hidden layer, for bits (s, rows, width): 0, or 1 / (share kept)."""
    return [ops.cast(part >= settings["dropout_threshold"], "float32") * settings["dropout_scale"] for part in bits]


def noisy(x: Tensor, noise: Tensor, bits: Tensor, settings: Tensors) -> Tensor:
    """Inputs with Gaussian noise and then dropout, all (s, rows, features)."""
    kept = ops.cast(bits >= settings["input_dropout_threshold"], "float32") * settings["input_dropout_scale"]
    return (x + noise * settings["noise"]) * kept
