"""Data sets that come with scikit-learn, and generated ones; nothing is downloaded."""

import pandas as pd

from hpo.data.fingerprint import BUILTIN_NAMES, TEACHING_NAMES
from hpo.data.teaching_names import Teaching
from hpo.errors import DataError


def load_builtin(name: str) -> pd.DataFrame:
    """A built-in set as a frame: features, then the class names (digits: numbers) in the column `target`."""
    if name.partition(":")[0] in TEACHING_NAMES:
        from hpo.data.teaching import teaching_frame

        return teaching_frame(Teaching.of(name))
    if name not in BUILTIN_NAMES:
        there = ", ".join((*BUILTIN_NAMES, *TEACHING_NAMES))
        raise DataError(f"a built-in data set is one of {there}, got {name!r}; use one of these")
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    names = [str(label) for label in bunch.target_names]
    frame: pd.DataFrame = bunch.data
    return frame.assign(target=[names[number] for number in bunch.target])
