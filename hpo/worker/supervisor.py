"""The supervisor: claims slots, proposes points, hands them to trainers and records what comes back.

It never imports Keras or pandas; children do that. One per machine.
"""

import contextlib
import logging
import os
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hpo.errors
from hpo.data.fingerprint import file_sha256
from hpo.errors import DataError, LeaseLostError, StudyError
from hpo.evaluation.job import Job
from hpo.search.incumbent import Leaderboard
from hpo.search.samplers import Proposer
from hpo.study.spec import StudySpec
from hpo.study.study import DEFAULT_TRIALS, ResolvedStudy, StudyOptions, resolve
from hpo.worker.machine import environment, usable_cores
from hpo.worker.process import Child, wait_for_output
from hpo.worker.progress import ProgressView, Running, SilentView, Snapshot, TrialLine
from hpo.worker.signals import StopRequest, stop_on_signals
from storage import slots, studies, workers
from storage.database import Database, connect, upgrade
from storage.records import Outcome, StudyHeader, StudyRecord, TrialRecord

TICK_SECONDS = 0.25
BEAT_SECONDS = 10.0
DRAIN_SECONDS = 30.0
MAX_START_FAILURES = 3

_log = logging.getLogger("hpo")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What `run` leaves behind."""

    record: StudyRecord
    already_finished: bool
    interrupted: bool


def run(
    options: StudyOptions,
    *,
    url: str,
    trials: int | None = None,
    trainers: int | None = None,
    view: ProgressView | None = None,
    frame_path: Path | None = None,
) -> RunResult:
    """Create or resume a study and work on it until its budget is used up.

    `frame_path` is a Parquet file that stands for a data frame handed over in Python. The first SIGINT or SIGTERM
    lets running trials finish, the second stops at once. Raises InputError for anything unusable.
    """
    _check_counts(trials, trainers)
    view = view or SilentView()
    database = connect(url)
    try:
        upgrade(database)
        frame_sha256 = file_sha256(frame_path) if frame_path else None
        header = studies.find_study(database, options.name)
        stored = StudySpec.model_validate(header.spec) if header else None
        study = resolve(options, stored, frame_sha256=frame_sha256)
        if header is not None:
            budget = _extend(database, header, trials)
            record = studies.read_study(database, options.name)
            if record.finished == budget:
                return RunResult(record=record, already_finished=True, interrupted=False)
            if study.spec.data.kind == "frame" and frame_path is None:
                raise StudyError(
                    f"study {options.name!r} was made from a data frame, which is not stored; "
                    f"resume it with hpo.tune(frame, ...)"
                )
        else:
            budget = trials or DEFAULT_TRIALS
        count = min(trainers or usable_cores(), budget)
        with tempfile.TemporaryDirectory(prefix="hpo-") as folder, stop_on_signals() as stop:
            session = _Session(database, study, Path(folder), view, stop)
            try:
                session.prepare(header.id if header else None, budget, count, frame_path)
                session.work()
            finally:
                session.close()
        record = studies.read_study(database, options.name)
        return RunResult(record=record, already_finished=False, interrupted=stop.count > 0)
    finally:
        view.close()
        database.close()


def _check_counts(trials: int | None, trainers: int | None) -> None:
    for name, value in (("trials", trials), ("trainers", trainers)):
        if value is not None and value < 1:
            raise StudyError(f"{name} must be at least 1, got {value}; use --{name} 1")


def _extend(database: Database, header: StudyHeader, trials: int | None) -> int:
    if trials is None or trials == header.budget:
        return header.budget
    if trials < header.budget:
        raise StudyError(
            f"a study's budget can only grow: {header.name!r} has {header.budget} trials, got {trials}; "
            f"use --trials {header.budget} or more"
        )
    studies.extend_study(database, header.id, trials)
    return trials


@dataclass
class _Trainer:
    """A trainer child and what it is doing."""

    number: int
    child: Child
    ready: bool = False
    claim: slots.Claim | None = None
    started: float = 0.0
    replicate: int = 0
    epoch: int = 0
    stop_loss: float | None = None


@dataclass
class _Counts:
    complete: int = 0
    raced_out: int = 0
    pruned: int = 0
    failed: int = 0

    def add(self, state: str, raced_out: bool) -> None:
        name = "raced_out" if raced_out else state
        setattr(self, name, getattr(self, name) + 1)


@dataclass
class _Session:
    """One run of one study on this machine."""

    database: Database
    study: ResolvedStudy
    folder: Path
    view: ProgressView
    stop: StopRequest
    phase: str = "preparing data"
    trainers: list[_Trainer] = field(default_factory=list)
    counts: _Counts = field(default_factory=_Counts)
    finished_here: int = 0
    start_failures: int = 0
    worker_id: str = ""

    def prepare(self, study_id: int | None, budget: int, count: int, frame_path: Path | None) -> None:
        """Start trainers and, beside them, prepare the data; create the study once its data is known to be good."""
        self.started = time.monotonic()
        self.budget = budget
        if study_id is not None:
            self._register(study_id)
        self.facts: dict[str, Any] = {}
        self.best: tuple[float, float | None, int] | None = None
        self._show()
        self.trainers = [_Trainer(number, Child("hpo.worker.trainer")) for number in range(count)]
        facts = self._prepare_data(frame_path)
        if study_id is None:
            spec = self.study.spec.model_dump(mode="json")
            study_id = studies.create_study(self.database, self.study.spec.name, spec, facts, environment(), budget)
            self._register(study_id)
        self.facts, self.study_id = facts, study_id
        self.distributions = self.study.space.distributions()
        search = self.study.spec.search
        self.proposer = Proposer(search.sampler, search.seed, self.study.space)
        self.leaderboard = Leaderboard()
        self._recall()
        for trainer in self.trainers:
            trainer.child.send({"open": str(self.folder)})

    def work(self) -> None:
        """Keep every trainer busy until no slot is open or the user asks to stop."""
        self.phase = "starting trainers"
        last_beat = time.monotonic()
        while True:
            if self.stop.count == 0:
                self._hand_out()
            busy = [trainer for trainer in self.trainers if trainer.claim]
            if not busy and (self.stop.count or not slots.open_slots(self.database, self.study_id)):
                return
            if self._must_abandon():
                return
            self._listen(TICK_SECONDS)
            self._show()
            if time.monotonic() - last_beat > BEAT_SECONDS and self.worker_id:
                workers.beat(self.database, self.worker_id)
                last_beat = time.monotonic()

    def close(self) -> None:
        """Stop the children; trials that still run are given back and do not count as failed attempts."""
        for trainer in self.trainers:
            trainer.child.kill()
            if trainer.claim:
                with contextlib.suppress(LeaseLostError):
                    slots.release(self.database, trainer.claim, workers.INTERRUPTED, counts=False)
        if self.worker_id:
            workers.stop_worker(self.database, self.worker_id)

    def _register(self, study_id: int) -> None:
        self.worker_id = workers.start_worker(self.database, study_id, host=socket.gethostname(), pid=os.getpid())
        workers.requeue_orphans(self.database, study_id)

    def _prepare_data(self, frame_path: Path | None) -> dict[str, Any]:
        spec = self.study.spec
        request = {
            "data": spec.data.model_dump(mode="json"),
            "evaluation": spec.evaluation.model_dump(mode="json"),
            "seed": spec.search.seed,
            "folder": str(self.folder),
            "frame_path": str(frame_path) if frame_path else None,
        }
        child = Child("hpo.data.prepare")
        try:
            child.send(request)
            child.finish_input()
            answers: list[dict[str, Any]] = []
            while not child.closed:
                wait_for_output([child], TICK_SECONDS)
                answers += child.messages()
                self._show()
                if self.stop.count:
                    raise KeyboardInterrupt
            if not answers:
                raise RuntimeError(f"preparing the data failed ({child.ending()}):\n{child.errors()}")
        finally:
            child.kill()
        if not answers[-1]["ok"]:
            raise getattr(hpo.errors, answers[-1]["kind"], DataError)(answers[-1]["message"])
        facts: dict[str, Any] = answers[-1]["facts"]
        return facts

    def _recall(self) -> None:
        """Take in the trials of earlier runs."""
        record = studies.read_study(self.database, self.study.spec.name)
        for trial in record.trials:
            if trial.state in ("complete", "pruned"):
                self._take_in(trial.number, trial.params, trial)
        self.counts.failed = record.finished - self.counts.complete - self.counts.raced_out - self.counts.pruned

    def _take_in(self, number: int, params: dict[str, Any], result: Outcome | TrialRecord) -> None:
        self.counts.add(result.state, result.raced_out)
        self.leaderboard.add(number, result)
        self.proposer.observe(number, params, result)
        if result.state != "complete" or result.raced_out or result.value is None:
            return
        if self.best is None or result.value < self.best[0]:
            self.best = (result.value, result.standard_error, number)

    def _hand_out(self) -> None:
        for trainer in self.trainers:
            if not trainer.ready or trainer.claim:
                continue
            claim = slots.claim(
                self.database,
                self.study_id,
                self.worker_id,
                self._propose,
                self.distributions,
                trainer=trainer.number,
            )
            if claim is None:
                return
            job = Job(
                slot=claim.slot,
                seed=self.study.spec.search.seed,
                architecture=self.study.space.architecture(claim.params),
                evaluation=self.study.spec.evaluation,
                incumbent=self.leaderboard.incumbent(),
                racing=self.study.spec.search.racing,
                pruning=self.study.spec.search.pruning,
            )
            trainer.claim, trainer.started = claim, time.monotonic()
            trainer.replicate, trainer.epoch, trainer.stop_loss = 0, 0, None
            trainer.child.send({"train": job.to_json()})

    def _propose(self, offer: slots.SlotOffer) -> dict[str, Any]:
        return self.proposer.propose(offer.slot, offer.pending)

    def _listen(self, seconds: float) -> None:
        wait_for_output([trainer.child for trainer in self.trainers], seconds)
        for trainer in self.trainers:
            for message in trainer.child.messages():
                self._hear(trainer, message)
            if trainer.child.closed:
                self._bury(trainer)

    def _hear(self, trainer: _Trainer, message: dict[str, Any]) -> None:
        if "ready" in message:
            trainer.ready = True
            if self.phase == "starting trainers":
                self.phase = "training"
        elif "outcome" in message:
            self._finish(trainer, Outcome.from_json(message["outcome"]))
        elif "error" in message:
            _log.error("a trainer met an unexpected error:\n%s", message["traceback"])
            if trainer.claim is None:
                raise RuntimeError(f"a trainer cannot work: {message['error']}")
            self._give_back(trainer, message["error"])
        else:
            trainer.replicate, trainer.epoch = message["replicate"], message["epoch"]
            trainer.stop_loss = message["loss"]

    def _finish(self, trainer: _Trainer, outcome: Outcome) -> None:
        claim = trainer.claim
        assert claim is not None
        trainer.claim = None
        seconds = time.monotonic() - trainer.started
        try:
            slots.finish(self.database, claim, outcome)
        except LeaseLostError:
            self.view.message(f"trial {claim.number} was given to another worker; its result is not used")
            return
        before = self.best
        self._take_in(claim.number, claim.params, outcome)
        self.finished_here += 1
        self.view.trial(_line(claim, outcome, self.best is not before, seconds), self._snapshot())

    def _give_back(self, trainer: _Trainer, reason: str) -> None:
        claim, trainer.claim = trainer.claim, None
        if claim is None:
            return
        again = slots.release(self.database, claim, reason)
        self.view.message(f"trial {claim.number} broke off ({reason}); {'trying again' if again else 'given up'}")
        if not again:
            self.counts.add("failed", False)
            self.finished_here += 1

    def _bury(self, trainer: _Trainer) -> None:
        """A trainer has died: give its trial back and start another."""
        ending, errors = trainer.child.ending(), trainer.child.errors()
        if not trainer.ready:
            self.start_failures += 1
            if self.start_failures >= MAX_START_FAILURES:
                raise RuntimeError(f"trainers do not start ({ending}):\n{errors}")
        _log.error("trainer %d ended unexpectedly (%s)\n%s", trainer.number, ending, errors)
        self._give_back(trainer, f"trainer died: {ending}")
        trainer.child.kill()
        trainer.child, trainer.ready = Child("hpo.worker.trainer"), False
        trainer.child.send({"open": str(self.folder)})

    def _must_abandon(self) -> bool:
        if self.stop.count == 1 and not self.stop.told:
            self.stop.told = True
            self.phase = "stopping"
            self.view.message("finishing the trials that run; press Ctrl-C again to stop at once")
        return self.stop.count > 1 or (self.stop.count == 1 and self.stop.waited > DRAIN_SECONDS)

    def _show(self) -> None:
        self.view.update(self._snapshot())

    def _snapshot(self) -> Snapshot:
        value, error, number = self.best or (None, None, None)
        return Snapshot(
            study=self.study.spec.name,
            phase=self.phase,
            budget=self.budget,
            complete=self.counts.complete,
            raced_out=self.counts.raced_out,
            pruned=self.counts.pruned,
            failed=self.counts.failed,
            best_value=value,
            best_error=error,
            best_trial=number,
            prior_loss=self.facts.get("prior_loss"),
            finished_here=self.finished_here,
            seconds=time.monotonic() - self.started,
            running=tuple(
                Running(
                    trainer=trainer.number,
                    trial=trainer.claim.number,
                    replicate=trainer.replicate,
                    epoch=trainer.epoch,
                    stop_loss=trainer.stop_loss,
                )
                for trainer in self.trainers
                if trainer.claim
            ),
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
