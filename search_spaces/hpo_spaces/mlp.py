"""The space `mlp`: multilayer perceptrons that narrow from layer to layer.

Each layer has the same share of the units of the one before, so that two numbers (neuron percent and neuron
shrink) describe both width and depth.
"""

import math
from functools import partial

from hpo.errors import SpaceError
from hpo.network.architecture import Architecture
from hpo_spaces.dimensions import Categorical, Float, Integer, LogFloat
from hpo_spaces.mlp_space import MlpSpace
from hpo_spaces.space import Params

UNITS = 500
MOST_LAYERS = 10
NARROWEST_NEXT = 25
"""A layer after the first has more units than this."""
ACTIVATIONS = ("relu", "leaky_relu", "elu", "selu", "swish", "tanh", "sigmoid", "prelu")
INITIALIZERS = {
    "relu": "he_normal",
    "leaky_relu": "he_normal",
    "prelu": "he_normal",
    "selu": "lecun_normal",
}
"""The others start from glorot_uniform."""

_START = {
    "dropout": 0.1,
    "learning_rate": 1e-3,
    "neuron_percent": 0.5,
    "neuron_shrink": 0.4,
    "activation": "elu",
    "batch_exponent": 5,
}
STARTS = (
    _START,
    {**_START, "dropout": 0.3, "learning_rate": 3e-3, "activation": "swish", "batch_exponent": 6},
    {**_START, "dropout": 0.2, "neuron_percent": 0.9, "neuron_shrink": 0.3, "activation": "tanh"},
)
"""Rules of thumb: a smooth activation, two or three narrowing layers, a learning rate around 0.001. A decent
first trial lets the race drop poor ones from the start."""


def layer_widths(percent: float, shrink: float, units: int) -> tuple[int, ...]:
    """Return the units of each hidden layer.

    The first has floor(percent * units), at least 1. Each next one has floor(shrink * the one before); it is
    added while it has more than 25 units and there are fewer than 10 layers.
    """
    widths = [max(1, math.floor(percent * units))]
    while len(widths) < MOST_LAYERS and (width := math.floor(shrink * widths[-1])) > NARROWEST_NEXT:
        widths.append(width)
    return tuple(widths)


def mlp_space(units: int = UNITS) -> MlpSpace:
    """Return the space whose widest first layer has `units` units; SpaceError below 1."""
    if not isinstance(units, int) or isinstance(units, bool) or units < 1:
        raise SpaceError(f"units must be a whole number of at least 1, got {units!r}; the default is {UNITS}")
    return MlpSpace(
        name="mlp",
        dimensions=(
            Float("dropout", 0.0, 0.5),
            LogFloat("learning_rate", 1e-4, 1e-1),
            Float("neuron_percent", 0.01, 1.0),
            Float("neuron_shrink", 0.01, 1.0),
            Categorical("activation", ACTIVATIONS),
            Integer("batch_exponent", 4, 9),
        ),
        architecture=partial(_architecture, units=units),
        settings={"units": units},
        starts=STARTS,
    )


def _architecture(params: Params, units: int) -> Architecture:
    activation = str(params["activation"])
    return Architecture(
        widths=layer_widths(float(params["neuron_percent"]), float(params["neuron_shrink"]), units),
        activation=activation,
        initializer=INITIALIZERS.get(activation, "glorot_uniform"),
        dropout=float(params["dropout"]),
        learning_rate=float(params["learning_rate"]),
        batch_size=2 ** int(params["batch_exponent"]),
    )


MLP = mlp_space()
