"""Ctrl-C, SIGTERM and a terminal that closes: asked once, finish cleanly; asked twice, stop at once. What children do
about them.

A thread hears the signals, so that they count whatever the main thread does: it may be in a function of the user's that
never returns, or wait in a driver. Where it does not come to an end in time, the thread ends the process. Only code
that never lets go of the interpreter's lock is beyond it; there SIGKILL is left, and trials that ran are then given to
others as those of a killed worker.
"""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hpo.processes import end_by_force
from hpo.usercode import STOPS, RequestedInterrupt

TICK_SECONDS = 0.1
GRACE_SECONDS = 4.0
"""What the orderly way may take beyond the time for trials that run."""
ECHO_SECONDS = 1.0
"""A terminal that closes sends SIGHUP twice, by its shell and by the system, and systemd may send it beside SIGTERM: it
is the same request."""
_HANGUP = getattr(signal, "SIGHUP", None)


@dataclass
class StopRequest:
    """How often the user has asked to stop, when first and last, and how long trials that run may go on then."""

    count: int = 0
    first: float = 0.0
    last: float = 0.0
    drain_seconds: float = 0.0
    on_first: list[Callable[[], object]] = field(default_factory=list)
    """Called in the thread that hears the first request."""

    @property
    def waited(self) -> float:
        """Seconds since the first request."""
        return time.monotonic() - self.first

    @property
    def left(self) -> float | None:
        """Seconds until the process must have come to its end, None where nobody has asked."""
        if self.count == 0:
            return None
        end = self.first + self.drain_seconds + GRACE_SECONDS
        return (end if self.count == 1 else min(end, self.last + GRACE_SECONDS)) - time.monotonic()

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or soon after a request."""
        end, before = time.monotonic() + seconds, self.count
        while (left := end - time.monotonic()) > 0 and self.count == before:
            time.sleep(min(left, TICK_SECONDS))

    def ask(self, number: int = 0) -> None:
        """Count a request, by the signal of that number."""
        now = time.monotonic()
        if self.count and number == _HANGUP and now - self.last < ECHO_SECONDS:
            return
        self.first, self.last = self.first if self.count else now, now
        self.count += 1
        if self.count == 1:
            for action in self.on_first:
                action()


@contextmanager
def stop_on_signals(*, interrupts: bool = False) -> Iterator[StopRequest]:
    """Count requests to stop while the block runs (in the main thread; elsewhere nothing is caught).

    With `interrupts` the first one raises KeyboardInterrupt. SIGHUP stays ignored where it is, as under `nohup`.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    with _Ear(request, interrupts):
        yield request


class _Ear:
    """Handlers for the signals, and a thread that hears them."""

    def __init__(self, request: StopRequest, interrupts: bool) -> None:
        self._request, self._interrupts = request, interrupts
        self._caught = [n for n in STOPS if n != _HANGUP or signal.getsignal(n) is not signal.SIG_IGN]
        self._previous: dict[int, Any] = {}
        self._here, self._there = socket.socketpair()
        self._there.setblocking(False)
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()
        self._wakeup = signal.set_wakeup_fd(self._there.fileno(), warn_on_full_buffer=False)
        for number in self._caught:
            self._previous[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup)
        self._there.close()
        self._thread.join()
        self._here.close()

    def _handle(self, *_: object) -> None:
        """In the main thread, as soon as it can; the request is counted by the other thread."""
        if self._interrupts:
            self._interrupts = False
            raise RequestedInterrupt

    def _listen(self) -> None:
        while True:
            left = self._request.left
            self._here.settimeout(None if left is None else max(left, 0.001))
            try:
                numbers = self._here.recv(64)
            except TimeoutError:
                end_by_force()
            if not numbers:
                return
            for number in numbers:
                if number in self._caught:
                    self._request.ask(number)


def ignore_stops() -> None:
    """Requests to stop may come to a whole group of processes: for children they are the supervisor's business."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
