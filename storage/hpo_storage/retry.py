"""Again, after a deadlock or a serialization failure."""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from hpo.errors import StorageBusyError

RETRY_SECONDS = 5.0
"""From the first failure on; what fails later is raised."""
LEAST_PAUSE, MOST_PAUSE = 0.01, 0.5
P = ParamSpec("P")
R = TypeVar("R")


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Call again where the database refused a transaction because of another one, which left nothing changed.

    StorageBusyError where that goes on for `RETRY_SECONDS`.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        deadline, pause = 0.0, LEAST_PAUSE
        while True:
            try:
                return function(*args, **kwargs)
            except StorageBusyError:
                deadline = deadline or time.monotonic() + RETRY_SECONDS
                if time.monotonic() >= deadline:
                    raise
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, MOST_PAUSE)

    return call
