"""Search spaces: dimensions, the spaces that come with hpo, and loading a user's own."""

from hpo_spaces.conditions import Condition
from hpo_spaces.dimensions import Categorical, Dimension, Float, Integer, LogFloat, Ordered, Value
from hpo_spaces.loading import SPACES, load_space
from hpo_spaces.mlp_space import MlpSpace, with_choice
from hpo_spaces.space import Params, SearchSpace, changed_dimensions, space_changes

__all__ = [
    "SPACES",
    "Categorical",
    "Condition",
    "Dimension",
    "Float",
    "Integer",
    "LogFloat",
    "MlpSpace",
    "Ordered",
    "Params",
    "SearchSpace",
    "Value",
    "changed_dimensions",
    "load_space",
    "space_changes",
    "with_choice",
]
