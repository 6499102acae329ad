"""Processes of the machine, and conditions that come true after a while."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_until(condition: Callable[[], Any], seconds: float = 60, *, pause: float = 0.05, says: str = "") -> None:
    """Return when the condition is true; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it has not happened in {seconds} seconds {says}"
        time.sleep(pause)


def run_python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """What a new interpreter makes of the code."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    settings = {"capture_output": True, "text": True, "check": False, "timeout": 60, **options}
    return subprocess.run(command, **settings)


def descendants(pid: int) -> list[int]:
    """Ids of the processes that it has started, and those have, in the order of their start."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *descendants(child)]
    return found


def command_line(pid: int) -> bytes:
    """Nothing of a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def trainers(pid: int) -> list[int]:
    """Ids of its children that train, in the order of their start; forks of these are not counted."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [child for child in map(int, path.read_text().split()) if b"hpo.trainer." in command_line(child)]
    return found
