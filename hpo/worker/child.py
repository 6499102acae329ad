"""The supervisor's end of its child processes: trainers and the one that prepares data."""

import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hpo_storage.urls import STORAGE_VARIABLE

from hpo.errors import ResourceError
from hpo.processes import SUPERVISOR_VARIABLE, reason_of
from hpo.usercode import STOPS

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}
_PRIVATE = (STORAGE_VARIABLE, "HPO_DATA_URL", "PGPASSWORD", "MYSQL_PWD")
"""Variables that may hold a password, and that no child needs."""
TAIL_BYTES = 4000
OWN = "hpo.trainer.own"
"""Runs a module of the user's own."""


class Child:
    """A Python module run as a child that speaks JSON lines; its standard error is kept in a temporary file."""

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        arguments, given = _arguments(module), _environment(environment or {})
        try:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
            self._process = subprocess.Popen(
                # -P: a file of the user's that is named like a module of ours must not be imported for it.
                [sys.executable, "-P", "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=given,
                start_new_session=True,
            )
        except OSError as error:
            raise ResourceError(
                f"a process must be started for {module}, this machine does not ({reason_of(error)}); see that open "
                f"files (ulimit -n), processes (ulimit -u), memory and temporary folder suffice"
            ) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        for stream in (self._input, self._output):
            os.set_blocking(stream.fileno(), False)
        self._unsent, self._input_ends = bytearray(), False
        self._buffer = b""
        self.closed = False

    @property
    def process_id(self) -> int:
        """Its number in the system."""
        return self._process.pid

    @property
    def output(self) -> int:
        """File descriptor to wait on."""
        return self._output.fileno()

    @property
    def input(self) -> int | None:
        """File descriptor to `flush` to when it takes something; None where nothing is left to send."""
        return self._input.fileno() if self._unsent else None

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message. What the child does not take now waits for `wait_for_output`; one that is gone shows when
        it is read."""
        self._unsent += json.dumps(message).encode() + b"\n"
        self.flush()

    def finish_input(self) -> None:
        """Tell the child that nothing more will come."""
        self._input_ends = True
        self.flush()

    def flush(self) -> None:
        """Write what the child takes now."""
        try:
            while self._unsent:
                del self._unsent[: os.write(self._input.fileno(), self._unsent)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._unsent.clear()
        if self._input_ends:
            self._input.close()

    def messages(self) -> list[dict[str, Any]]:
        """What has arrived; sets `closed` at the end of the child's output."""
        while True:
            try:
                data = os.read(self.output, 1 << 20)
            except BlockingIOError:
                break
            if not data:
                self.closed = True
                break
            self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        return [message for line in lines if (message := _message(line)) is not None]

    def ending(self) -> str:
        """Wait for a child that has closed its output and say how it ended."""
        code = self._process.wait()
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    @property
    def was_stopped(self) -> bool:
        """Whether it was ended by a request to stop, as a whole group of processes gets it."""
        return -(self._process.poll() or 0) in STOPS

    def errors(self) -> str:
        """The end of the child's standard error."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - TAIL_BYTES))
        return self._errors.read().decode("utf-8", "replace")

    def kill(self) -> None:
        """Stop the child at once."""
        self._process.kill()
        self._process.wait()
        for stream in (self._input, self._output, self._errors):
            stream.close()


def wait_for_output(children: Iterable[Child], seconds: float) -> None:
    """Return when a child has written something, has taken what was to be sent, or has ended, at the latest after
    `seconds`."""
    with selectors.DefaultSelector() as selector:
        for child in children:
            selector.register(child.output, selectors.EVENT_READ)
            if child.input is not None:
                selector.register(child.input, selectors.EVENT_WRITE, child)
        for key, _ in selector.select(seconds):
            if key.data is not None:
                key.data.flush()


def _message(line: bytes) -> dict[str, Any] | None:
    """A line of a child's output; None of what something in it has printed."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _arguments(module: str) -> list[str]:
    """What Python is to run: the module, or one of the user's own from where this process finds it."""
    if module.startswith("hpo."):
        return [module]
    found = importlib.util.find_spec(module.partition(".")[0])
    origin = Path(found.origin) if found is not None and found.origin else None
    if origin is None:
        return [OWN, str(Path.cwd()), module]
    return [OWN, str(origin.parent.parent if origin.name == "__init__.py" else origin.parent), module]


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _PRIVATE}
    return {**inherited, **_ONE_THREAD, **_QUIET, SUPERVISOR_VARIABLE: str(os.getpid()), **more}
