"""Keeps a database server for all processes of a test session, and ends it after the last of them.

`python -m tests.helpers.keeper KIND PID` writes the server's URL, or `missing` and what is not installed, and lives as
long as process PID does: however the session ends, its server and its folder end with it.
"""

import contextlib
import signal
import sys
import tempfile
import time
from pathlib import Path

from hpo_storage.workers import process_start

from tests.helpers.servers import SERVERS, MissingError

LOOK_SECONDS = 0.5


def session_folder(pid: int) -> Path:
    """Where the processes of a session, which is process `pid`, tell each other of its servers."""
    return Path(tempfile.gettempdir()) / f"hpo-servers-{pid}"


def keep(kind: str, pid: int) -> None:
    owner = process_start(pid)
    try:
        server = SERVERS[kind]()
    except MissingError as missing:
        sys.stdout.write(f"missing {missing}\n")
        return
    try:
        server.start()
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        while process_start(pid) == owner:
            time.sleep(LOOK_SECONDS)
    finally:
        server.close()
        for file in session_folder(pid).glob(f"{kind}*"):
            file.unlink()
        with contextlib.suppress(OSError):  # there is another server's
            session_folder(pid).rmdir()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    keep(sys.argv[1], int(sys.argv[2]))
