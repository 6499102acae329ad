"""From a table's columns to a network's inputs, fitted on one replicate's train rows."""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from hpo.study.facts import InputColumn

MAX_CATEGORIES = 50
"""Inputs per text column at most; rarer texts share the last one."""
MISSING = "missing"


def column_transformer(columns: Sequence[InputColumn]) -> ColumnTransformer:
    """Numbers: the median where missing, an indicator for that, mean 0 and deviation 1. Text: one input per
    category, missing being one; an unknown one counts as rare, or gives zeros where none is rare."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=MISSING, missing_values=None, keep_empty_features=True),
        OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            max_categories=MAX_CATEGORIES,
            sparse_output=False,
            dtype=np.float32,
        ),
    )
    return ColumnTransformer(
        [
            ("numbers", numbers, [column.name for column in columns if column.kind == "numeric"]),
            ("texts", texts, [column.name for column in columns if column.kind == "text"]),
        ],
        sparse_threshold=0,
    )


def encode(frame: pd.DataFrame, columns: Sequence[InputColumn], train: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """All rows as (rows, width) float32, fitted on the rows `train` with their multiplicity.

    Inputs that are the same in all train rows are left out: nothing can be learned from them, and other rows
    may have values there of any size. So the width depends on `train`.
    """
    transformer = column_transformer(columns)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found unknown categories")
        transformer.fit(frame.iloc[train])
        encoded: npt.NDArray[np.float32] = transformer.transform(frame).astype(np.float32)
    varies = np.ptp(encoded[train], axis=0) > 0
    return encoded[:, varies]
