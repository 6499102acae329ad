"""Standard streams that are closed, full, or of another encoding: the work is done, and what cannot be shown is not."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


def open_streams() -> None:
    """Have a standard input, output and error, of which the latter two take any text.

    What is closed goes nowhere: a file of ours that got its number would be written to by whoever prints.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        with contextlib.suppress(OSError):
            os.set_blocking(number, True)  # what a parent has made not block would lose text
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stdout, Output):
        sys.stdout = Output(sys.stdout)


class OutputError(Exception):
    """Standard output does not take what is written to it; the cause is the reason."""


class Output:
    """Standard output, whose failures are told apart from those of other files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text; OutputError where that cannot be."""
        with _told_apart():
            return self._stream.write(text)

    def flush(self) -> None:
        """Write what waits; OutputError where that cannot be."""
        with _told_apart():
            self._stream.flush()


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError from error


def forget(stream: TextIO) -> None:
    """Let what is written to the stream go nowhere from now on, the interpreter's last flush too."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
