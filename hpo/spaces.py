"""What a person needs to write a search space of his own."""

from hpo_spaces import Categorical, Float, Integer, LogFloat, MlpSpace, Ordered, Params, SearchSpace
from hpo_spaces.mlp import mlp_space

from hpo.network.architecture import Architecture

__all__ = [
    "Architecture",
    "Categorical",
    "Float",
    "Integer",
    "LogFloat",
    "MlpSpace",
    "Ordered",
    "Params",
    "SearchSpace",
    "mlp_space",
]
