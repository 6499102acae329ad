"""A database that cannot be reached for a while: wait and try again, and say so once."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from hpo.errors import StorageAwayError, marked
from hpo.worker.progress import ProgressView
from hpo.worker.signals import StopRequest

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 5.0
T = TypeVar("T")


class Outage:
    """Whether the database is away, and when it is worth trying again."""

    def __init__(self, view: ProgressView, stop: StopRequest) -> None:
        self._view, self._stop = view, stop
        self._since: float | None = None
        self._pause, self._next = FIRST_PAUSE_SECONDS, 0.0

    @property
    def is_on(self) -> bool:
        """Whether the last attempt failed."""
        return self._since is not None

    def may_try(self) -> bool:
        """Whether the pause after the last failure is over."""
        return time.monotonic() >= self._next

    def begin(self, error: StorageAwayError) -> None:
        """An attempt has failed."""
        if self._since is None:
            self._since = time.monotonic()
            self._view.message(f"{marked(error)}; waiting for it, while trials that run go on")
        self._next = time.monotonic() + self._pause * random.uniform(0.75, 1.25)  # so that not all come at once
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    def end(self) -> None:
        """An attempt has succeeded."""
        if self._since is not None:
            self._view.message(f"the database answers again, after {time.monotonic() - self._since:.0f} s")
        self._since, self._pause, self._next = None, FIRST_PAUSE_SECONDS, 0.0

    def insist(self, action: Callable[[], T]) -> T:
        """What the action returns, tried until the database is there; StorageAwayError once a stop is asked for."""
        while True:
            try:
                result = action()
            except StorageAwayError as error:
                if self._stop.count:
                    raise
                self.begin(error)
                self._stop.wait(self._next - time.monotonic())
            else:
                self.end()
                return result
