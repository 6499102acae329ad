"""Ctrl-C and SIGTERM: asked once, finish cleanly; asked twice, stop at once. What children do about them."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

TICK_SECONDS = 0.1


@dataclass
class StopRequest:
    """How often the user has asked to stop, and when first."""

    count: int = 0
    first: float = 0.0

    @property
    def waited(self) -> float:
        """Seconds since the first request."""
        return time.monotonic() - self.first

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or soon after a request."""
        end, before = time.monotonic() + seconds, self.count
        while (left := end - time.monotonic()) > 0 and self.count == before:
            time.sleep(min(left, TICK_SECONDS))

    def ask(self, *_: object) -> None:
        """Count a request; usable as a signal handler."""
        if self.count == 0:
            self.first = time.monotonic()
        self.count += 1


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Count SIGINT and SIGTERM while the block runs (in the main thread; elsewhere nothing is caught)."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.signal(number, request.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def ignore_stops() -> None:
    """Ctrl-C and SIGTERM may come to a whole group of processes: for children they are the supervisor's business."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
