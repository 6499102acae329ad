"""`hpo run`: creates or resumes a study and sees it through. Never imports Keras or pandas; its children do that."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hpo_storage import studies, workers
from hpo_storage.database import Database, connect, holds_tables, prepare
from hpo_storage.records import StudyHeader, StudyOverview, StudyRecord

from hpo.declaration import to_json
from hpo.errors import StorageAwayError, StudyError, do, use
from hpo.machine import Resources, choose_resources, environment
from hpo.objectives.base import StudyRequest
from hpo.objectives.registry import described
from hpo.processes import remove_abandoned, working_folder
from hpo.report.table_text import table_lines
from hpo.settings import DRAIN_SECONDS, Training, Work
from hpo.study import lifecycle
from hpo.study.facts import Facts
from hpo.study.resolve import ResolvedStudy, refuse_changes, resolve, trainer_of
from hpo.study.spec import StudySpec
from hpo.usercode import RequestedInterrupt
from hpo.worker.membership import Outage, Worker, joined, patient
from hpo.worker.pool import TrainerPool
from hpo.worker.preparation import prepare_study
from hpo.worker.progress import ProgressView, SilentView, preparing
from hpo.worker.ray import STOP_SECONDS, check_ray, ray_workers
from hpo.worker.session import Session, Share
from hpo.worker.signals import StopRequest, stop_on_signals
from hpo.worker.watching import watch

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What `run` leaves behind."""

    record: StudyOverview
    already_finished: bool
    interrupted: bool


def run(
    request: StudyRequest,
    *,
    url: str,
    view: ProgressView | None = None,
    drain_seconds: float = DRAIN_SECONDS,
) -> RunResult:
    """Create or resume a study and work on it, or watch others do it, until it is over.

    The first SIGINT, SIGTERM or SIGHUP lets running trials finish, the second stops at once. Raises InputError for
    anything unusable, and KeyboardInterrupt where the user stops it before the first trial.
    """
    _check_work(request.work, request.training, url)
    view = view or SilentView()
    database = connect(url, patience=patient(view))
    try:
        stored = _stored(database, request.name)
        if stored and _is_over(stored, request.work):
            refuse_changes(request, StudySpec.from_json(stored.spec))
            remove_abandoned()
            return RunResult(record=stored, already_finished=True, interrupted=False)
        plan = _plan(request, stored)
        with stop_on_signals() as stop:
            stoppable, name = replace(database, patience=patient(view, stop)), request.name
            Run(stoppable, url, plan, view, stop, drain_seconds).see_through()
            outage = Outage(view, stop)
            record = outage.insist(
                lambda: _read_back(database.impatient, url, partial(studies.read_overview, name=name))
            )
        return RunResult(record=record, already_finished=False, interrupted=stop.count > 0)
    finally:
        view.close()
        database.close()


def create(request: StudyRequest, *, url: str, view: ProgressView | None = None) -> StudyRecord:
    """Store a new study for others to work on, without training anything, and return it.

    Raises InputError for anything unusable, and where a study of that name is there.
    """
    _check_work(request.work, request.training, url)
    view = view or SilentView()
    database = connect(url, patience=patient(view))
    try:
        if _stored(database, request.name) is not None:
            raise StudyError(
                f"a new study needs a name of its own, got {request.name!r}, which this database has already; "
                f"choose another {use('study')}",
                setting="study",
            )
        plan = Plan(request=request, study=resolve(request))
        with stop_on_signals() as stop, working_folder() as folder:
            Run(database, url, plan, view, stop, DRAIN_SECONDS).store(folder)
        return _read_back(database, url, partial(studies.read_study, name=request.name))
    finally:
        view.close()
        database.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run is to do; `stored` is the study as it was before, None for a new one; without `resources` it is to
    watch others do it."""

    request: StudyRequest
    study: ResolvedStudy
    stored: StudyOverview | None = None
    resources: Resources | None = None

    @property
    def budget(self) -> int:
        """Trials that the study is to have."""
        return lifecycle.budget(self.stored, self.request.work.trials)

    @property
    def trains_networks(self) -> bool:
        """Whether a backend and a device matter to its trials."""
        return "networks" in described(self.study.spec.to_json()).parts


class Run:
    """One run of a study; it owns a folder, trainers and its place as the study's worker until it is seen through."""

    def __init__(
        self, database: Database, url: str, plan: Plan, view: ProgressView, stop: StopRequest, drain_seconds: float
    ) -> None:
        self._database, self._url, self._plan, self._view, self._stop = database, url, plan, view, stop
        self._drain_seconds, self._name, self._started = drain_seconds, plan.study.spec.name, time.monotonic()

    def see_through(self) -> None:
        """Work on the study, or watch others do it, until it is over."""
        with ExitStack() as stack:
            folder = stack.enter_context(working_folder())
            try:
                if self._plan.resources is not None:
                    self._work(folder, stack, self._plan.resources)
                else:
                    self._have_it_done(folder, stack)
            except StorageAwayError:
                if self._stop.count:  # while the start waited for the database
                    raise RequestedInterrupt from None
                raise

    def store(self, folder: Path) -> None:
        """Prepare and store a new study."""
        self._create(self._prepare(folder))

    def _work(self, folder: Path, stack: ExitStack, resources: Resources) -> None:
        """Start trainers and, beside them, prepare the data; store a new study once its data is known to be good."""
        plan, worker = self._plan, None
        module = trainer_of(plan.study)
        if plan.stored is not None:
            worker = self._join(plan.stored.id, stack, resources)
            self._change()
        self._view.message(f"training: {resources.text if plan.trains_networks else resources.trainers_text}")
        self._show_preparation()
        pool = TrainerPool(resources.environment)
        stack.callback(pool.close)
        # One core is left to the data, so that data and first trainer are ready at the same time.
        pool.grow(module, max(1, resources.trainers - 1))
        facts = self._prepare(folder)
        pool.grow(module, resources.trainers)
        self._say_news(facts)
        worker = worker or self._create_and_join(facts, stack, resources)
        pool.open(folder)
        share = Share(population=resources.population)
        header = self._header()
        session = worker.outage.insist(lambda: Session(worker, plan.study, header, pool, share, self._started))
        session.work()

    def _have_it_done(self, folder: Path, stack: ExitStack) -> None:
        """Store the study, start workers elsewhere where that is asked for, and watch."""
        plan, work, check = self._plan, self._plan.request.work, None
        if plan.study.objective.trainer is None:
            self._view.message(
                f"nothing trains {self._name}: a program of yours asks for its trials and tells what came out, see "
                f"docs/objectives.md; this command only watches"
            )
        if plan.stored is None:
            self.store(folder)
        else:
            self._change()
        if work.executor is not None:
            self._stop.drain_seconds = self._drain_seconds + STOP_SECONDS
            launched = ray_workers(self._url, self._name, work.workers, plan.request.training, self._drain_seconds)
            check = stack.enter_context(launched).check
        wants_workers = check is None and plan.study.objective.trainer is not None
        watch(self._database.impatient, self._header(), self._view, self._stop, check, wants_workers=wants_workers)

    def _prepare(self, folder: Path) -> dict[str, Any]:
        plan = self._plan
        dataset = plan.stored.dataset if plan.stored else None
        return prepare_study(
            self._database, plan.study, dataset, folder, self._show_preparation, copy=plan.request.frame
        )

    def _say_news(self, facts: dict[str, Any]) -> None:
        """What is noted about a stored study's data that was not when it was stored."""
        stored = self._plan.stored
        known = Facts.from_json(stored.facts).notes if stored else Facts.from_json(facts).notes
        for note in Facts.from_json(facts).notes:
            if note not in known:
                self._view.message(f"note: {note}")

    def _create_and_join(self, facts: dict[str, Any], stack: ExitStack, resources: Resources) -> Worker:
        try:
            return self._join(self._create(facts), stack, resources)
        except StudyError:
            # Another process was faster: if it still runs, that is what to say.
            if other := studies.find_study(self._database, self._name):
                self._join(other.id, stack, resources)
            raise

    def _create(self, facts: dict[str, Any]) -> int:
        plan = self._plan
        found = Facts.from_json(facts)
        for line in [*table_lines(found), *(f"note: {note}" for note in found.notes)]:
            self._view.message(line)
        about = environment(plan.resources.backend if plan.resources and plan.trains_networks else None)
        return lifecycle.create(self._database, plan.study, facts, about, plan.request.work, data=plan.request.frame)

    def _change(self) -> None:
        """Extend a stored study, and change its limits, as far as that is asked for."""
        work = self._plan.request.work
        self._say_where_data_is()
        if work.trials is not None:
            lifecycle.extend(self._database, self._name, work.trials)
        lifecycle.limit(self._database, self._name, work)

    def _say_where_data_is(self) -> None:
        """Where it was asked for otherwise: that is decided once."""
        plan, asked = self._plan, self._plan.request.given.get("store_data")
        is_stored = plan.stored is not None and plan.stored.dataset is not None
        if asked is not None and asked != is_stored and plan.study.objective.data_file(plan.study.spec) is not None:
            where = "in" if is_stored else "not in"
            self._view.message(
                f"the data of {self._name} is {where} the database, as was decided when it was made; "
                f"{use('store_data', asked)} changes nothing"
            )

    def _join(self, study_id: int, stack: ExitStack, resources: Resources) -> Worker:
        """This process as the study's run until the stack unwinds; it takes over what dead ones left."""
        membership = joined(
            self._database,
            self._url,
            resources,
            self._view,
            self._stop,
            runs=study_id,
            drain_seconds=self._drain_seconds,
        )
        worker = stack.enter_context(membership)
        workers.requeue_orphans(self._database, study_id)
        return worker

    def _header(self) -> StudyHeader:
        header = studies.find_study(self._database, self._name)
        if header is None:
            raise StudyError(
                f"study {self._name!r} was deleted meanwhile; do the same again to make a new one", setting="study"
            )
        return header

    def _show_preparation(self, step: str = "", share: float | None = None) -> None:
        seconds = time.monotonic() - self._started
        self._view.update(preparing(self._name, self._plan.budget, seconds, step, share))
        if self._stop.count:
            raise RequestedInterrupt


def _plan(request: StudyRequest, stored: StudyOverview | None) -> Plan:
    work, spec = request.work, StudySpec.from_json(stored.spec) if stored else None
    budget = lifecycle.budget(stored, work.trials)
    study = resolve(request, spec, has_copy=stored is not None and stored.dataset is not None)
    resources = None
    if study.objective.trainer is None:
        _refuse_training(request.training, "others evaluate the trials of this objective")
    elif work.workers and work.executor is None:
        left = budget - (stored.finished if stored else 0)
        resources = choose_resources(request.training).for_budget(budget, left)
    return Plan(request=request, study=study, stored=stored, resources=resources)


def _check_work(work: Work, training: Training, url: str) -> None:
    """Raise InputError where what is asked for does not go together."""
    if work.executor is not None:
        if training.device is not None:
            raise StudyError(
                f"workers on Ray train on the cores that it gives them, got {use('device', training.device)}; "
                f"leave it out",
                setting="device",
            )
        check_ray(url, work.workers)
    elif work.workers > 1:
        raise StudyError(
            f"a run is one worker of its study, got {use('workers', work.workers)}; "
            f"use {use('executor', 'ray')}, or start each worker by itself",
            setting="workers",
        )
    elif work.workers == 0:
        _refuse_training(training, f"nothing trains here with {use('workers', 0)}")


def _refuse_training(training: Training, why: str) -> None:
    """Raise StudyError for a setting of what trains here, where nothing does."""
    for name, value in to_json(training).items():
        if value is not None:
            raise StudyError(f"{why}, got {use(name, value)}; give it to {do('worker')}", setting=name)


def _stored(database: Database, name: str) -> StudyOverview | None:
    """The study of that name. A database without tables stays as it is until there is a study to store."""
    if not holds_tables(database):
        return None
    prepare(database)
    return studies.read_overview(database, name) if studies.find_study(database, name) else None


def _read_back(database: Database, url: str, read: Callable[[Database], T]) -> T:
    """What whoever opens the database now finds; StorageError where it is another than the one in use."""
    try:
        with closing(connect(url, create=False)) as fresh:
            found = read(fresh)
    finally:
        with database.begin_read():
            pass  # which says what has become of a file
    return found


def _is_over(stored: StudyOverview, work: Work) -> bool:
    """Whether a run would find nothing to do."""
    done = stored.finished == lifecycle.budget(stored, work.trials)
    return done or (stored.limit_reached is not None and lifecycle.limits(stored, work) == stored.limits)
