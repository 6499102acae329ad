"""Search spaces: dimensions, the spaces that come with hpo, and loading a user's own."""

from hpo_spaces.conditions import Condition
from hpo_spaces.dimensions import Categorical, Dimension, Float, Integer, LogFloat, Ordered, Value
from hpo_spaces.space import Params, SearchSpace, changed_dimensions, load_space

SPACES = {
    "mlp": "hpo_spaces.mlp:MLP",
    "mlp_strong": "hpo_spaces.mlp_strong:MLP_STRONG",
    "mlp_wide": "hpo_spaces.mlp_wide:MLP_WIDE",
}
"""Name of a space -> where the space is defined; imported when it is asked for."""

__all__ = [
    "SPACES",
    "Categorical",
    "Condition",
    "Dimension",
    "Float",
    "Integer",
    "LogFloat",
    "Ordered",
    "Params",
    "SearchSpace",
    "Value",
    "changed_dimensions",
    "load_space",
]
