"""How long things last that tests and fleets may want shorter or longer; read from the environment once."""

import math
import os
from dataclasses import dataclass
from typing import Self

from hpo.errors import StorageError

LEASE_SECONDS = 60.0
ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 1800.0
LEAST_SECONDS, MOST_SECONDS = 0.1, 1e6


@dataclass(frozen=True, slots=True)
class Timing:
    """What follows from a lease's length; all in seconds."""

    lease: float = LEASE_SECONDS

    @property
    def beat(self) -> float:
        """Between two heartbeats, each of which extends the leases."""
        return self.lease / 4

    @property
    def sweep(self) -> float:
        """Between two looks for expired leases."""
        return self.lease / 2

    @classmethod
    def from_environment(cls) -> Self:
        """With the lease that HPO_LEASE_SECONDS gives; StorageError where that is no such number."""
        return cls(seconds_from_environment("HPO_LEASE_SECONDS", LEASE_SECONDS))


def answer_seconds() -> float:
    """After how long a database that does not answer is given up: HPO_ANSWER_SECONDS, or else 30."""
    return seconds_from_environment("HPO_ANSWER_SECONDS", ANSWER_SECONDS)


def silence_seconds() -> float:
    """After how long a trainer that says nothing of its first trial hangs: HPO_SILENCE_SECONDS, or else 30 minutes."""
    return seconds_from_environment("HPO_SILENCE_SECONDS", SILENCE_SECONDS)


def seconds_from_environment(name: str, default: float) -> float:
    """The variable's seconds; StorageError where it is no number, or nothing that clocks can wait for."""
    given = os.environ.get(name)
    if not given:
        return default
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise StorageError(
            f"{name} must be a number of seconds from {LEAST_SECONDS} to {MOST_SECONDS:.0f}, got {given!r}; "
            f"use {default:g}"
        )
    return seconds
