"""How much a row counts: what its column says, and how rare its class is."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.columns import content, kind_of, numbers
from hpo.errors import DataError, use


def row_weights(values: pd.Series, column: str) -> npt.NDArray[np.float32]:
    """(rows,), in proportion to the column; those above 0 have the mean 1. DataError where a row has none."""
    if kind_of(values) != "numeric":
        raise DataError(
            f"weights must be numbers, column {column!r} holds {content(values)}; use another {use('weight')}",
            setting="weight",
        )
    given = numbers(values)
    for wrong, what in ((np.isnan(given), "missing"), (given < 0, "negative"), (np.isinf(given), "infinite")):
        if count := int(wrong.sum()):
            where = "1 row" if count == 1 else f"{count:,} rows"
            raise DataError(
                f"every row needs a weight of 0 or more, in column {column!r} it is {what} in {where}; "
                f"correct these, or use another {use('weight')}",
                setting="weight",
            )
    if not given.any():
        raise DataError(
            f"some row must have a weight above 0, column {column!r} is 0 in all; use another {use('weight')}",
            setting="weight",
        )
    relative = given / given.max()
    weights: npt.NDArray[np.float32] = (relative / relative[relative > 0].mean()).astype(np.float32)
    return weights


def balanced_weights(labels: npt.NDArray[np.integer], classes: int) -> npt.NDArray[np.float32]:
    """(rows,): rows / (classes · rows of the same class), so that all classes weigh the same."""
    counts = np.bincount(labels, minlength=classes)
    weights: npt.NDArray[np.float32] = (len(labels) / (classes * counts[labels])).astype(np.float32)
    return weights
