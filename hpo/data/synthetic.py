"""The synthetic objective: no data and no network, but a cheap noisy function of the point, with an optional sleep.

It runs a whole study within seconds; tests and benchmarks of storage and workers use it. Standard library only.
"""

import math
from pathlib import Path

from hpo.errors import DataError
from hpo.study.facts import Facts

NAME = "synthetic"


def is_synthetic(source: str) -> bool:
    """Whether this names the synthetic objective (`synthetic` or `synthetic:SECONDS`), and no file."""
    return source.partition(":")[0] == NAME and not Path(source).exists()


def synthetic_seconds(source: str) -> float:
    """How long a trial sleeps; DataError where that is no number of seconds."""
    text = source.partition(":")[2] or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DataError(
            f"the synthetic objective sleeps for seconds from 0, got {text!r}; use --data {NAME} or {NAME}:0.1"
        )
    return seconds


def synthetic_facts(replicates: int) -> Facts:
    """What is known of such a study."""
    return Facts(
        rows=0,
        features=0,
        task="regression",
        target_mean=0.0,
        target_deviation=1.0,
        loss_name="mean squared error",
        prior_loss=1.0,
        replicates=replicates,
        train_rows=0,
    )
