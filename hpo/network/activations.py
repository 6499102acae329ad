"""Activations of hidden layers, written in `keras.ops` so that every backend shares them; each as Keras has it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

Tensor = Any
LEAKY_SLOPE = 0.2


@dataclass(frozen=True, slots=True)
class Activation:
    """`function(z, slopes) -> h`, element-wise; `slopes` is None unless `learns_slopes`."""

    function: Callable[[Tensor, Tensor], Tensor]
    learns_slopes: bool = False


def _prelu(z: Tensor, slopes: Tensor) -> Tensor:
    """Parametric ReLU with one slope per unit, starting at 0 (He et al. 2015, arXiv:1502.01852)."""
    return ops.relu(z) - slopes * ops.relu(-z)


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda z, _: z),
    "sigmoid": Activation(lambda z, _: ops.sigmoid(z)),
    "hard_sigmoid": Activation(lambda z, _: ops.hard_sigmoid(z)),
    "tanh": Activation(lambda z, _: ops.tanh(z)),
    "softsign": Activation(lambda z, _: ops.softsign(z)),
    "softplus": Activation(lambda z, _: ops.softplus(z)),
    "exponential": Activation(lambda z, _: ops.exp(z)),
    "relu": Activation(lambda z, _: ops.relu(z)),
    "leaky_relu": Activation(lambda z, _: ops.leaky_relu(z, negative_slope=LEAKY_SLOPE)),
    "prelu": Activation(_prelu, learns_slopes=True),
    "elu": Activation(lambda z, _: ops.elu(z)),
    "selu": Activation(lambda z, _: ops.selu(z)),
    "gelu": Activation(lambda z, _: ops.gelu(z, approximate=False)),
    "swish": Activation(lambda z, _: ops.silu(z)),
    "mish": Activation(lambda z, _: z * ops.tanh(ops.softplus(z))),
}
