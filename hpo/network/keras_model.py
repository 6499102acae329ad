"""The same network as a plain Keras model: the reference that the engine is proved against."""

import math
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops, optimizers

from hpo.network.activations import LEAKY_SLOPE
from hpo.network.architecture import Architecture

Tensor = Any

OPTIMIZERS = {
    "sgd": optimizers.SGD, "rmsprop": optimizers.RMSprop, "adagrad": optimizers.Adagrad,
    "adadelta": optimizers.Adadelta, "adam": optimizers.Adam, "adamw": optimizers.AdamW,
    "adamax": optimizers.Adamax, "nadam": optimizers.Nadam, "lion": optimizers.Lion,
}  # fmt: skip
NORMALIZATIONS = {"batch": keras.layers.BatchNormalization, "layer": keras.layers.LayerNormalization}


class PeriodicEmbedding(keras.layers.Layer):  # type: ignore[misc] # Keras has no types
    """Inputs (rows, n) to (rows, n·2k): each input's k sines, then its k cosines (arXiv:2203.05556)."""

    def __init__(self, frequencies: int, scale: float, **options: object) -> None:
        super().__init__(**options)
        self.count, self.scale = frequencies, scale

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Draw the frequencies, (n, k), from N(0, scale)."""
        start = keras.initializers.RandomNormal(0.0, self.scale)
        self.frequencies = self.add_weight(shape=(input_shape[-1], self.count), initializer=start, name="frequencies")

    def call(self, x: Tensor) -> Tensor:
        """The sines and cosines of 2π · frequency · input."""
        angles = 2.0 * math.pi * self.frequencies * ops.expand_dims(x, -1)
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
        return ops.reshape(waves, (-1, x.shape[-1] * 2 * self.count))


class StepRates(optimizers.schedules.LearningRateSchedule):  # type: ignore[misc] # Keras has no types
    """The learning rate of each step from an array, (steps,) float32; after its end the last one stays."""

    def __init__(self, rates: npt.NDArray[np.float32]) -> None:
        self.rates = np.asarray(rates, np.float32)

    def __call__(self, step: Tensor) -> Tensor:
        """The rate of the step; the first step is 0."""
        return ops.take(self.rates, ops.minimum(step, len(self.rates) - 1))


def _activation_layer(name: str) -> keras.layers.Layer:
    if name == "prelu":
        return keras.layers.PReLU()
    if name == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=LEAKY_SLOPE)
    return keras.layers.Activation(name)


def _input_layers(architecture: Architecture, seed: int) -> list[keras.layers.Layer]:
    """What happens to the inputs before the first hidden layer."""
    layers = []
    if architecture.noise:
        layers.append(keras.layers.GaussianNoise(architecture.noise, seed=seed + architecture.depth))
    if architecture.input_dropout:
        layers.append(keras.layers.Dropout(architecture.input_dropout, seed=seed + architecture.depth + 1))
    if architecture.embedding == "periodic":
        layers.append(PeriodicEmbedding(architecture.embedding_frequencies, architecture.embedding_scale))
    return layers


def _dense_layer(architecture: Architecture, units: int, initializer: str, bias: bool = True) -> keras.layers.Dense:
    penalized = architecture.l1 or architecture.l2
    regularizer = keras.regularizers.L1L2(architecture.l1, architecture.l2) if penalized else None
    return keras.layers.Dense(units, use_bias=bias, kernel_initializer=initializer, kernel_regularizer=regularizer)


def _hidden_layers(architecture: Architecture, place: int, seed: int) -> list[keras.layers.Layer]:
    """One hidden layer of the architecture: product and bias, normalization, activation, dropout.

    Normalization over batches takes any bias away again: what would train it is the noise of rounding.
    """
    bias = architecture.normalization != "batch"
    layers = [_dense_layer(architecture, architecture.widths[place], architecture.initializer, bias)]
    if architecture.normalization != "none":
        layers.append(NORMALIZATIONS[architecture.normalization]())
    layers.append(_activation_layer(architecture.activation))
    if architecture.dropout:
        layers.append(keras.layers.Dropout(architecture.dropout, seed=seed + place))
    return layers


def build_keras_model(architecture: Architecture, inputs: int, outputs: int, seed: int = 0) -> keras.Model:
    """An uncompiled model, (rows, inputs) to logits (rows, outputs); a Sequential unless layers are skipped.

    Its weights, input side first: [frequencies], then for each hidden layer kernel[, bias][, scale, shift[, moving
    mean, moving variance]][, slopes], then the output's kernel and bias. `seed` is that of dropout and noise; initial
    weights follow `keras.utils.set_random_seed`.
    """
    first = _input_layers(architecture, seed)
    hidden = [_hidden_layers(architecture, place, seed) for place in range(architecture.depth)]
    last = _dense_layer(architecture, outputs, "glorot_uniform")
    equal = [before == after for before, after in pairwise(architecture.widths)]
    skipped = [False, *(architecture.skip and same for same in equal)]
    h = start = keras.Input((inputs,))
    if not any(skipped):
        return keras.Sequential([start, *first, *(layer for layers in hidden for layer in layers), last])
    for layer in first:
        h = layer(h)
    for layers, skip in zip(hidden, skipped, strict=True):
        before = h
        for layer in layers:
            h = layer(h)
        h = keras.layers.add([before, h]) if skip else h
    return keras.Model(start, last(h))


def _optimizer(architecture: Architecture, rates: npt.NDArray[np.float32] | None) -> optimizers.Optimizer:
    name, settings = architecture.optimizer, {}
    if architecture.weight_decay or name == "adamw":  # AdamW's own default is not 0
        settings["weight_decay"] = architecture.weight_decay
    if name in ("sgd", "rmsprop"):
        settings["momentum"] = architecture.momentum
    if name == "sgd":
        settings["nesterov"] = architecture.nesterov
    if architecture.clip_norm:
        settings["global_clipnorm"] = architecture.clip_norm
    return OPTIMIZERS[name](learning_rate=architecture.learning_rate if rates is None else StepRates(rates), **settings)


def gaussian_loss(y: Tensor, outputs: Tensor) -> Tensor:
    """Negative log likelihood (nats) of numbers (rows, 1) for means and logarithms of variances (rows, 2)."""
    mean, log_variance = outputs[:, :1], outputs[:, 1:]
    squares = ops.square(y - mean) * ops.exp(-log_variance)
    return 0.5 * (ops.mean(squares + log_variance, axis=-1) + math.log(2 * math.pi))


def _loss(head: str, smoothing: float) -> object:
    if head == "softmax" and smoothing:
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    return {
        "softmax": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "sigmoid": keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing),
        "squared": keras.losses.MeanSquaredError(),
        "gaussian": gaussian_loss,
    }[head]


def compile_keras_model(
    model: keras.Model,
    architecture: Architecture,
    rates: npt.NDArray[np.float32] | None = None,
    head: str = "softmax",
) -> None:
    """Attach the architecture's optimizer and the loss of the head (see `hpo.engine.layout`).

    Labels of softmax are class numbers, (rows,); with label smoothing they are one-hot, (rows, outputs). `rates`,
    (steps,), are the learning rates of a schedule that is not constant, or that warms up.
    """
    if rates is None and architecture.is_scheduled:
        raise ValueError(
            f"a schedule needs the rate of every step, got none for {architecture.schedule!r} with warmup"
            f" {architecture.warmup}; give rates, as hpo.engine.schedules computes them"
        )
    loss = _loss(head, architecture.label_smoothing)
    model.compile(optimizer=_optimizer(architecture, rates), loss=loss)
