"""A worker's work on one study: keeps trainers busy with what the advisor offers, and tells what comes back."""

import json
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hpo_storage import workers
from hpo_storage.records import Outcome, StudyHeader
from hpo_storage.slots import Claim

from hpo.errors import InputError, StorageError, StudyNotFoundError, TrialError
from hpo.search.advisor import Advisor
from hpo.study.resolve import ResolvedStudy
from hpo.usercode import said
from hpo.worker.membership import Worker
from hpo.worker.pool import Trainer, TrainerPool
from hpo.worker.progress import Snapshot, line_of, snapshot_of
from hpo.worker.results import Outbox, Settled, Told, study_is_gone

LOOK_SECONDS = 1.0
"""How often a session asks how far the study is, with all its workers."""

_log = logging.getLogger("hpo")


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """How much of a study a session takes.

    Attributes:
        population: trials that a trainer takes at once.
        most_trials: how many it may finish in all, None for no end.
        stays: whether it is over only when the study is, or as soon as nothing is left to claim.
    """

    population: int = 1
    most_trials: int | None = None
    stays: bool = True


class Session:
    """Works on a study whose data is prepared, until it is over; trainers live on."""

    def __init__(
        self,
        worker: Worker,
        study: ResolvedStudy,
        header: StudyHeader,
        trainers: TrainerPool,
        share: Share,
        started: float,
    ) -> None:
        self._worker, self._study, self._trainers, self._share = worker, study, trainers, share
        self._advisor = Advisor(
            worker.database,
            header.id,
            worker.id,
            study.space,
            study.spec.search,
            study.leaderboard(),
            lease_seconds=worker.timing.lease,
        )
        self._outbox = Outbox(self._advisor, worker.spool, worker.view)
        self._shown = _Shown(header, started, self._advisor.progress.finished)
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._winding_down = False
        self._noted: str | None = None
        self.finished = 0

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
        """Hear trainers, deal with the database, show how far it is; False when the session is over.

        Raises TrainersError where trainers cannot work here, once none has a trial any more.
        """
        self._take(self._trainers.listen())
        self._drop_lost()
        outage = self._worker.outage
        if outage.may_try():
            try:
                self._deal()
            except StudyNotFoundError:
                raise study_is_gone(self._shown.header.name) from None
            except StorageError as error:
                outage.begin(error)
            else:
                outage.end()
        self._watch()
        self._worker.view.update(self._snapshot())
        if self._is_over():
            return False
        if not (self._is_busy or self._worker.outage.is_on or self._worker.stop.count):
            self._trainers.health.check()
        return True

    def wind_down(self) -> None:
        """Claim nothing more; the session is over when the trials that run are told."""
        self._winding_down = True

    def close(self) -> None:
        """Give back what still runs; a result that cannot be told stays on disk."""
        self._take(self._trainers.take_ended())
        for trainer in self._trainers:
            self._take(trainer.interrupt())
        self._outbox.close()
        self._worker.heartbeat.watch(())

    @property
    def _is_busy(self) -> bool:
        return bool(self._outbox or self._trainers.claims)

    def _is_over(self) -> bool:
        stop, drain = self._worker.stop, self._worker.drain_seconds
        if stop.count:
            if self._is_busy and not self._shown.stopping:
                self._shown.stopping = True
                self._worker.view.message(
                    f"finishing the trials that run, for at most {drain:.0f} s; press Ctrl-C again to stop at once"
                )
            return not self._is_busy or stop.count > 1 or stop.waited > drain
        if self._is_busy or self._worker.outage.is_on:
            return False
        progress = self._advisor.progress
        if self._winding_down or self._room() <= 0 or progress.limit_reached is not None:
            return True
        return not progress.open and not (self._share.stays and progress.claimed)

    def _deal(self) -> None:
        """All that needs the database: look, tell, claim."""
        health = self._trainers.health
        if self._outbox or self._worker.outage.is_on or time.monotonic() >= self._look_at:
            self._advisor.look()
            self._look_at = time.monotonic() + LOOK_SECONDS
        while self._outbox:
            if told := self._outbox.tell():
                self._note(told)
        if health.words != self._noted:
            self._noted = health.words
            workers.note(self._worker.database, self._worker.id, self._noted)
        if self._advisor.progress.limit_reached is not None:
            self._stop_trials()
        elif not (self._worker.stop.count or self._winding_down):
            for trainer in self._trainers:
                if trainer.ready and not trainer.claims and self._advisor.may_offer and health.may_claim:
                    self._supply(trainer)

    def _supply(self, trainer: Trainer) -> None:
        """Give an idle trainer the next open slots."""
        orders: list[dict[str, Any]] = []
        try:
            for order in self._orders(trainer):
                orders.append(order)
        finally:  # what is claimed is trained, even if the database has gone away in between
            if orders:
                trainer.train(orders, self._advisor.progress.limits.trial_seconds or float("inf"))

    def _orders(self, trainer: Trainer) -> Iterator[dict[str, Any]]:
        """What the trainer is to do with slots claimed for it; one where attempts have failed is tried alone."""
        for _ in range(self._room()):
            claim = self._advisor.ask(trainer.number, untried=bool(trainer.claims))
            if claim is None:
                return
            trainer.claims[claim.slot] = claim
            self._watch()
            try:
                order = self._order(claim)
            except Exception as error:  # a user's function: its point fails, the study goes on
                _log.exception("trial %d could not be ordered", claim.number)
                del trainer.claims[claim.slot]
                known = isinstance(error, TrialError | InputError)
                reason = str(error) if known else f"the objective failed: {said(error)}"
                self._trainers.health.broke(reason, "", known=claim.attempt > 1)
                self._take([Settled(claim, reason=reason, counts=True)])
                return
            yield order

    def _order(self, claim: Claim) -> dict[str, Any]:
        study, rules = self._study, self._advisor.history.rules(claim.slot)
        order = study.objective.order(study.spec, study.space, claim.slot, claim.params, rules)
        if not isinstance(order, dict) or order.get("slot") != claim.slot:
            raise TypeError(f"order must return a dict with its slot, got {order!s:.200}")
        json.dumps(order)  # TypeError for what cannot be sent
        return order

    def _room(self) -> int:
        """How many trials may be claimed for one trainer."""
        share = self._share
        if share.most_trials is None:
            return share.population
        return min(share.population, share.most_trials - self.finished - len(self._trainers.claims))

    def _watch(self) -> None:
        """Tell the heartbeat which trials are ours."""
        claims = [*self._trainers.claims, *self._outbox.claims]
        self._worker.heartbeat.watch(claim.trial_id for claim in claims)

    def _take(self, settled: Iterable[Settled]) -> None:
        """Trials have ended in the trainers: they are to be told."""
        for one in settled:
            self._outbox.add(one)

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
            if stopped := trainer.interrupt():
                self._take(stopped)
                trainer.restart()

    def _note(self, told: Told) -> None:
        """The database has taken the end of a trial: count and show it."""
        entry = told.settled
        self.finished += not told.is_open
        if entry.outcome is not None:
            self._show_trial(entry.claim, entry.outcome, entry.seconds, told.is_best)
        elif entry.counts:
            then = "trying again" if told.is_open else "given up"
            self._worker.view.message(f"trial {entry.claim.number} broke off ({entry.reason}); {then}")

    def _show_trial(self, claim: Claim, outcome: Outcome, seconds: float, is_best: bool) -> None:
        line = line_of(claim.number, claim.params, outcome, seconds, is_best=is_best)
        self._worker.view.trial(line, self._snapshot())

    def _snapshot(self) -> Snapshot:
        shown = self._shown
        shown.training = shown.training or any(trainer.ready for trainer in self._trainers)
        return snapshot_of(
            shown.header,
            self._advisor.progress,
            self._advisor.history,
            phase=shown.phase,
            seconds=time.monotonic() - shown.started,
            finished_before=shown.finished_before,
            running=tuple(trainer.running for trainer in self._trainers if trainer.running),
        )


@dataclass
class _Shown:
    """What a view is told of a session, beside how far the study is."""

    header: StudyHeader
    started: float
    finished_before: int
    training: bool = False
    stopping: bool = False

    @property
    def phase(self) -> str:
        """What the session does now."""
        if self.stopping:
            return "stopping"
        return "training" if self.training else "starting trainers"
