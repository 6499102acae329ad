"""Times as people write them."""

import math
import re

from hpo.errors import StudyError

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d)?")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
NO_LIMIT = "none"


def seconds_of(text: str, option: str) -> float:
    """Seconds in `90`, `90s`, `10m`, `2h` or `1d`; infinity for `none`.

    Raises StudyError, naming the option, for anything else and for nothing at all.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    seconds = float(found[1]) * _SECONDS[found[2] or "s"] if found else 0.0
    if text.strip().lower() == NO_LIMIT:
        return math.inf
    if not 0 < seconds < math.inf:
        raise StudyError(f"{option} must be a time above 0, or {NO_LIMIT}, got {text!r}; write seconds, or 10m, 2h, 1d")
    return seconds
