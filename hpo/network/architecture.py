"""A frozen description of one MLP and how it is trained; a leaf that knows no framework."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Self

ACTIVATION_NAMES = (
    "linear", "sigmoid", "hard_sigmoid", "tanh", "softsign", "softplus", "exponential", "relu", "leaky_relu",
    "prelu", "elu", "selu", "gelu", "swish", "mish",
)  # fmt: skip
INITIALIZER_NAMES = (
    "random_normal", "random_uniform", "variance_scaling", "lecun_normal", "lecun_uniform", "glorot_normal",
    "glorot_uniform", "he_normal", "he_uniform", "orthogonal",
)  # fmt: skip
OPTIMIZER_NAMES = ("sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamw", "adamax", "nadam", "lion")
SCHEDULE_NAMES = ("constant", "exponential", "linear", "cosine", "one_cycle")
NORMALIZATION_NAMES = ("none", "batch", "layer")
EMBEDDING_NAMES = ("none", "periodic")
SCALING_NAMES = ("none", "standard", "robust", "quantile")
_NAMES = {
    "activation": ACTIVATION_NAMES,
    "initializer": INITIALIZER_NAMES,
    "optimizer": OPTIMIZER_NAMES,
    "schedule": SCHEDULE_NAMES,
    "normalization": NORMALIZATION_NAMES,
    "embedding": EMBEDDING_NAMES,
    "scaling": SCALING_NAMES,
}
_SHARES = ("dropout", "input_dropout", "momentum", "warmup", "label_smoothing")
_AMOUNTS = ("weight_decay", "l1", "l2", "noise", "clip_norm", "embedding_scale")


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One MLP and its training: hidden layers, each followed by activation and dropout, then a linear output layer.

    Attributes:
        widths: units of each hidden layer, input side first; at least one layer.
        activation: of the hidden layers.
        initializer: for the hidden layers' kernels; the output layer uses Glorot uniform, biases start at zero.
        dropout: probability of dropping a hidden unit, in [0, 1).
        learning_rate: the schedule's highest.
        batch_size: rows per step.
        optimizer: as the Keras optimizer of that name, with its default settings but for the next three.
        momentum: of sgd and rmsprop, in [0, 1).
        nesterov: whether sgd looks ahead.
        weight_decay: decoupled, times the learning rate (Loshchilov & Hutter 2019, arXiv:1711.05101).
        schedule: how the learning rate changes (see `hpo.engine.schedules`).
        warmup: share of the horizon in which the rate first rises from zero, in [0, 1).
        schedule_epochs: the schedule's horizon; after it the last rate stays.
        l1, l2: penalties on all kernels, as `keras.regularizers.L1L2`.
        input_dropout: probability of dropping an input, in [0, 1).
        noise: standard deviation of Gaussian noise on the inputs, at most 1.
        normalization: of a hidden layer's values before its activation, batch (then without bias) or layer, with
            Keras' settings.
        label_smoothing: share of the target given to all classes alike, in [0, 1).
        clip_norm: greatest norm of the whole gradient; 0 is off.
        skip: whether the output of a hidden layer is added to that of the next where their widths are equal.
        embedding: periodic turns each input into sines and cosines (Gorishniy et al. 2022, arXiv:2203.05556).
        embedding_frequencies: frequencies for each input, learned.
        embedding_scale: standard deviation that the frequencies start with.
        scaling: of the numbers among the inputs, fitted on the train rows; none where they come scaled.
    """

    widths: tuple[int, ...]
    activation: str
    initializer: str
    dropout: float
    learning_rate: float
    batch_size: int
    optimizer: str = "adam"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    schedule_epochs: int = 200
    l1: float = 0.0
    l2: float = 0.0
    input_dropout: float = 0.0
    noise: float = 0.0
    normalization: str = "none"
    label_smoothing: float = 0.0
    clip_norm: float = 0.0
    skip: bool = False
    embedding: str = "none"
    embedding_frequencies: int = 8
    embedding_scale: float = 0.1
    scaling: str = "none"

    def __post_init__(self) -> None:
        # Plain numbers, so that numpy's may be given and JSON can hold them.
        object.__setattr__(self, "widths", tuple(int(width) for width in self.widths))
        for name in ("batch_size", "schedule_epochs", "embedding_frequencies"):
            object.__setattr__(self, name, int(getattr(self, name)))
        for name in ("learning_rate", *_SHARES, *_AMOUNTS):
            object.__setattr__(self, name, float(getattr(self, name)))
        self._check()

    def _check(self) -> None:
        """Raise ValueError with rule, value and remedy."""
        for field, names in _NAMES.items():
            if (value := getattr(self, field)) not in names:
                close = get_close_matches(str(value), names, n=1)
                remedy = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(names)}"
                raise ValueError(f"{field} must be one of those hpo has, got {value!r}; {remedy}")
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths must hold at least one layer of at least 1 unit, got {self.widths}")
        for field in _SHARES:
            if not 0.0 <= getattr(self, field) < 1.0:
                raise ValueError(f"{field} must be in [0, 1), got {getattr(self, field)}")
        for field in _AMOUNTS:
            if not 0.0 <= getattr(self, field) < math.inf:
                raise ValueError(f"{field} must be 0 or more, got {getattr(self, field)}")
        if self.noise > 1.0:
            raise ValueError(f"noise must be at most 1, the deviation of the inputs themselves, got {self.noise}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        for field in ("batch_size", "schedule_epochs", "embedding_frequencies"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, got {getattr(self, field)}")

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return len(self.widths)

    @property
    def is_scheduled(self) -> bool:
        """Whether its learning rate changes."""
        return self.schedule != "constant" or self.warmup > 0

    @property
    def is_noisy(self) -> bool:
        """Whether its inputs are disturbed in training."""
        return bool(self.noise or self.input_dropout)

    def embedded(self, inputs: int) -> int:
        """How many numbers the first layer sees for `inputs` features."""
        return inputs * 2 * self.embedding_frequencies if self.embedding == "periodic" else inputs

    def parameter_count(self, inputs: int, outputs: int) -> int:
        """Trainable numbers of the network with `inputs` features and `outputs` logits."""
        sizes = (self.embedded(inputs), *self.widths, outputs)
        weights = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))
        # Normalization has a scale and a shift, over batches instead of a bias.
        per_unit = (self.activation == "prelu") + {"none": 0, "layer": 2, "batch": 1}[self.normalization]
        frequencies = inputs * self.embedding_frequencies if self.embedding == "periodic" else 0
        return weights + per_unit * sum(self.widths) + frequencies

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` is the inverse."""
        return {**asdict(self), "widths": list(self.widths)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(**{**values, "widths": tuple(values["widths"])})
