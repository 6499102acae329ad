"""Running what a user has written: a search space's function, an objective, a module that is imported.

It may print, end, or change what belongs to the process. Standard output is ours, the process ends when we say so, and
what it changes of the process does not outlive its call.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

PATIENCE_SECONDS = 10.0
"""A function that takes longer is named."""
STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name))
"""What asks the process to stop: nobody else's to catch."""
_OURS = (str(Path(__file__).parent), "hpo_spaces", str(Path(os.__file__).parent), "<", "site-packages")
_OPEN = threading.local()
"""Whether this thread is within user code already."""


class RequestedInterrupt(KeyboardInterrupt):
    """The user has asked us to stop: not what code of his may raise."""


class EndedError(Exception):
    """User code has tried to end the process."""


@contextmanager
def contained(what: str, *, descriptors: bool = True, patience: float | None = PATIENCE_SECONDS) -> Iterator[None]:
    """Run user code in the block; what would end the process becomes an EndedError.

    What it prints goes to standard error, with `descriptors` also what a library writes by itself. Once it takes longer
    than `patience`, standard error says so.
    """
    with ExitStack() as stack:
        if not getattr(_OPEN, "now", False):
            _OPEN.now = True
            stack.callback(setattr, _OPEN, "now", False)
            if patience is not None:
                stack.enter_context(_named_when_slow(what, patience))
            stack.enter_context(warnings.catch_warnings())
            stack.enter_context(_same_folder())
            stack.enter_context(_output_aside(descriptors))
            stack.enter_context(_process_kept())
        try:
            yield
        except (Exception, RequestedInterrupt):
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                raise  # it may be the user's
            raise EndedError(_text(error)) from error


def said(error: BaseException) -> str:
    """Kind, text and place of an error in a user's code: `ValueError: no such file (line 7 of space.py, in widths)`."""
    text = str(error) if isinstance(error, EndedError) else _text(error)
    origin = error.__cause__ if isinstance(error, EndedError) and error.__cause__ else error
    frames = [f for f in traceback.extract_tb(origin.__traceback__) if not any(o in f.filename for o in _OURS)]
    return f"{text} (line {frames[-1].lineno} of {frames[-1].filename}, in {frames[-1].name})" if frames else text


def end_despite_threads(code: int) -> None:
    """End the process now where user code has left threads for which Python would wait."""
    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@contextmanager
def _named_when_slow(what: str, patience: float) -> Iterator[None]:
    def warn() -> None:
        with contextlib.suppress(OSError):
            os.write(2, f"{what} has not returned for {patience:.0f} s; nothing else is done meanwhile\n".encode())

    timer = threading.Timer(patience, warn)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _same_folder() -> Iterator[None]:
    try:
        before = Path.cwd()
    except OSError:  # it was removed
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if Path.cwd() != before:
                os.chdir(before)


@contextmanager
def _output_aside(descriptors: bool) -> Iterator[None]:
    """Whatever is written to standard output goes to standard error."""
    streams: tuple[TextIO | None, ...] = sys.stdin, sys.stdout, sys.stderr
    sys.stdout = sys.stderr
    try:
        with _descriptor_aside() if descriptors else contextlib.nullcontext():
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams


@contextmanager
def _descriptor_aside() -> Iterator[None]:
    try:
        _flush()
        kept = os.dup(1)
    except OSError:  # it is closed
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


def _flush() -> None:
    """Write what C libraries hold back, if any has been loaded."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.__stdout__.flush()  # type: ignore[union-attr] # None where there is none
    if (ctypes := sys.modules.get("ctypes")) is not None and os.name == "posix":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).fflush(None)


@contextmanager
def _process_kept() -> Iterator[None]:
    """User code ends no process but its own forks, and leaves alone what asks this one to stop."""
    process, end, handle = os.getpid(), os._exit, signal.signal

    def ended(code: int = 0) -> None:
        if os.getpid() != process:
            end(code)
        raise EndedError(f"os._exit({code})")

    def handled(number: int, handler: Any) -> Any:  # noqa: ANN401 - as of signal.signal
        return signal.getsignal(number) if number in STOPS and os.getpid() == process else handle(number, handler)

    os._exit, signal.signal = ended, handled  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit, signal.signal = end, handle
