"""The space `mlp_strong`: what recent work on tabular data found best for multilayer perceptrons.

* RealMLP (Holzmüller, Grinsztajn & Steinwart 2024, arXiv:2407.04491): equal layers, selu and mish, periodic embeddings
  that start from low frequencies, dropout around 0.15, weight decay around 0.02, a scheduled learning rate, and label
  smoothing (it can be off: trials are judged by log loss, which it was not made for).
* TabM (Gorishniy, Kotelnikov & Babenko 2024, arXiv:2410.24210), the plain MLPs that it is compared with: AdamW, the
  ranges of dropout, weight decay and embedding scale, gradients clipped to a norm of 1.
* Periodic embeddings (Gorishniy, Rubachev & Babenko 2022, arXiv:2203.05556): sines and cosines of each input.
* The ResNet of Gorishniy et al. 2021 (arXiv:2106.11959): skip connections and normalization (theirs is batch).
* Older: gelu, warm-up, one cycle (Smith & Topin 2018, arXiv:1708.07120), noise on the inputs (Bishop 1995).

Not offered: TabM's ensemble that shares weights; RealMLP's learned scale of each input, neural tangent parametrization,
parametric activations, schedules of dropout and weight decay, coslog4 schedule, data-driven initialization and robust
scaling; the linear layer after periodic features (PL, PLR, PBLD); piecewise linear embeddings; quantile transforms.
"""

from typing import Any

from hpo.network.architecture import Architecture
from hpo_spaces.dimensions import Categorical, Float, Integer, LogFloat, Ordered
from hpo_spaces.mlp_space import MlpSpace
from hpo_spaces.space import Params

CLIP_NORM = 1.0
INITIALIZERS = {"relu": "he_normal", "selu": "lecun_normal", "gelu": "he_normal", "mish": "he_normal"}

DIMENSIONS = (
    Integer("layers", 2, 4),
    Ordered("width", (64, 96, 128, 192, 256, 384, 512)),
    Categorical("skip", (False, True)),
    Categorical("activation", ("relu", "selu", "gelu", "mish")),
    Categorical("normalization", ("none", "layer")),
    Float("dropout", 0.0, 0.5),
    Ordered("noise", (0.0, 0.01, 0.03, 0.1, 0.3)),
    LogFloat("learning_rate", 1e-4, 2e-2),
    LogFloat("weight_decay", 1e-4, 1e-1),
    Categorical("schedule", ("cosine", "linear", "one_cycle")),
    Ordered("schedule_epochs", (20, 40, 80, 160)),
    Float("warmup", 0.0, 0.2, when=("schedule", ("cosine", "linear"))),
    Ordered("label_smoothing", (0.0, 0.01, 0.02, 0.05, 0.1)),
    Integer("batch_exponent", 5, 8),
    Categorical("embedding", ("none", "periodic")),
    Ordered("embedding_frequencies", (4, 8, 16, 32), when=("embedding", ("periodic",))),
    LogFloat("embedding_scale", 0.01, 10.0, when=("embedding", ("periodic",))),
)
_OWN_WORDS = ("layers", "width", "batch_exponent")
"""The others are called as in `Architecture`."""

_REALMLP = {
    **{"layers": 3, "width": 256, "skip": False, "activation": "selu", "normalization": "none", "dropout": 0.15},
    **{"noise": 0.0, "learning_rate": 2e-3, "weight_decay": 0.02, "schedule": "cosine", "schedule_epochs": 40},
    **{"warmup": 0.1, "label_smoothing": 0.0, "batch_exponent": 6, "embedding": "none"},
}
_PERIODIC = {"embedding": "periodic", "embedding_frequencies": 8, "embedding_scale": 0.1}
_TABM = {"layers": 2, "width": 512, "activation": "relu", "dropout": 0.3, "learning_rate": 1e-3, "weight_decay": 1e-3}
STARTS = (_REALMLP, {**_REALMLP, **_PERIODIC, "activation": "mish"}, {**_REALMLP, **_TABM})
"""RealMLP's defaults as far as they are offered, without and with embeddings, and a typical tuned MLP of TabM's; the
learning rates are rules of thumb, as theirs belong to other batch sizes and parametrizations."""


def _architecture(params: Params) -> Architecture:
    others: dict[str, Any] = {name: value for name, value in params.items() if name not in _OWN_WORDS}
    return Architecture(
        widths=(params["width"],) * params["layers"],
        batch_size=2 ** params["batch_exponent"],
        initializer=INITIALIZERS[params["activation"]],
        optimizer="adamw",
        clip_norm=CLIP_NORM,
        **others,
    )


MLP_STRONG = MlpSpace(
    name="mlp_strong",
    dimensions=DIMENSIONS,
    architecture=_architecture,
    settings={"clip_norm": CLIP_NORM},
    starts=STARTS,
)
