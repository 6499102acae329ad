"""A worker's work on one study: claims slots, hands trials to trainers, learns from what comes back."""

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo_storage import slots, studies
from hpo_storage.failpoints import failpoint
from hpo_storage.records import StudyHeader, TrialState

from hpo.errors import StorageAwayError
from hpo.search.history import History
from hpo.search.samplers import Proposer
from hpo.study.study import ResolvedStudy
from hpo.worker.membership import Worker
from hpo.worker.orders import order_of
from hpo.worker.outbox import Outbox, Result, Return, Told
from hpo.worker.pool import Ended, Trainer, TrainerPool
from hpo.worker.progress import Snapshot, line_of, snapshot_of

LOOK_SECONDS = 1.0
"""How often a session asks how far the study is, with all its workers."""

_log = logging.getLogger("hpo")


class Session:
    """Keeps trainers busy with a study's open slots, `population` at once each, and at most `most_trials` in all.

    A session that `stays` is over when the study is; another one as soon as nothing is left to claim.
    """

    def __init__(
        self,
        worker: Worker,
        study: ResolvedStudy,
        header: StudyHeader,
        folder: Path,
        trainers: TrainerPool,
        *,
        started: float,
        population: int = 1,
        most_trials: int | None = None,
        stays: bool = True,
    ) -> None:
        self._worker, self._study, self._header, self._trainers = worker, study, header, trainers
        self._started, self._population, self._most_trials, self._stays = started, population, most_trials, stays
        self._distributions = study.space.distributions()
        self._proposer = Proposer(study.spec.search.sampler, study.spec.search.seed, study.space)
        self._history = History(worker.database, header.id, study.spec)
        self._outbox = Outbox(worker)
        self._broken_off: set[int] = set()
        self._winding_down, self._drains, self._trains = False, False, False
        self.finished = 0
        self._look()
        self._before = self._progress.finished
        for trainer in trainers:
            trainer.open(folder)

    def work(self) -> None:
        """Return when the session is over, or the user has asked to stop and what runs has had its time.

        Trials that still run then are given back, which does not count as a failed attempt.
        """
        try:
            while self.step():
                pass
        finally:
            self.close()

    def step(self) -> bool:
        """Hear trainers, deal with the database, show how far it is; False when the session is over."""
        self._take(self._trainers.listen())
        self._drop_lost()
        outage = self._worker.outage
        if outage.may_try():
            try:
                self._deal()
            except StorageAwayError as error:
                outage.begin(error)
            else:
                outage.end()
        self._watch()
        self._worker.view.update(self._snapshot())
        return not self._is_over()

    def wind_down(self) -> None:
        """Claim nothing more; the session is over when the trials that run are told."""
        self._winding_down = True

    def close(self) -> None:
        """Give back what still runs; a result that cannot be told stays on disk."""
        for trainer in self._trainers:
            for ended in trainer.break_off(""):
                self._outbox.add(Return(ended.claim))
        self._outbox.close()
        self._worker.heartbeat.watch(())

    @property
    def _is_busy(self) -> bool:
        return bool(self._outbox or self._trainers.claims)

    def _is_over(self) -> bool:
        stop = self._worker.stop
        if stop.count:
            if self._is_busy and not self._drains:
                self._drains = True
                limit = f"for at most {self._worker.drain_seconds:.0f} s"
                self._worker.view.message(f"finishing the trials that run, {limit}; press Ctrl-C again to stop at once")
            return not self._is_busy or stop.count > 1 or stop.waited > self._worker.drain_seconds
        if self._is_busy or self._worker.outage.is_on:
            return False
        progress = self._progress
        if self._winding_down or self._room() <= 0 or progress.limit_reached is not None:
            return True
        return not progress.open and not (self._stays and progress.claimed)

    def _deal(self) -> None:
        """All that needs the database: look, tell, claim."""
        if self._outbox or self._worker.outage.is_on or time.monotonic() >= self._look_at:
            self._look()
        while self._outbox:
            if told := self._outbox.tell():
                self._learn(told)
        if self._progress.limit_reached is not None:
            self._stop_trials()
        elif not (self._worker.stop.count or self._winding_down):
            for trainer in self._trainers:
                if trainer.ready and not trainer.claims and self._progress.open:
                    self._supply(trainer)

    def _look(self) -> None:
        """See how far the study is, and learn from what others have finished."""
        self._progress = studies.progress(self._worker.database, self._header.id)
        self._look_at = time.monotonic() + LOOK_SECONDS
        for trial in self._history.news():
            self._proposer.observe(trial.number, trial.params, trial)

    def _supply(self, trainer: Trainer) -> None:
        """Give an idle trainer the next open slots; one that has broken off before ends the batch."""
        orders: list[dict[str, Any]] = []
        try:
            for _ in range(self._room()):
                claim = self._claim(trainer)
                if claim is None:
                    break
                try:
                    orders.append(order_of(self._study, claim.slot, claim.params, self._history))
                except Exception as error:  # a user's function: its point fails, the study goes on
                    _log.exception("the search space could not build a network")
                    del trainer.claims[claim.slot]
                    reason = f"the search space failed: {type(error).__name__}: {error}"
                    self._take([Ended(claim, 0.0, None, reason)])
                if claim.slot in self._broken_off:
                    break
        finally:
            if orders:
                trainer.train(orders, self._progress.limits.trial_seconds or float("inf"))

    def _room(self) -> int:
        """How many trials may be claimed for one trainer."""
        if self._most_trials is None:
            return self._population
        return min(self._population, self._most_trials - self.finished - len(self._trainers.claims))

    def _claim(self, trainer: Trainer) -> slots.Claim | None:
        claim = slots.claim(
            self._worker.database,
            self._header.id,
            self._worker.id,
            lambda offer: self._proposer.propose(offer.slot, offer.pending),
            self._distributions,
            trainer=trainer.number,
            lease_seconds=self._worker.timing.lease,
        )
        if claim is None:
            self._progress = replace(self._progress, open=0)  # until the next look
            return None
        failpoint("after_claim")
        trainer.claims[claim.slot] = claim
        self._watch()
        self._progress = replace(self._progress, open=self._progress.open - 1, claimed=self._progress.claimed + 1)
        return claim

    def _watch(self) -> None:
        """Tell the heartbeat which trials are ours."""
        claims = [*self._trainers.claims, *self._outbox.claims]
        self._worker.heartbeat.watch(claim.trial_id for claim in claims)

    def _take(self, ended: Iterable[Ended]) -> None:
        """Trials have ended in the trainers: they are to be told."""
        for one in ended:
            if one.outcome is not None:
                self._outbox.add(Result(one.claim, one.outcome, one.seconds))
            else:
                self._broken_off.add(one.claim.slot)
                self._outbox.add(Return(one.claim, one.reason, counts=True))

    def _drop_lost(self) -> None:
        """Work no more on trials that were given to another worker."""
        for trainer in self._trainers:
            lost = [claim for claim in trainer.claims.values() if claim.trial_id in self._worker.heartbeat.lost]
            for claim in lost:
                del trainer.claims[claim.slot]
                self._worker.view.message(f"trial {claim.number} was given to another worker; it is stopped here")
            if lost and not trainer.claims:
                trainer.restart()

    def _stop_trials(self) -> None:
        """The study is over before its budget is used up: give back what runs."""
        for trainer in self._trainers:
            if ended := trainer.break_off(""):
                for one in ended:
                    self._outbox.add(Return(one.claim))
                trainer.restart()

    def _learn(self, told: Told) -> None:
        """The database has taken the end of a trial."""
        entry = told.entry
        if isinstance(entry, Return):
            if entry.counts:
                then = "trying again" if told.is_open else "given up"
                self._worker.view.message(f"trial {entry.claim.number} broke off ({entry.reason}); {then}")
            self._count(None if told.is_open else TrialState.FAILED)
            return
        claim, outcome = entry.claim, entry.outcome
        self._count(outcome.state)
        if self._history.add(claim.number, outcome):
            self._proposer.observe(claim.number, claim.params, outcome)
        is_best = self._history.best is outcome
        line = line_of(claim.number, claim.params, outcome, entry.seconds, is_best=is_best)
        self._worker.view.trial(line, self._snapshot())

    def _count(self, end: TrialState | None) -> None:
        """A claimed slot is open again (None), or has ended so, and is one of ours."""
        self.finished += end is not None
        self._progress = self._progress.after(end)

    def _snapshot(self) -> Snapshot:
        self._trains = self._trains or any(trainer.ready for trainer in self._trainers)
        phase = "training" if self._trains else "starting trainers"
        return snapshot_of(
            self._header,
            self._progress,
            self._history,
            phase="stopping" if self._drains else phase,
            seconds=time.monotonic() - self._started,
            finished_before=self._before,
            running=tuple(trainer.running for trainer in self._trainers if trainer.running),
        )
