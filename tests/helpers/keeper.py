"""Keeps a database server for all processes of a test session, and ends it after the last of them.

`python -m tests.helpers.keeper KIND PID` writes the server's URL, or `missing` and what is not installed, and lives as
long as process PID does: however the session ends, its server ends with it.
"""

import signal
import sys
import time

from hpo_storage.workers import process_start

from tests.helpers.servers import SERVERS, MissingError

LOOK_SECONDS = 0.5


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


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    keep(sys.argv[1], int(sys.argv[2]))
