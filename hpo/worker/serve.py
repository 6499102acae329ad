"""`hpo worker`: serves the studies of a database, one at a time, for as long as it is wanted."""

import contextlib
import logging
import random
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from hpo_storage import studies, workers
from hpo_storage.database import connect
from hpo_storage.records import OpenStudy, StudyHeader

from hpo.errors import (
    InputError,
    ResourceError,
    SickHostError,
    StorageAwayError,
    StorageError,
    StorageLostError,
    StudyNotFoundError,
    marked,
)
from hpo.machine import Resources, choose_resources
from hpo.processes import unusable, working_folder
from hpo.settings import Terms, Training
from hpo.study.resolve import ResolvedStudy, forget, reopen, trainer_of
from hpo.study.spec import StudySpec
from hpo.usercode import RequestedInterrupt
from hpo.worker.membership import Worker, joined, patient
from hpo.worker.pool import TrainerPool
from hpo.worker.preparation import OnWait, prepare_study
from hpo.worker.progress import ProgressView, preparing
from hpo.worker.results import study_is_gone
from hpo.worker.session import Session, Share
from hpo.worker.signals import StopRequest

POLL_SECONDS = 2.0
FIRST_PAUSE, SLOW_PAUSE, LONGEST_PAUSE = 1 / 30, 1 / 2, 5
"""Leases before a study is tried again that cannot be worked on: where the cause may pass by itself, where somebody
must mend it on this machine, and at most."""
ONCE_TRIES = 5
"""A worker that serves once tries a study so often where the cause may pass by itself."""
HERE = frozenset({"space", "objective", "data"})
"""Settings that name what must be on this machine, and may be lacking only here."""
SHARE_SECONDS = 60.0
"""How often a worker looks whether another study needs it more."""

_log = logging.getLogger("hpo")


@dataclass(frozen=True, slots=True)
class Served:
    """What a worker has done: trials finished, and the studies by name that it has left undone."""

    finished: int
    left: tuple[str, ...] = ()


def serve(
    terms: Terms,
    training: Training,
    *,
    url: str,
    view: ProgressView,
    stop: StopRequest,
    study: str | None = None,
) -> Served:
    """Work on open studies, or the one named, until told to stop, and return what was done.

    With `once` it ends when all studies are finished. The first request to stop lets running trials finish,
    the second gives them back at once. Raises InputError for anything unusable.
    """
    resources = choose_resources(training)
    with ExitStack() as stack:
        stack.callback(view.close)
        try:
            database = connect(url, create=False, patience=patient(view, stop))
            stack.callback(database.close)
            worker = stack.enter_context(
                joined(database, url, resources, view, stop, drain_seconds=terms.drain_seconds)
            )
        except StorageAwayError:
            if stop.count:
                return Served(0)
            raise
        return StudyServer(study, terms, worker, resources, stack).serve()


def fairest(unfinished: list[OpenStudy], serving: int | None) -> OpenStudy | None:
    """The study with the fewest workers per open slot, not counting the one that asks, which is `serving` one."""
    there = [study for study in unfinished if study.open]

    def load(study: OpenStudy) -> float:
        return (study.workers - (study.id == serving)) / study.open

    return min(there, key=lambda study: (load(study), study.id != serving, study.id), default=None)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a study cannot be worked on here, how often it was tried, and when it is again; None for never."""

    name: str
    created: datetime
    why: str
    tries: int
    again: float | None

    @property
    def holds(self) -> bool:
        """Whether it is not time yet."""
        return self.again is None or time.monotonic() < self.again


def pause_after(error: Exception, tries: int, *, once: bool, named: bool) -> float | None:
    """Leases until a study is tried again that has been so often, None for never: the study itself is wrong, or a
    worker that serves `once` need not wait for somebody who mends this machine."""
    passes = not isinstance(error, InputError) or isinstance(error, ResourceError | StorageError)
    if once and not (passes and tries < ONCE_TRIES):
        return None
    if named and not passes and getattr(error, "setting", None) not in HERE:
        return None
    first = FIRST_PAUSE if passes else SLOW_PAUSE
    return min(first * 2.0 ** min(tries - 1, 10), LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class Opened:
    """A study that is ready to be worked on: its data is prepared in the worker's folder.

    SQLite may give a deleted study's id to a new one: `created` tells them apart.
    """

    id: int
    created: datetime
    study: ResolvedStudy


class StudyServer:
    """One worker among others; it keeps the data of one study, and lives until the stack unwinds."""

    def __init__(self, study: str | None, terms: Terms, worker: Worker, resources: Resources, stack: ExitStack) -> None:
        self._study, self._terms, self._worker, self._resources = study, terms, worker, resources
        self._data = stack.enter_context(working_folder()) / "study"
        self._pool = TrainerPool(resources.environment)
        stack.callback(lambda: self._pool.close())
        self._opened: Opened | None = None
        self._refused: dict[int, Refusal] = {}
        self._finished = 0
        self._said = ""

    def serve(self) -> Served:
        """Work on one study after the other."""
        try:
            while not self._worker.stop.count and self._left != 0:
                unfinished = self._worker.outage.insist(self._unfinished)
                if (chosen := fairest(unfinished, None)) is not None:
                    self._work_on(chosen)
                elif self._terms.once and not unfinished and not self._tried_again:
                    break
                else:  # what others hold they may give back
                    self._say(self._waiting_for())
                    self._worker.stop.wait(POLL_SECONDS)
        except StorageError:
            if not self._worker.stop.count:
                raise
        return Served(self._finished, tuple(refusal.name for refusal in self._refused.values()))

    @property
    def _tried_again(self) -> bool:
        """Whether a study that was refused will be tried again."""
        return any(refusal.again is not None for refusal in self._refused.values())

    @property
    def _left(self) -> int | None:
        """How many trials this worker may still finish, None without end."""
        most = self._terms.max_trials
        return None if most is None else max(0, most - self._finished)

    def _unfinished(self) -> list[OpenStudy]:
        """Studies that this worker may serve; StudyNotFoundError where the one named is not there, with `once`."""
        named = self._study
        if named is not None and self._terms.once and studies.find_study(self._worker.database, named) is None:
            studies.read_study(self._worker.database, named)  # says which studies there are
        there = [s for s in studies.open_studies(self._worker.database) if named in (None, s.name)]
        self._refused = {study.id: self._refused[study.id] for study in there if self._is_refused(study)}
        return [study for study in there if study.id not in self._refused or not self._refused[study.id].holds]

    def _is_refused(self, study: OpenStudy) -> bool:
        """Whether it was refused when it was last tried; another one may have its id by now."""
        if study.id not in self._refused:
            return False
        header = studies.find_study(self._worker.database, study.name)
        return header is not None and header.created == self._refused[study.id].created

    def _work_on(self, chosen: OpenStudy) -> None:
        """Work on a study until it has nothing to claim, or another one needs this worker more.

        What is wrong with a study ends a worker only where it is the one that was named, and trying again is no use.
        """
        header = self._worker.outage.insist(lambda: studies.find_study(self._worker.database, chosen.name))
        if header is None or header.id != chosen.id:
            return  # it was deleted meanwhile
        try:
            self._run(header, time.monotonic())
        except (StorageAwayError, StorageLostError):
            raise
        except SickHostError as error:
            if not self._may_serve_others(header):
                raise
            self._refuse(header, error)
        except StudyNotFoundError as error:
            self._worker.view.message(f"{header.name}: {marked(error)}")
            self._put_off(header, error, 1, None if self._terms.once else LONGEST_PAUSE)  # part of it may be there
        except Exception as error:
            if self._worker.stop.count and isinstance(error, StorageError):
                raise
            self._refuse(header, error)
        if not self._worker.stop.count:
            self._worker.outage.insist(lambda: workers.serve(self._worker.database, self._worker.id, None))

    def _refuse(self, header: StudyHeader, error: Exception) -> None:
        """Leave a study to others, for a while or for good; raises the error where it was named and it is for good."""
        before, why = self._refused.get(header.id), marked(error)
        tries = 1 if before is None else before.tries + 1
        pause = pause_after(error, tries, once=self._terms.once, named=self._study is not None)
        if pause is None and self._study is not None:
            raise error
        self._put_off(header, error, tries, pause)
        self._start_anew()
        forget(header.spec)
        if before is not None and before.why == why:
            return
        if not isinstance(error, InputError):
            _log.error("study %s cannot be worked on", header.name, exc_info=error)
        then = "" if pause is None else "; it is tried again from time to time"
        self._worker.view.message(f"this worker leaves {header.name} to others: {why}{then}")
        self._note(f"{header.name}: {why}")

    def _may_serve_others(self, header: StudyHeader) -> bool:
        """Whether another study can tell if what breaks off here is this machine's doing, or the study's."""
        if self._study is not None:
            return False
        return any(study.open and study.id != header.id for study in self._worker.outage.insist(self._unfinished))

    def _start_anew(self) -> None:
        """Let the next study have new trainers, and data that is prepared again, whatever was wrong with these."""
        self._pool.close()
        self._pool = TrainerPool(self._resources.environment)
        self._opened = None

    def _put_off(self, header: StudyHeader, error: Exception, tries: int, leases: float | None) -> None:
        again = None if leases is None else time.monotonic() + leases * self._worker.timing.lease
        self._refused[header.id] = Refusal(header.name, header.created, marked(error), tries, again)

    def _accept(self, header: StudyHeader) -> None:
        """A study can be worked on, maybe again."""
        if self._refused.pop(header.id, None) is not None:
            self._worker.view.message(f"this worker can work on {header.name} now")
            self._note(None)

    def _note(self, text: str | None) -> None:
        """Let those who look at workers know, if that can be."""
        with contextlib.suppress(StorageError):
            workers.note(self._worker.database, self._worker.id, text)

    def _run(self, header: StudyHeader, started: float) -> None:
        """Open the study, and let a session work on it until it is over."""
        try:
            study = self._open(header, started)
        except KeyboardInterrupt:
            return  # a stop was asked for while the data was prepared
        self._pool.grow(trainer_of(study), self._resources.trainers)
        self._pool.open(self._data)
        self._say("")
        self._worker.outage.insist(lambda: self._take_place(header))
        session = self._worker.outage.insist(lambda: self._session(header, study, started))
        look_at = time.monotonic() + _share_seconds()
        try:
            while session.step():
                if session.finished:
                    self._accept(header)
                if time.monotonic() >= look_at and not self._worker.outage.is_on:
                    look_at = time.monotonic() + _share_seconds()
                    if self._is_wanted_elsewhere(header):
                        session.wind_down()
            self._check_is_there(header)
            self._accept(header)
        finally:
            busy = bool(self._pool.claims)
            session.close()
            self._finished += session.finished
            if busy:  # with what another study's session must not hear of
                self._pool.close()

    def _check_is_there(self, header: StudyHeader) -> None:
        """Raise StudyNotFoundError where nothing is left to claim as the study was deleted."""
        now = self._worker.outage.insist(lambda: studies.find_study(self._worker.database, header.name))
        if now is None or (now.id, now.created) != (header.id, header.created):
            raise study_is_gone(header.name)

    def _is_wanted_elsewhere(self, header: StudyHeader) -> bool:
        """Whether another study needs this worker more; not while the database is away."""
        try:
            wanted = fairest(self._unfinished(), header.id)
        except StorageError as error:
            self._worker.outage.begin(error)
            return False
        return wanted is not None and wanted.id != header.id

    def _open(self, header: StudyHeader, started: float) -> ResolvedStudy:
        """Load the study's space and prepare its data, beside trainers that start; nothing where it was the last."""
        last = self._opened
        if last is not None and (last.id, last.created) == (header.id, header.created):
            return last.study
        study = reopen(StudySpec.from_json(header.spec))
        self._pool.grow(trainer_of(study), max(1, self._resources.trainers - 1))
        self._opened = None
        shutil.rmtree(self._data, ignore_errors=True)
        try:
            self._data.mkdir()
        except OSError as error:
            raise unusable(self._data, error) from None

        def show(step: str = "", share: float | None = None) -> None:
            seconds = time.monotonic() - started
            self._worker.view.update(preparing(header.name, header.budget, seconds, step, share))
            if self._worker.stop.count:
                raise RequestedInterrupt

        show()
        self._worker.outage.insist(lambda: self._prepare(study, header, show))
        self._opened = Opened(header.id, header.created, study)
        return study

    def _take_place(self, header: StudyHeader) -> None:
        """Say what this worker serves, and take over what dead ones of this machine left."""
        if not workers.serve(self._worker.database, self._worker.id, header.id):
            self._worker.register()
            workers.serve(self._worker.database, self._worker.id, header.id)
        workers.note(self._worker.database, self._worker.id, None)
        workers.requeue_orphans(self._worker.database, header.id)

    def _prepare(self, study: ResolvedStudy, header: StudyHeader, show: OnWait) -> None:
        database = self._worker.database
        prepare_study(database, study, header.dataset, self._data, show, reads_source=False)

    def _session(self, header: StudyHeader, study: ResolvedStudy, started: float) -> Session:
        population = self._resources.population_for(header.budget)
        share = Share(population=population, most_trials=self._left, stays=False)
        return Session(self._worker, study, header, self._pool, share, started)

    def _waiting_for(self) -> str:
        named = self._study
        return f"waiting for study {named} to have open slots" if named else "waiting for a study with open slots"

    def _say(self, text: str) -> None:
        """A message, unless it is the same as before."""
        if text and text != self._said:
            self._worker.view.message(text)
        self._said = text


def _share_seconds() -> float:
    """Not all at once, or else all would move to the same study."""
    return SHARE_SECONDS * random.uniform(0.75, 1.25)
