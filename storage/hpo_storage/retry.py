"""Again: after a deadlock or a serialization failure, and while a start waits for its database."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

from hpo.errors import StorageAwayError, StorageBusyError, StorageHostError
from hpo_storage.timing import answer_seconds

RETRY_SECONDS = 5.0
"""From the first refusal of a transaction because of another one; what fails later is raised."""
HOST_SECONDS = 5.0
"""How long a start waits for a host that has no address: names of containers come up a little late."""
LEAST_PAUSE, MOST_PAUSE = 0.01, 0.5
TICK_SECONDS = 0.1
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds a database that is away is asked again, and who hears of it. Whoever starts has some; once
    trials run, none."""

    seconds: float = 0.0
    hear: Callable[[StorageAwayError], None] = lambda error: None
    stopped: Callable[[], bool] = lambda: False
    """Whether to wait no longer."""

    def allows(self, error: StorageAwayError, since: float) -> bool:
        """Whether to try again what failed first at `since`, a time of the monotonic clock."""
        seconds = min(self.seconds, HOST_SECONDS) if isinstance(error, StorageHostError) else self.seconds
        if isinstance(error, StorageBusyError):
            seconds = max(seconds, RETRY_SECONDS)
        return time.monotonic() < since + seconds and not self.stopped()

    def wait(self, error: StorageAwayError, seconds: float) -> None:
        """Wait so long, or until it is to stop."""
        if not isinstance(error, StorageBusyError):
            self.hear(error)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.stopped():
            time.sleep(min(left, TICK_SECONDS))


NO_PATIENCE = Patience()


def starting(say: Callable[[StorageAwayError], None], stopped: Callable[[], bool] = lambda: False) -> Patience:
    """The patience of a start: about the time that an answer may take. `say` hears of the first failure only."""
    said = list[StorageAwayError]()

    def hear(error: StorageAwayError) -> None:
        if not said:
            said.append(error)
            say(error)

    return Patience(answer_seconds(), hear, stopped)


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Call again where the database refused a transaction because of another one, which left nothing changed; and
    where it is away, for as long as its patience lasts, which is that of the first argument.

    The last error is raised. What is called again must do no harm where the answer to an earlier call got lost.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        patience: Patience = getattr(args[0] if args else None, "patience", NO_PATIENCE)
        since, pause = 0.0, LEAST_PAUSE
        while True:
            try:
                return function(*args, **kwargs)
            except StorageAwayError as error:
                since = since or time.monotonic()
                if not patience.allows(error, since):
                    raise
                patience.wait(error, random.uniform(pause / 2, pause))
            pause = min(2 * pause, MOST_PAUSE)

    return call
