"""`hpo worker`: serves the studies of a database, one at a time, for as long as it is wanted."""

import random
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hpo.errors import InputError, StorageError, StudyError, StudyNotFoundError
from hpo.study.spec import StudySpec
from hpo.study.study import ResolvedStudy, reopen
from hpo.worker.machine import choose_backend, default_population, default_trainers, device_name
from hpo.worker.orders import module_of
from hpo.worker.preparation import fetch_data, prepare_data
from hpo.worker.progress import ProgressView, Snapshot
from hpo.worker.session import Session
from hpo.worker.signals import StopRequest
from hpo.worker.trainers import TrainerPool
from hpo.worker.worker import DRAIN_SECONDS, Resources, Worker, at_work
from storage import studies, workers
from storage.database import connect
from storage.records import OpenStudy, StudyHeader

POLL_SECONDS = 2.0
SHARE_SECONDS = 60.0
"""How often a worker looks whether another study needs it more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetOptions:
    """How a worker serves: which study (None: any), with what, and until when."""

    study: str | None = None
    trainers: int | None = None
    backend: str | None = None
    population: int | None = None
    drain_seconds: float = DRAIN_SECONDS
    once: bool = False
    max_trials: int | None = None


def serve(options: FleetOptions, *, url: str, view: ProgressView, stop: StopRequest) -> int:
    """Work on open studies until told to stop, and return how many trials were finished.

    With `once` it ends when all studies are finished. The first request to stop lets running trials finish,
    the second gives them back at once. Raises InputError for anything unusable.
    """
    for name in ("trainers", "population", "max_trials"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise StudyError(f"{name} must be at least 1, got {value}; use --{name.replace('_', '-')} 1")
    backend = choose_backend(options.backend)
    trainers = options.trainers or default_trainers(backend)
    resources = Resources(backend=backend, device=device_name(backend), trainers=trainers)
    database = connect(url, create=False)
    try:
        with (
            at_work(database, url, None, "worker", resources, view, stop, options.drain_seconds) as worker,
            ExitStack() as stack,
        ):
            return Fleet(options, worker, resources, stack).serve()
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
    """A study that is ready to be worked on: its data is prepared in the folder."""

    study: ResolvedStudy
    folder: Path


class Fleet:
    """One worker among others; what it has prepared is kept until the stack unwinds."""

    def __init__(self, options: FleetOptions, worker: Worker, resources: Resources, stack: ExitStack) -> None:
        self._options, self._worker, self._resources = options, worker, resources
        self._view, self._stop, self._outage = worker.view, worker.stop, worker.outage
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpo-")))
        self._pool = TrainerPool(resources.backend)
        stack.callback(self._pool.close)
        self._opened: dict[int, Opened] = {}
        self._refused: set[int] = set()
        self._finished = 0
        self._said = ""

    def serve(self) -> int:
        """Work on one study after the other."""
        try:
            while not self._stop.count and self._finished != self._options.max_trials:
                unfinished = self._outage.insist(self._unfinished)
                if (chosen := fairest(unfinished, None)) is not None:
                    self._work_on(chosen)
                elif self._options.once and not unfinished:
                    break
                else:  # what others hold they may give back
                    self._say(self._waiting_for())
                    self._stop.wait(POLL_SECONDS)
        except StorageError:
            if not self._stop.count:
                raise
        return self._finished

    def _unfinished(self) -> list[OpenStudy]:
        """Studies that this worker may serve; StudyNotFoundError where the one named is not there, with `once`."""
        named = self._options.study
        if named is not None and self._options.once and studies.find_study(self._worker.database, named) is None:
            studies.read_study(self._worker.database, named)  # says which studies there are
        return [
            study
            for study in studies.open_studies(self._worker.database)
            if study.id not in self._refused and named in (None, study.name)
        ]

    def _work_on(self, chosen: OpenStudy) -> None:
        """Work on a study until it has nothing to claim, or another one needs this worker more."""
        started = time.monotonic()
        try:
            header = self._outage.insist(lambda: self._header(chosen))
            opened = self._opened.get(chosen.id) or self._open(header, started)
        except StorageError:
            raise
        except InputError as error:
            if self._options.study is not None:
                raise
            self._refused.add(chosen.id)
            self._view.message(f"this worker leaves {chosen.name} to others: {error}")
            return
        except KeyboardInterrupt:
            return  # a stop was asked for while the data was prepared
        self._pool.grow(module_of(opened.study), self._resources.trainers)
        self._say("")
        self._outage.insist(lambda: self._take_place(header))
        session = self._outage.insist(lambda: self._session(header, opened, started))
        self._run(session, chosen)
        self._finished += session.finished
        if not self._stop.count:
            self._outage.insist(lambda: workers.serve(self._worker.database, self._worker.id, None))

    def _run(self, session: Session, chosen: OpenStudy) -> None:
        """Let the session work, and look from time to time whether it should end."""
        look_at = time.monotonic() + _share_seconds()
        try:
            while session.step():
                if time.monotonic() >= look_at and not self._outage.is_on:
                    look_at = time.monotonic() + _share_seconds()
                    wanted = fairest(self._outage.insist(self._unfinished), chosen.id)
                    if wanted is not None and wanted.id != chosen.id:
                        session.wind_down()
        except StudyNotFoundError as error:
            self._view.message(f"{chosen.name}: {error}")
        finally:
            session.close()

    def _header(self, chosen: OpenStudy) -> StudyHeader:
        header = studies.find_study(self._worker.database, chosen.name)
        if header is None or header.id != chosen.id:
            raise StudyNotFoundError(f"study {chosen.name!r} was deleted meanwhile")
        return header

    def _open(self, header: StudyHeader, started: float) -> Opened:
        """Load the study's space and prepare its data, beside trainers that start."""
        study = reopen(StudySpec.model_validate(header.spec))
        self._pool.grow(module_of(study), max(1, self._resources.trainers - 1))
        folder = self._folder / str(header.id)
        folder.mkdir(exist_ok=True)
        copy = self._outage.insist(lambda: fetch_data(self._worker.database, header, folder))

        def show() -> None:
            seconds = time.monotonic() - started
            self._view.update(
                Snapshot(study=header.name, phase="preparing data", budget=header.budget, seconds=seconds)
            )
            if self._stop.count:
                raise KeyboardInterrupt

        show()
        prepare_data(study.spec, folder, copy, show)
        self._opened[header.id] = Opened(study, folder)
        return self._opened[header.id]

    def _take_place(self, header: StudyHeader) -> None:
        """Say what this worker serves, and take over what dead ones of this machine left."""
        workers.serve(self._worker.database, self._worker.id, header.id)
        workers.requeue_orphans(self._worker.database, header.id)

    def _session(self, header: StudyHeader, opened: Opened, started: float) -> Session:
        most = self._options.max_trials
        return Session(
            self._worker,
            opened.study,
            header,
            opened.folder,
            self._pool,
            started=started,
            population=self._options.population or default_population(self._resources.backend, header.budget),
            most_trials=None if most is None else most - self._finished,
            stays=False,
        )

    def _waiting_for(self) -> str:
        named = self._options.study
        return f"waiting for study {named} to have open slots" if named else "waiting for a study with open slots"

    def _say(self, text: str) -> None:
        """A message, unless it is the same as before."""
        if text and text != self._said:
            self._view.message(text)
        self._said = text


def _share_seconds() -> float:
    """Not all at once, or else all would move to the same study."""
    return SHARE_SECONDS * random.uniform(0.75, 1.25)
