"""The space `mlp_wide`: the networks of `mlp`, and most of what can be chosen about their training.

The learning rate is Adam's; other optimizers get a multiple of it (`RATE_SCALES`), so that one range suits them all.
"""

from typing import Any

from hpo.network.architecture import Architecture
from hpo_spaces.dimensions import Categorical, Float, LogFloat, Ordered
from hpo_spaces.mlp import MLP, UNITS, layer_widths
from hpo_spaces.mlp import STARTS as MLP_STARTS
from hpo_spaces.mlp_space import MlpSpace
from hpo_spaces.space import Params

RATE_SCALES = {"sgd": 10.0, "adamax": 2.0, "lion": 0.1}
"""Learning rate over Adam's; 1 for the others. sgd: its usual rate is 0.01 where Adam's is 0.001. adamax: 0.002 (Kingma
& Ba 2015, arXiv:1412.6980). lion: 3 to 10 times lower, with a weight decay as many times higher (Chen et al. 2023,
arXiv:2302.06675)."""
_MOVING = ("linear", "cosine", "exponential", "one_cycle")

DIMENSIONS = (
    *MLP.dimensions,
    Categorical("optimizer", ("adam", "adamw", "nadam", "rmsprop", "sgd", "adamax", "lion")),
    Float("momentum", 0.0, 0.95, when=("optimizer", ("sgd", "rmsprop"))),
    Categorical("nesterov", (False, True), when=("optimizer", ("sgd",))),
    LogFloat("weight_decay", 1e-4, 1e-1, when=("optimizer", ("adamw", "lion"))),
    Categorical("schedule", ("constant", *_MOVING)),
    Ordered("schedule_epochs", (20, 40, 80, 160), when=("schedule", _MOVING)),
    Float("warmup", 0.0, 0.2, when=("schedule", ("linear", "cosine", "exponential"))),
    Categorical("initializer", ("glorot_uniform", "he_normal", "lecun_normal", "orthogonal")),
    Categorical("penalty", ("none", "l2")),
    LogFloat("l2", 1e-6, 1e-2, when=("penalty", ("l2",))),
    Categorical("normalization", ("none", "batch", "layer")),
    Float("label_smoothing", 0.0, 0.2),
)
_PASSED_ON = (
    *("activation", "dropout", "optimizer", "momentum", "nesterov", "schedule", "schedule_epochs"),
    *("warmup", "initializer", "l2", "normalization", "label_smoothing"),
)

_PLAIN = {
    "optimizer": "adam",
    "schedule": "constant",
    "initializer": "glorot_uniform",
    "penalty": "none",
    "normalization": "none",
    "label_smoothing": 0.0,
}
_COSINE = {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "schedule_epochs": 40, "warmup": 0.1}
_MOMENTUM = {
    **{"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "schedule": "one_cycle", "schedule_epochs": 40},
    **{"initializer": "he_normal", "normalization": "batch"},
}
STARTS = (
    {**MLP_STARTS[0], **_PLAIN},
    {**MLP_STARTS[1], **_PLAIN, **_COSINE},
    {**MLP_STARTS[0], **_PLAIN, **_MOMENTUM, "activation": "relu"},
)
"""The first guesses of `mlp` with three common recipes: plain Adam; AdamW whose rate falls; Nesterov's momentum in one
cycle with batch normalization."""


def _architecture(params: Params) -> Architecture:
    given: dict[str, Any] = {name: params[name] for name in _PASSED_ON if name in params}
    scale = RATE_SCALES.get(params["optimizer"], 1.0)
    return Architecture(
        widths=layer_widths(params["neuron_percent"], params["neuron_shrink"], UNITS),
        batch_size=2 ** params["batch_exponent"],
        learning_rate=scale * params["learning_rate"],
        weight_decay=params.get("weight_decay", 0.0) / scale,
        **given,
    )


MLP_WIDE = MlpSpace(
    name="mlp_wide",
    dimensions=DIMENSIONS,
    architecture=_architecture,
    settings={"units": UNITS, **{f"{optimizer}_rate": scale for optimizer, scale in RATE_SCALES.items()}},
    starts=STARTS,
)
