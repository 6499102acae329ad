"""A search space of one's own: networks whose hidden layers are all equally wide."""

from hpo.spaces import Architecture, Categorical, Float, Integer, LogFloat, MlpSpace, Ordered, Params

DIMENSIONS = (
    Integer("layers", 1, 4),
    Ordered("width", (16, 32, 64, 128, 256)),
    Categorical("activation", ("elu", "tanh")),
    Float("dropout", 0.0, 0.3),
    LogFloat("learning_rate", 1e-3, 1e-2),
)


def build(params: Params) -> Architecture:
    """Turn the values of one trial, by name, into a network."""
    widths = (params["width"],) * params["layers"]
    others = {name: params[name] for name in ("activation", "dropout", "learning_rate")}
    return Architecture(widths=widths, initializer="glorot_uniform", batch_size=64, **others)


SPACE = MlpSpace(name="equal-layers", dimensions=DIMENSIONS, architecture=build)
