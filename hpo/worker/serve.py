"""`hpo worker`: serves the studies of a database, one at a time, for as long as it is wanted."""

import logging
import random
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from hpo_storage import studies, workers
from hpo_storage.database import connect
from hpo_storage.records import OpenStudy, StudyHeader

from hpo.errors import InputError, StorageAwayError, StorageError, StudyNotFoundError, marked
from hpo.machine import Resources, choose_resources, default_population
from hpo.processes import unusable, working_folder
from hpo.settings import Terms, Training
from hpo.study.resolve import ResolvedStudy, reopen, trainer_of
from hpo.study.spec import StudySpec
from hpo.worker.membership import Worker, joined
from hpo.worker.pool import TrainerPool, TrainersError
from hpo.worker.preparation import prepare_study
from hpo.worker.progress import ProgressView, Snapshot
from hpo.worker.session import Session, Share
from hpo.worker.signals import StopRequest

POLL_SECONDS = 2.0
SHARE_SECONDS = 60.0
"""How often a worker looks whether another study needs it more."""

_log = logging.getLogger("hpo")


def serve(
    terms: Terms,
    training: Training,
    *,
    url: str,
    view: ProgressView,
    stop: StopRequest,
    study: str | None = None,
) -> int:
    """Work on open studies, or the one named, until told to stop, and return how many trials were finished.

    With `once` it ends when all studies are finished. The first request to stop lets running trials finish,
    the second gives them back at once. Raises InputError for anything unusable.
    """
    resources = choose_resources(training)
    database = connect(url, create=False)
    try:
        with (
            joined(database, url, resources, view, stop, drain_seconds=terms.drain_seconds) as worker,
            ExitStack() as stack,
        ):
            return StudyServer(study, terms, worker, resources, stack).serve()
    finally:
        view.close()
        database.close()


def fairest(unfinished: list[OpenStudy], serving: int | None) -> OpenStudy | None:
    """The study with the fewest workers per open slot, not counting the one that asks, which is `serving` one."""
    there = [study for study in unfinished if study.open]

    def load(study: OpenStudy) -> float:
        return (study.workers - (study.id == serving)) / study.open

    return min(there, key=lambda study: (load(study), study.id != serving, study.id), default=None)


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
        self._pool = TrainerPool(resources.backend)
        stack.callback(self._pool.close)
        self._opened: Opened | None = None
        self._refused: dict[int, datetime] = {}
        self._finished = 0
        self._said = ""

    def serve(self) -> int:
        """Work on one study after the other."""
        try:
            while not self._worker.stop.count and self._left != 0:
                unfinished = self._worker.outage.insist(self._unfinished)
                if (chosen := fairest(unfinished, None)) is not None:
                    self._work_on(chosen)
                elif self._terms.once and not unfinished:
                    break
                else:  # what others hold they may give back
                    self._say(self._waiting_for())
                    self._worker.stop.wait(POLL_SECONDS)
        except StorageError:
            if not self._worker.stop.count:
                raise
        return self._finished

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
        return [
            study
            for study in studies.open_studies(self._worker.database)
            if named in (None, study.name) and not self._refuses(study)
        ]

    def _refuses(self, study: OpenStudy) -> bool:
        if study.id not in self._refused:
            return False
        header = studies.find_study(self._worker.database, study.name)
        return header is not None and header.created == self._refused[study.id]

    def _work_on(self, chosen: OpenStudy) -> None:
        """Work on a study until it has nothing to claim, or another one needs this worker more.

        What is wrong with a study ends a worker only where it is the one that was named.
        """
        header = self._worker.outage.insist(lambda: studies.find_study(self._worker.database, chosen.name))
        if header is None or header.id != chosen.id:
            return  # it was deleted meanwhile
        try:
            self._run(header, time.monotonic())
        except (StorageAwayError, TrainersError):
            raise
        except StudyNotFoundError as error:
            self._worker.view.message(f"{header.name}: {marked(error)}")
        except Exception as error:
            if self._study is not None:
                raise
            self._refused[header.id] = header.created
            if not isinstance(error, InputError):
                _log.exception("study %s cannot be worked on", header.name)
            self._worker.view.message(f"this worker leaves {header.name} to others: {marked(error)}")
        if not self._worker.stop.count:
            self._worker.outage.insist(lambda: workers.serve(self._worker.database, self._worker.id, None))

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
                if time.monotonic() >= look_at and not self._worker.outage.is_on:
                    look_at = time.monotonic() + _share_seconds()
                    if self._is_wanted_elsewhere(header):
                        session.wind_down()
        finally:
            busy = bool(self._pool.claims)
            session.close()
            self._finished += session.finished
            if busy:  # with what another study's session must not hear of
                self._pool.close()

    def _is_wanted_elsewhere(self, header: StudyHeader) -> bool:
        """Whether another study needs this worker more; not while the database is away."""
        try:
            wanted = fairest(self._unfinished(), header.id)
        except StorageAwayError as error:
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

        def show() -> None:
            seconds = time.monotonic() - started
            self._worker.view.update(
                Snapshot(study=header.name, phase="preparing data", budget=header.budget, seconds=seconds)
            )
            if self._worker.stop.count:
                raise KeyboardInterrupt

        show()
        self._worker.outage.insist(lambda: self._prepare(study, header, show))
        self._opened = Opened(header.id, header.created, study)
        return study

    def _take_place(self, header: StudyHeader) -> None:
        """Say what this worker serves, and take over what dead ones of this machine left."""
        workers.serve(self._worker.database, self._worker.id, header.id)
        workers.requeue_orphans(self._worker.database, header.id)

    def _prepare(self, study: ResolvedStudy, header: StudyHeader, show: Callable[[], None]) -> None:
        database = self._worker.database
        prepare_study(database, study, header.dataset, self._data, show, reads_source=False)

    def _session(self, header: StudyHeader, study: ResolvedStudy, started: float) -> Session:
        population = self._resources.population or default_population(self._resources.backend, header.budget)
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
