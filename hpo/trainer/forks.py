"""Work in a fork of this process: what the work leaves in memory goes with the fork, another takes its place.

Frameworks keep what they have compiled for as long as their process lives, some megabytes for most trials. A process
that imports a framework, which takes seconds, but never uses it has forks that start in a twentieth of a second.
"""

import contextlib
import ctypes
import gc
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from hpo.processes import end_with_parent

Work = Callable[[str], None]
_DONE = b"."
"""A fork has started, or has done what a message says and goes on."""


class Forks:
    """Hands messages, lines of text, to a fork of this process, one fork after another.

    A fork calls `start` for what does the work. One that has grown by more than `most_growth` bytes since its first
    message is replaced. This process must have no threads: a fork has none but its own. It ends as a fork that dies
    while it starts or works; one that is killed while it waits is replaced.
    """

    def __init__(self, start: Callable[[], Work], most_growth: int) -> None:
        self._start, self._most_growth = start, most_growth
        self._fork()

    def renew(self) -> None:
        """Put a new fork in the old one's place, which has what this process has now."""
        self._ended()
        self._fork()

    def work(self, message: str) -> None:
        """Return when a fork has done what the message says."""
        if os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self.renew()
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(message.encode())
            if self._socket.recv(1) == _DONE:
                return
        self._end_alike(self._ended())
        self._fork()

    def _fork(self) -> None:
        self._socket, there = socket.socketpair()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            self._serve(parent, there)
        there.close()
        if self._socket.recv(1) != _DONE:
            self._end_alike(self._ended())

    def _ended(self) -> int:
        """Wait for the end of the fork, which reads no more; its exit code, or less than 0 for a signal."""
        self._socket.close()
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _end_alike(self, code: int) -> None:
        if code < 0:
            os.kill(os.getpid(), -code)
        if code:
            sys.exit(code)

    def _serve(self, parent: int, messages: socket.socket) -> NoReturn:
        """The life of a fork."""
        try:
            end_with_parent(parent)
            work, first = self._start(), 0
            messages.sendall(_DONE)
            for line in messages.makefile("r", encoding="utf-8"):
                work(line)
                first = first or held_bytes()
                if held_bytes() - first > self._most_growth:
                    give_memory_back()
                    if held_bytes() - first > self._most_growth:
                        break
                messages.sendall(_DONE)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)


def held_bytes() -> int:
    """Memory that this process holds for itself, files' pages not counted (Linux)."""
    _, resident, shared, *_ = Path("/proc/self/statm").read_text("ascii").split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def give_memory_back() -> None:
    """Return freed memory to the system; glibc would keep what lies between blocks in use."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
