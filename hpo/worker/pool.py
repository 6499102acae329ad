"""The supervisor's trainers: children that train, replaced when they die, and the trials they work on."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo_storage.records import Outcome, TrialState
from hpo_storage.slots import Claim, check_outcome

from hpo.words import duration_text
from hpo.worker.child import Child, wait_for_output
from hpo.worker.progress import Running
from hpo.worker.results import Settled

TICK_SECONDS = 0.25
START_SECONDS = 300.0
"""A trainer that is not ready by then hangs."""
MAX_IDLE_DEATHS = 3
"""Trainers may die this often, while they start or wait, before one has brought a result."""

_log = logging.getLogger("hpo")


class TrainersError(RuntimeError):
    """Trainers cannot work on this machine, whatever the study."""


class Trainer:
    """A trainer child and the trials it works on, by slot."""

    def __init__(self, number: int, module: str, environment: Mapping[str, str]) -> None:
        self.number, self.module, self._environment = number, module, environment
        self._data: dict[str, Any] | None = None
        self._start()

    def _start(self) -> None:
        """Start a child, which is not ready before it says so."""
        self.child = Child(self.module, self._environment)
        self.ready, self._born = False, time.monotonic()
        self.claims: dict[int, Claim] = {}
        self._started, self._seconds_each, self._deadline = time.monotonic(), float("inf"), float("inf")
        self.note(0, 0, None)

    def open(self, folder: Path, replicates: int | None = None) -> None:
        """Name the folder with the prepared data of the study that it works on from now on; by default all of it."""
        self._data = {"open": str(folder), **({} if replicates is None else {"replicates": replicates})}
        self.child.send(self._data)

    @property
    def is_late(self) -> bool:
        """Whether the child has had all the time that it may need to get ready."""
        return not self.ready and time.monotonic() - self._born > START_SECONDS

    def train(self, orders: Sequence[Mapping[str, Any]], seconds_each: float) -> None:
        """Send the child the trials it has claimed; together they may take so many seconds for each of them."""
        self._started, self._seconds_each = time.monotonic(), seconds_each
        self._deadline = self._started + seconds_each * len(orders)
        self.note(0, 0, None)
        self.child.send({"train": list(orders)})

    def note(self, replicate: int, epoch: int, loss: float | None) -> None:
        """Remember how far the trials are."""
        self._noted = Running(trainer=self.number, trial=0, replicate=replicate, epoch=epoch, stop_loss=loss)

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
        return [Settled(claim, outcome, seconds=time.monotonic() - self._started)] if claim else []

    def break_off(self, reason: str) -> list[Settled]:
        """All its trials, which end without an outcome, as failed attempts."""
        seconds = time.monotonic() - self._started
        return [Settled(claim, reason=reason, counts=True, seconds=seconds) for claim in self._let_go()]

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
        self._idle_deaths = 0

    def __iter__(self) -> Iterator[Trainer]:
        return iter(self._trainers)

    def grow(self, module: str, count: int) -> None:
        """See that there are so many of the module; those of another one end."""
        if any(trainer.module != module for trainer in self._trainers):
            self.close()
        for number in range(len(self._trainers), count):
            self._trainers.append(Trainer(number, module, self._environment))

    def open(self, folder: Path) -> None:
        """Name the folder of the study that all of them work on from now on."""
        for trainer in self._trainers:
            trainer.open(folder)

    @property
    def claims(self) -> list[Claim]:
        """The trials that trainers work on now."""
        return [claim for trainer in self._trainers for claim in trainer.claims.values()]

    def listen(self) -> list[Settled]:
        """Wait a moment for news and return the trials that ended; trainers that died, do not get ready, or are
        overdue are replaced.

        Raises RuntimeError where trainers cannot work on the study, TrainersError where they can on none.
        """
        wait_for_output([trainer.child for trainer in self._trainers], TICK_SECONDS)
        ended: list[Settled] = []
        for trainer in self._trainers:
            for message in trainer.child.messages():
                ended += self._hear(trainer, message)
            if trainer.child.closed:
                ended += self._replace(trainer, trainer.child.ending())
            elif trainer.is_late:
                ended += self._replace(trainer, f"not ready after {START_SECONDS:.0f} s")
            ended += trainer.end_overdue()
        return ended

    def close(self) -> None:
        """Stop all of them at once."""
        for trainer in self._trainers:
            trainer.kill()
        self._trainers, self._idle_deaths = [], 0

    def _hear(self, trainer: Trainer, message: dict[str, Any]) -> list[Settled]:
        if "ready" in message:
            trainer.ready = True
        elif "outcome" in message:
            self._idle_deaths = 0
            return trainer.end(message["slot"], _outcome_of(message))
        elif "error" in message:
            _log.error("a trainer met an unexpected error:\n%s", message["traceback"])
            if not trainer.claims:
                raise RuntimeError(f"a trainer cannot work: {message['error']}")
            return trainer.break_off(message["error"])
        else:
            trainer.note(message["replicate"], message["epoch"], message["loss"])
        return []

    def _replace(self, trainer: Trainer, ending: str) -> list[Settled]:
        """A trainer has died or hangs: its trials have broken off, and another takes its place."""
        errors = trainer.child.errors()
        if not trainer.claims:
            self._idle_deaths += 1
            if self._idle_deaths >= MAX_IDLE_DEATHS:
                if trainer.ready:
                    raise RuntimeError(f"trainers die without a trial to train ({ending}):\n{errors}")
                raise TrainersError(f"trainers die while they start ({ending}):\n{errors}")
        _log.error("trainer %d ended unexpectedly (%s)\n%s", trainer.number, ending, errors)
        ended = trainer.break_off(f"trainer died: {ending}")
        trainer.restart()
        return ended


def _outcome_of(message: Mapping[str, Any]) -> Outcome:
    """The outcome that a trainer tells; failed where it cannot be stored, as of a loss that is not finite."""
    try:
        outcome = Outcome.from_json(message["outcome"])
        check_outcome(outcome)
    except (ValueError, TypeError, KeyError) as error:
        return Outcome(state=TrialState.FAILED, reason=f"an outcome that cannot be used: {error}")
    return outcome
