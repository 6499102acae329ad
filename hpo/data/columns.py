"""What a column of a table holds, and its values as plain arrays."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

LARGEST = 1e100
"""Numbers beyond this are taken for infinite: their squares could not be computed with."""
MAX_LISTED = 10
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal")
_TEXTS = ("string", "boolean", "mixed-integer", "mixed", "empty")

Kind = Literal["numeric", "text"]


def kind_of(values: pd.Series) -> Kind | None:
    """Whether a column holds numbers or text (booleans and categories are text); None for anything else."""
    dtype: Any = values.dtype
    if pd.api.types.is_bool_dtype(dtype) or isinstance(dtype, pd.StringDtype | pd.CategoricalDtype):
        return "text"
    if pd.api.types.is_numeric_dtype(dtype):
        return None if pd.api.types.is_complex_dtype(dtype) else "numeric"
    if not pd.api.types.is_object_dtype(dtype):
        return None
    content = pd.api.types.infer_dtype(values, skipna=True)
    if content in _NUMBERS:
        return "numeric"
    is_text = content in _TEXTS and all(pd.api.types.is_scalar(value) for value in values)
    return "text" if is_text else None


def numbers(values: pd.Series) -> npt.NDArray[np.float64]:
    """(rows,) with NaN where missing."""
    if values.dtype == object:
        values = values.where(values.notna(), np.nan)
    return values.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)


def texts(values: pd.Series) -> npt.NDArray[np.object_]:
    """(rows,) with None where missing."""
    result = values.astype(object).to_numpy(copy=True)
    missing = values.isna().to_numpy()
    result[missing] = None
    if not isinstance(values.dtype, pd.StringDtype):
        result[~missing] = [str(value) for value in result[~missing]]
    return result


def content(values: pd.Series) -> str:
    """What a column holds, in a word."""
    return "text" if kind_of(values) == "text" else str(values.dtype)


def listed(names: Sequence[str]) -> str:
    """`'a', 'b' and 7 more`."""
    shown = ", ".join(repr(name) for name in names[:MAX_LISTED])
    return shown if len(names) <= MAX_LISTED else f"{shown} and {len(names) - MAX_LISTED:,} more"
