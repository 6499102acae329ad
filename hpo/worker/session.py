"""One run of one study on this machine: claims slots, hands trials to trainers, records what comes back."""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.errors import LeaseLostError
from hpo.evaluation.job import Job
from hpo.report.losses import loss_of
from hpo.search.incumbent import Leaderboard
from hpo.search.samplers import Proposer
from hpo.study.study import ResolvedStudy
from hpo.worker.machine import trainer_environment
from hpo.worker.process import Child, wait_for_output
from hpo.worker.progress import ProgressView, Running, Snapshot, TrialLine
from hpo.worker.signals import StopRequest
from storage import slots, workers
from storage.database import Database
from storage.records import INTERRUPTED_REASON, Outcome, StudyRecord, TrialRecord

TICK_SECONDS = 0.25
BEAT_SECONDS = 10.0
DRAIN_SECONDS = 30.0
MAX_IDLE_DEATHS = 3
"""Trainers may die this often, while they start or wait, before one has brought a result."""

_log = logging.getLogger("hpo")


class Trainer:
    """A trainer child, replaced when it dies, and the trials it works on, by slot."""

    def __init__(self, number: int, backend: str) -> None:
        self.number, self._backend = number, backend
        self.start()

    def start(self) -> None:
        """Start a child, which is not ready before it says so."""
        self.child = Child("hpo.worker.trainer", trainer_environment(self._backend))
        self.ready = False
        self.claims: dict[int, slots.Claim] = {}
        self.note(0, 0, None)

    def train(self, jobs: Sequence[Job]) -> None:
        """Send the child the trials it has claimed."""
        self.started_at = time.monotonic()
        self.note(0, 0, None)
        self.child.send({"train": [job.to_json() for job in jobs]})

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

    def take_claims(self) -> list[slots.Claim]:
        """The trials it worked on; it now works on none."""
        claims, self.claims = list(self.claims.values()), {}
        return claims

    def kill(self) -> None:
        """Stop the child at once."""
        self.child.kill()


class Session:
    """Keeps trainers busy with a study's open slots, so many at once; `record` is the study as it is at the start."""

    def __init__(
        self,
        *,
        database: Database,
        study: ResolvedStudy,
        record: StudyRecord,
        worker_id: str,
        folder: Path,
        trainers: Sequence[Trainer],
        view: ProgressView,
        stop: StopRequest,
        started: float,
        population: int = 1,
    ) -> None:
        self._database, self._study, self._record, self._worker_id = database, study, record, worker_id
        self._folder, self._trainers, self._view, self._stop = folder, trainers, view, stop
        self._started, self._phase, self._population = started, "starting trainers", population
        self._distributions = study.space.distributions()
        self._proposer = Proposer(study.spec.search.sampler, study.spec.search.seed, study.space)
        self._leaderboard = Leaderboard()
        self._best: Outcome | TrialRecord | None = None
        self._best_trial: int | None = None
        self._counts: Counter[str] = Counter()
        self._finished_here = 0
        self._idle_deaths = 0
        self._broken_off: set[int] = set()
        for trial in record.trials:
            if trial.state in ("complete", "pruned"):
                self._take_in(trial.number, trial.params, trial)
        self._counts["failed"] = record.finished - self._counts.total()
        for trainer in trainers:
            trainer.child.send({"open": str(folder)})

    def work(self) -> None:
        """Return when no slot is open and no trial runs, or the user has asked to stop.

        Trials that still run then are given back, which does not count as a failed attempt.
        """
        beaten = time.monotonic()
        try:
            while not self._is_over():
                if not self._stop.count:
                    self._hand_out()
                self._listen()
                self._view.update(self._snapshot())
                if time.monotonic() - beaten > BEAT_SECONDS:
                    workers.beat(self._database, self._worker_id)
                    beaten = time.monotonic()
        finally:
            for claim in [claim for trainer in self._trainers for claim in trainer.take_claims()]:
                with contextlib.suppress(LeaseLostError):
                    slots.release(self._database, claim, INTERRUPTED_REASON, counts=False)

    def _is_over(self) -> bool:
        busy = any(trainer.claims for trainer in self._trainers)
        if self._stop.count and busy and self._phase != "stopping":
            self._phase = "stopping"
            limit = f"for at most {DRAIN_SECONDS:.0f} s"
            self._view.message(f"finishing the trials that run, {limit}; press Ctrl-C again to stop at once")
        if self._stop.count:
            return not busy or self._stop.count > 1 or self._stop.waited > DRAIN_SECONDS
        return not busy and not slots.open_slots(self._database, self._record.id)

    def _hand_out(self) -> None:
        """Give every idle trainer the next open slots."""
        for trainer in self._trainers:
            if trainer.ready and not trainer.claims and (jobs := self._claim(trainer)):
                trainer.train(jobs)

    def _claim(self, trainer: Trainer) -> list[Job]:
        """The trainer's next trials; one that has broken off before is the last, or else it might end others again."""
        jobs: list[Job] = []
        for _ in range(self._population):
            claim = slots.claim(
                self._database,
                self._record.id,
                self._worker_id,
                lambda offer: self._proposer.propose(offer.slot, offer.pending),
                self._distributions,
                trainer=trainer.number,
            )
            if claim is None:
                break
            trainer.claims[claim.slot] = claim
            try:
                jobs.append(self._job(claim))
            except Exception as error:  # a user's function: its point fails, the study goes on
                _log.exception("the search space could not build a network")
                del trainer.claims[claim.slot]
                self._give_back([claim], f"the search space failed: {type(error).__name__}: {error}")
            if claim.slot in self._broken_off:
                break
        return jobs

    def _job(self, claim: slots.Claim) -> Job:
        search = self._study.spec.search
        return Job(
            slot=claim.slot,
            seed=search.seed,
            architecture=self._study.space.architecture(claim.params),
            evaluation=self._study.spec.evaluation,
            incumbent=self._leaderboard.incumbent(),
            racing=search.racing,
            pruning=search.pruning,
        )

    def _listen(self) -> None:
        wait_for_output([trainer.child for trainer in self._trainers], TICK_SECONDS)
        for trainer in self._trainers:
            for message in trainer.child.messages():
                self._hear(trainer, message)
            if trainer.child.closed:
                self._replace(trainer)

    def _hear(self, trainer: Trainer, message: dict[str, Any]) -> None:
        if "ready" in message:
            trainer.ready, self._phase = True, "training"
        elif "outcome" in message:
            self._finish(trainer, message["slot"], Outcome.from_json(message["outcome"]))
        elif "error" in message:
            _log.error("a trainer met an unexpected error:\n%s", message["traceback"])
            if not trainer.claims:
                raise RuntimeError(f"a trainer cannot work: {message['error']}")
            self._give_back(trainer.take_claims(), message["error"])
        else:
            trainer.note(message["replicate"], message["epoch"], message["loss"])

    def _finish(self, trainer: Trainer, slot: int, outcome: Outcome) -> None:
        """Record a result, then learn from it."""
        seconds = time.monotonic() - trainer.started_at
        claim = trainer.claims.pop(slot)
        self._idle_deaths = 0
        try:
            slots.finish(self._database, claim, outcome)
        except LeaseLostError:
            self._view.message(f"trial {claim.number} was given to another worker; its result is not used")
            return
        self._take_in(claim.number, claim.params, outcome)
        self._finished_here += 1
        self._view.trial(_line(claim, outcome, self._best is outcome, seconds), self._snapshot())

    def _take_in(self, number: int, params: dict[str, Any], result: Outcome | TrialRecord) -> None:
        self._counts["raced_out" if result.raced_out else result.state] += 1
        self._leaderboard.add(number, result)
        self._proposer.observe(number, params, result)
        best = self._leaderboard.best
        if best is not None and best.number == number:
            self._best, self._best_trial = result, number

    def _give_back(self, claims: Sequence[slots.Claim], reason: str) -> None:
        """These attempts have failed; each slot is open again, unless it has failed too often."""
        for claim in claims:
            self._broken_off.add(claim.slot)
            try:
                again = slots.release(self._database, claim, reason)
            except LeaseLostError:
                self._view.message(f"trial {claim.number} was given to another worker")
                continue
            self._view.message(f"trial {claim.number} broke off ({reason}); {'trying again' if again else 'given up'}")
            if not again:
                self._counts["failed"] += 1
                self._finished_here += 1

    def _replace(self, trainer: Trainer) -> None:
        """A trainer has died: give its trials back and start another."""
        ending, errors = trainer.child.ending(), trainer.child.errors()
        if not trainer.claims:
            self._idle_deaths += 1
            if self._idle_deaths >= MAX_IDLE_DEATHS:
                when = "without a trial to train" if trainer.ready else "while they start"
                raise RuntimeError(f"trainers die {when} ({ending}):\n{errors}")
        _log.error("trainer %d ended unexpectedly (%s)\n%s", trainer.number, ending, errors)
        self._give_back(trainer.take_claims(), f"trainer died: {ending}")
        trainer.kill()
        trainer.start()
        trainer.child.send({"open": str(self._folder)})

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            study=self._study.spec.name,
            phase=self._phase,
            budget=self._record.budget,
            complete=self._counts["complete"],
            raced_out=self._counts["raced_out"],
            pruned=self._counts["pruned"],
            failed=self._counts["failed"],
            best_value=self._best.value if self._best else None,
            best_error=self._best.standard_error if self._best else None,
            best_trial=self._best_trial,
            prior_loss=self._record.facts.get("prior_loss"),
            loss_name=loss_of(self._record.facts).name,
            finished_here=self._finished_here,
            seconds=time.monotonic() - self._started,
            running=tuple(trainer.running for trainer in self._trainers if trainer.running),
        )


def _line(claim: slots.Claim, outcome: Outcome, is_best: bool, seconds: float) -> TrialLine:
    widths = "-".join(str(width) for width in outcome.info["widths"])
    return TrialLine(
        trial=claim.number,
        state="raced out" if outcome.raced_out else outcome.state,
        value=outcome.value,
        standard_error=outcome.standard_error,
        is_best=is_best,
        seconds=seconds,
        description=f"{widths} {claim.params.get('activation', '')}".strip(),
        reason=outcome.reason,
    )
