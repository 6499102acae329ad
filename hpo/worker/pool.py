"""The supervisor's trainers: children that train, replaced when they die, and the trials they work on."""

import logging
import math
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo_storage.records import Outcome, TrialState
from hpo_storage.slots import Claim, check_outcome
from hpo_storage.timing import LEASE_SECONDS, Timing, silence_seconds

from hpo.errors import ResourceError, SickHostError, TrainersError, do
from hpo.words import duration_text
from hpo.worker.child import Child, wait_for_output
from hpo.worker.progress import Running
from hpo.worker.results import Settled

TICK_SECONDS = 0.25
START_SECONDS = 300.0
"""A trainer that is not ready by then hangs."""
MAX_IDLE_DEATHS = 3
"""Trainers may die this often, while they start or wait, before one has brought a result."""
MOST_BROKEN, MOST_AFTER_RESULTS = 5, 10
"""So many attempts in a row may break off, before the first result and later, until a machine counts as sick."""
LONGEST_PAUSE = 16.0
"""Times the first one."""
SILENT_TIMES = 48
"""So much longer may a trainer be silent that has never told how far it is: it may not know how."""
COMPLAINT_LINES = 12

_log = logging.getLogger("hpo")


@dataclass
class Health:
    """Whether trainers bring results on this machine, and what has broken off since the last one; after the first of
    these it rests for `pause` seconds, then each time for twice as long."""

    pause: float = 1.0
    proved: bool = False
    in_a_row: int = 0
    last: str = ""
    errors: str = ""
    rests_until: float = 0.0

    def brought_result(self) -> None:
        """A trainer has had an outcome."""
        self.proved, self.in_a_row = True, 0

    def broke(self, reason: str, errors: str, *, known: bool) -> None:
        """Trials have broken off. Where this has had results, and attempts at them were `known` to fail, they are what
        is wrong."""
        if known and self.proved:
            return
        self.last, self.errors = f"{reason} {_last_line(errors)}".strip(), errors
        if self.in_a_row and time.monotonic() < self.rests_until:
            return  # others that ran beside it
        self.rests_until = time.monotonic() + self.pause * min(2.0**self.in_a_row, LONGEST_PAUSE)
        self.in_a_row += 1

    @property
    def may_claim(self) -> bool:
        """Whether it is well, and has rested since something broke off."""
        return not self.is_sick and time.monotonic() >= self.rests_until

    @property
    def is_sick(self) -> bool:
        """Whether so much has broken off that it is not the trials' doing."""
        return self.in_a_row >= (MOST_AFTER_RESULTS if self.proved else MOST_BROKEN)

    @property
    def words(self) -> str | None:
        """What is wrong, in a line; None where nothing is."""
        if not self.in_a_row:
            return None
        often = "" if self.in_a_row == 1 else f" {self.in_a_row} times in a row"
        return f"trials broke off{often} ({self.last})"

    def check(self) -> None:
        """Raise SickHostError where it is sick."""
        if self.is_sick:
            raise SickHostError(_complaint(f"{self.words}", self.errors), summary=self.words or "")


@dataclass
class Quiet:
    """How long a trainer has said nothing of its trials, and whether that was told."""

    seconds: float = 0.0
    warned: bool = False


class Trainer:
    """A trainer child and the trials it works on, by slot."""

    def __init__(self, number: int, module: str, environment: Mapping[str, str]) -> None:
        self.number, self.module, self._environment = number, module, environment
        self._data: dict[str, Any] | None = None
        self._start()

    def _start(self) -> None:
        """Start a child, which is not ready before it says so."""
        self.child = Child(self.module, self._environment)
        self.ready = False
        self.claims: dict[int, Claim] = {}
        self._started, self._seconds_each, self._deadline = time.monotonic(), float("inf"), float("inf")
        self.quiet = Quiet()
        self.note(0, 0, None)

    def open(self, folder: Path, replicates: int | None = None) -> None:
        """Name the folder with the prepared data of the study that it works on from now on; by default all of it."""
        self._data = {"open": str(folder), **({} if replicates is None else {"replicates": replicates})}
        self.child.send(self._data)

    @property
    def is_late(self) -> bool:
        """Whether the child has had all the time that it may need to get ready."""
        return not self.ready and self.seconds > START_SECONDS

    def train(self, orders: Sequence[Mapping[str, Any]], seconds_each: float) -> None:
        """Send the child the trials it has claimed; together they may take so many seconds for each of them."""
        self._started, self._seconds_each = time.monotonic(), seconds_each
        self._deadline = self._started + seconds_each * len(orders)
        self.quiet = Quiet()
        self.note(0, 0, None)
        self.child.send({"train": list(orders)})

    def note(self, replicate: int, epoch: int, loss: float | None) -> None:
        """Remember how far the trials are."""
        self._noted = Running(trainer=self.number, trial=0, replicate=replicate, epoch=epoch, stop_loss=loss)

    @property
    def seconds(self) -> float:
        """How long it has worked on its trials, or has started."""
        return time.monotonic() - self._started

    @property
    def has_deadline(self) -> bool:
        """Whether its trials may take a limited time only."""
        return self._deadline < math.inf

    @property
    def running(self) -> Running | None:
        """What it is doing, None while it has no trial."""
        if not self.claims:
            return None
        trial = min(claim.number for claim in self.claims.values())
        return replace(self._noted, trial=trial, others=len(self.claims) - 1)

    def end(self, slot: int, outcome: Outcome) -> list[Settled]:
        """A trial has an outcome; nothing where it is no longer the trainer's."""
        claim = self.claims.pop(slot, None)
        return [Settled(claim, outcome, seconds=self.seconds)] if claim else []

    def break_off(self, reason: str) -> list[Settled]:
        """All its trials, which end without an outcome, as failed attempts."""
        return [Settled(claim, reason=reason, counts=True, seconds=self.seconds) for claim in self._let_go()]

    def interrupt(self) -> list[Settled]:
        """All its trials, which are stopped through no fault of theirs."""
        return [Settled(claim) for claim in self._let_go()]

    def _let_go(self) -> list[Claim]:
        claims, self.claims = self.claims, {}
        return list(claims.values())

    def end_overdue(self) -> list[Settled]:
        """The trials that have had all the time they may have, as failed; the child is replaced."""
        if not self.claims or time.monotonic() <= self._deadline:
            return []
        reason = f"stopped at its time limit, {duration_text(self._seconds_each)}"
        outcome = Outcome(state=TrialState.FAILED, reason=reason)
        ended = [one for slot in list(self.claims) for one in self.end(slot, outcome)]
        self.restart()
        return ended

    def restart(self) -> None:
        """Put a new child in the old one's place, with the same data and without trials."""
        self.kill()
        self._start()
        if self._data is not None:
            self.child.send(self._data)

    def kill(self) -> None:
        """Stop the child at once."""
        self.child.kill()


class TrainerPool:
    """The trainers of a worker, all of one module, with these variables in their environment.

    They live until the pool is closed.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._trainers: list[Trainer] = []
        self._ended: list[Settled] = []
        self._idle_deaths = 0
        self.health = Health(Timing.from_environment().lease / LEASE_SECONDS)
        self._patience = SilenceLimits(silence_seconds())
        self._listened = time.monotonic()

    def __iter__(self) -> Iterator[Trainer]:
        return iter(self._trainers)

    def grow(self, module: str, count: int) -> None:
        """See that there are so many of the module; those of another one end."""
        if any(trainer.module != module for trainer in self._trainers):
            self.close()
            self.health = Health(self.health.pause)
        for number in range(len(self._trainers), count):
            self._trainers.append(Trainer(number, module, self._environment))

    def open(self, folder: Path) -> None:
        """Name the folder of the study that all of them work on from now on."""
        self._patience = SilenceLimits(self._patience.seconds)
        for trainer in self._trainers:
            trainer.open(folder)

    @property
    def claims(self) -> list[Claim]:
        """The trials that trainers work on now."""
        return [claim for trainer in self._trainers for claim in trainer.claims.values()]

    def listen(self) -> list[Settled]:
        """Wait a moment for news and return the trials that ended; trainers that died, do not get ready, hang, or are
        overdue are replaced.

        Raises TrainersError where trainers cannot work on the study, SickHostError where they can on none.
        """
        wait_for_output([trainer.child for trainer in self._trainers], TICK_SECONDS)
        before, self._listened = self._listened, time.monotonic()
        passed = min(self._listened - before, 4 * TICK_SECONDS)  # who was paused itself has not heard what was said
        for trainer in self._trainers:
            for message in trainer.child.messages():
                self._ended += self._hear(trainer, message)
            if trainer.child.closed:
                self._ended += self._replace(trainer, trainer.child.ending())
            elif trainer.is_late:
                self._ended += self._replace(trainer, f"not ready after {START_SECONDS:.0f} s")
            else:
                self._ended += self._mind_silence(trainer, passed)
            self._ended += trainer.end_overdue()
        return self.take_ended()

    def take_ended(self) -> list[Settled]:
        """The trials that have ended and that nobody was told of, as what another trainer met came between."""
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Stop all of them at once."""
        for trainer in self._trainers:
            trainer.kill()
        self._trainers, self._idle_deaths = [], 0

    def _mind_silence(self, trainer: Trainer, passed: float) -> list[Settled]:
        """Warn of a trainer that says nothing, and put another in its place when a trial must hang."""
        quiet = trainer.quiet
        quiet.seconds = quiet.seconds + passed if trainer.claims or not trainer.ready else 0.0
        limit = self._patience.limit(self._patience.reported or trainer.module.startswith("hpo."))
        said = f"silent for {duration_text(quiet.seconds)}"
        if trainer.claims and quiet.seconds > limit and not trainer.has_deadline:
            return self._replace(trainer, said, f"{said}, so it hangs")
        if quiet.seconds > self._patience.warning and not quiet.warned:
            quiet.warned = True
            trials = ", ".join(str(claim.number) for claim in trainer.claims.values())
            about = f"trial {trials}; it hangs after {duration_text(limit)}" if trials else "while it starts"
            process = trainer.child.process_id
            _log.warning("trainer %d (process %d) is %s, %s", trainer.number, process, said, about)
        return []

    def _hear(self, trainer: Trainer, message: dict[str, Any]) -> list[Settled]:
        trainer.quiet = Quiet()
        if "ready" in message:
            trainer.ready = True
        elif "outcome" in message:
            self._idle_deaths = 0
            self.health.brought_result()
            self._patience.longest = max(self._patience.longest, trainer.seconds)
            return trainer.end(message["slot"], _outcome_of(message))
        elif "error" in message:
            _log.error("a trainer met an unexpected error:\n%s", message["traceback"])
            if not trainer.claims:
                said = f"a trainer cannot work: {message['error']}"
                raise TrainersError(_complaint(said, message["traceback"]), summary=said)
            self.health.broke(message["error"], message["traceback"], known=_known(trainer))
            return trainer.break_off(message["error"])
        else:
            self._patience.reported = True
            trainer.note(message["replicate"], message["epoch"], message["loss"])
        return []

    def _replace(self, trainer: Trainer, ending: str, reason: str | None = None) -> list[Settled]:
        """A trainer has died or hangs: its trials have broken off, and another takes its place."""
        errors = trainer.child.errors()
        if not trainer.claims:
            self._idle_deaths += 1
            if self._idle_deaths >= MAX_IDLE_DEATHS:
                when = "without a trial to train" if trainer.ready else "while they start"
                said = f"trainers die {when} ({ending})"
                # Who has never had a trial to break off may have died of the study's data.
                kind = TrainersError if trainer.ready and not self.health.in_a_row else SickHostError
                raise kind(_complaint(said, errors), summary=f"{said} {_last_line(errors)}".strip())
        _log.error("trainer %d ended unexpectedly (%s)\n%s", trainer.number, ending, errors)
        reason = reason or f"trainer died: {ending}"
        if trainer.claims:
            self.health.broke(reason, errors, known=_known(trainer))
        claims = dict(trainer.claims)
        ended = trainer.break_off(reason)
        try:
            trainer.restart()
        except ResourceError:
            trainer.claims = claims  # for whoever closes the session to give back
            raise
        return ended


@dataclass
class SilenceLimits:
    """How long a trainer may say nothing of its trials, from the first one's limit, what has been heard, and the
    longest trial of the study so far, all in seconds. Trainers of one's own may never tell how far they are."""

    seconds: float
    longest: float = 0.0
    reported: bool = False

    @property
    def warning(self) -> float:
        """So long before it is said."""
        return max(self.seconds / (30 if self.longest else 6), 3 * self.longest)

    def limit(self, reports: bool) -> float:
        """So long before a trainer is taken to hang that tells how far it is, or has never done so."""
        least = self.seconds / 3 if self.longest else self.seconds
        return max(least if reports else SILENT_TIMES * self.seconds, 10 * self.longest)


def _known(trainer: Trainer) -> bool:
    """Whether attempts at one of the trainer's slots had ended without a result before."""
    return any(claim.attempt > 1 for claim in trainer.claims.values())


def _last_line(errors: str) -> str:
    return errors.strip().rpartition("\n")[2].strip()


def _complaint(said: str, errors: str) -> str:
    """What is wrong with trainers here, and what to do."""
    return "\n".join(
        [
            f"trainers must work on {socket.gethostname()}, and they do not: {said}",
            *(f"  {line}" for line in errors.splitlines()[-COMPLAINT_LINES:]),
            f"mend that and do the same again; what broke off waits for this, or for other workers, and "
            f"{do('retry')} gives new attempts to what has failed for good",
        ]
    )


def _outcome_of(message: Mapping[str, Any]) -> Outcome:
    """The outcome that a trainer tells; failed where it cannot be stored, as of a loss that is not finite."""
    try:
        outcome = Outcome.from_json(message["outcome"])
        check_outcome(outcome)
    except (ValueError, TypeError, KeyError) as error:
        return Outcome(state=TrialState.FAILED, reason=f"an outcome that cannot be used: {error}")
    return outcome
