"""Places at which a test may stop a process: `HPO_FAILPOINT=name:action[:count]`.

The actions are `kill` (SIGKILL to itself), `error` (RuntimeError) and `sleep=SECONDS`; `count` is the passage at
which it happens, by default the first. Without the variable nothing ever does.
"""

import os
import signal
import time
from collections import Counter

VARIABLE = "HPO_FAILPOINT"
_passages: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Do what the environment asks for at the place of that name."""
    wanted, _, rest = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name:
        return
    _passages[name] += 1
    action, _, count = rest.partition(":")
    if _passages[name] != int(count or 1):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "error":
        raise RuntimeError(f"failpoint {name}")
    elif action.startswith("sleep="):
        time.sleep(float(action.removeprefix("sleep=")))
    else:
        raise ValueError(f"a failpoint's action must be kill, error or sleep=SECONDS, got {action!r}")
