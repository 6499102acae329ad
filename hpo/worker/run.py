"""`hpo run`: creates or resumes a study and sees it through. Never imports Keras or pandas; its children do that."""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

from hpo_storage import studies, workers
from hpo_storage.database import Database, connect, holds_tables, prepare
from hpo_storage.datasets import store_dataset
from hpo_storage.records import Limits, StudyHeader, StudyRecord

from hpo.data.fingerprint import file_sha256
from hpo.errors import StorageError, StudyError
from hpo.machine import choose_resources, default_population, default_trainers, environment
from hpo.study.facts import Facts
from hpo.study.spec import StudySpec, check_study_name
from hpo.study.study import DEFAULT_TRIALS, ResolvedStudy, StudyOptions, refuse_changes, resolve
from hpo.words import count_text
from hpo.worker.membership import DRAIN_SECONDS, Resources, Worker, at_work
from hpo.worker.orders import module_of
from hpo.worker.outage import Outage
from hpo.worker.pool import TrainerPool
from hpo.worker.preparation import fetch_data, is_at_its_source, prepare_data
from hpo.worker.progress import ProgressView, SilentView, Snapshot
from hpo.worker.ray import RayOptions, check_ray, ray_workers
from hpo.worker.session import Session
from hpo.worker.signals import StopRequest, stop_on_signals
from hpo.worker.watching import watch

UNCHANGED = Limits()
NO_LIMIT = float("inf")


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
    population: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    view: ProgressView | None = None,
    frame_path: Path | None = None,
    limits: Limits = UNCHANGED,
    here: bool = True,
    stores_data: bool = True,
    drain_seconds: float = DRAIN_SECONDS,
    ray: RayOptions | None = None,
) -> RunResult:
    """Create or resume a study and work on it until it is over.

    `frame_path` is a Parquet file that stands for a data frame handed over in Python. A limit that is None stays as
    it is, an infinite one is lifted. Unless `here`, other workers do the work, and this process watches them. The
    first SIGINT or SIGTERM lets running trials finish, the second stops at once. Raises InputError for anything
    unusable, and KeyboardInterrupt where the user stops it before the first trial.
    """
    check_study_name(options.name)
    if ray is not None:
        check_ray(url, ray.workers)
    _check_counts(trials=trials, trainers=trainers, population=population)
    if not here and ray is None:
        _refuse_idle(trainers=trainers, population=population, backend=backend, device=device)
    view = view or SilentView()
    frame_sha256 = file_sha256(frame_path) if frame_path else None
    database = connect(url)
    try:
        stored = _stored(database, options.name)
        budget, limits = _budget(stored, trials), _merged(stored.limits if stored else UNCHANGED, limits)
        spec = StudySpec.model_validate(stored.spec) if stored else None
        if stored and spec and _is_over(stored, budget, limits):
            refuse_changes(options, spec, frame_sha256=frame_sha256)
            return RunResult(record=stored, already_finished=True, interrupted=False)
        has_copy = stored is not None and stored.dataset is not None
        left = budget - (stored.finished if stored else 0)
        resources, population = _resources(backend, device, trainers, population, budget, left) if here else (None, 1)
        plan = Plan(
            study=resolve(options, spec, frame_sha256=frame_sha256, has_copy=has_copy),
            stored=stored,
            budget=budget,
            limits=limits,
            resources=resources,
            population=population,
            frame_path=frame_path,
            stores_data=stores_data,
            drain_seconds=drain_seconds,
            ray=ray,
        )
        with stop_on_signals() as stop:
            Run(database, url, plan, view, stop).see_through()
            record = Outage(view, stop).insist(lambda: studies.read_study(database, options.name))
        return RunResult(record=record, already_finished=False, interrupted=stop.count > 0)
    finally:
        view.close()
        database.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run is to do; `stored` is the study as it was before, None for a new one; without `resources` it is to
    watch others do it."""

    study: ResolvedStudy
    stored: StudyRecord | None
    budget: int
    limits: Limits
    resources: Resources | None
    population: int
    frame_path: Path | None
    stores_data: bool
    drain_seconds: float
    ray: RayOptions | None


class Run:
    """One run of a study; it owns a folder, trainers and its place as the study's worker until it is seen through."""

    def __init__(self, database: Database, url: str, plan: Plan, view: ProgressView, stop: StopRequest) -> None:
        self._database, self._url, self._plan, self._view, self._stop = database, url, plan, view, stop
        self._name, self._started = plan.study.spec.name, time.monotonic()

    def see_through(self) -> None:
        """Work on the study, or watch others do it, until it is over."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpo-")))
            if self._plan.resources is not None:
                self._work(folder, stack, self._plan.resources)
                return
            if self._plan.stored is None:
                self._create(self._prepare(folder))
            else:
                self._change(self._plan.stored.id)
            check = None
            if self._plan.ray is not None:
                check = stack.enter_context(ray_workers(self._url, self._name, self._plan.ray)).check
            watch(self._database, self._header(), self._view, self._stop, check)

    def _work(self, folder: Path, stack: ExitStack, resources: Resources) -> None:
        """Start trainers and, beside them, prepare the data; store a new study once its data is known to be good."""
        plan, worker = self._plan, None
        if plan.stored is not None:
            worker = self._register(plan.stored.id, stack, resources)
            self._change(plan.stored.id)
        self._view.message(f"training: {_text(resources, plan.population)}")
        self._show_preparation()
        pool, count = TrainerPool(resources.backend), resources.trainers
        stack.callback(pool.close)
        # One core is left to the data, so that data and first trainer are ready at the same time.
        pool.grow(module_of(plan.study), max(1, count - 1))
        facts = self._prepare(folder)
        pool.grow(module_of(plan.study), count)
        if worker is None:
            try:
                worker = self._register(self._create(facts), stack, resources)
            except StudyError:
                # Another process was faster: if it still runs, that is what to say.
                if other := studies.find_study(self._database, self._name):
                    self._register(other.id, stack, resources)
                raise
        session = Session(
            worker, plan.study, self._header(), folder, pool, started=self._started, population=plan.population
        )
        session.work()

    def _prepare(self, folder: Path) -> Facts:
        plan, copy = self._plan, self._plan.frame_path
        if copy is None and not is_at_its_source(plan.study.spec.data) and plan.stored is not None:
            copy = fetch_data(self._database, plan.stored, folder)
        return prepare_data(plan.study.spec, folder, copy, self._show_preparation)

    def _create(self, facts: Facts) -> int:
        """Store the study and its data."""
        plan = self._plan
        for note in facts.notes:
            self._view.message(f"note: {note}")
        prepare(self._database)
        return studies.create_study(
            self._database,
            self._name,
            plan.study.spec.model_dump(mode="json"),
            facts.to_json(),
            environment(plan.resources.backend if plan.resources else None),
            plan.budget,
            dataset=self._store_data(),
            limits=plan.limits,
        )

    def _store_data(self) -> str | None:
        """The hash of the data in the database; None where it is read from its source."""
        data = self._plan.study.spec.data
        path = self._plan.frame_path or (Path(data.source) if data.kind == "file" else None)
        if path is None or not self._plan.stores_data:
            return None
        try:
            return store_dataset(self._database, path)
        except StorageError:
            if not self._database.on_sqlite:
                raise
            return None  # too large, but whoever shares an SQLite file can read the table from its path

    def _change(self, study_id: int) -> None:
        """Extend a stored study, and change its limits."""
        studies.extend_study(self._database, study_id, self._plan.budget)
        studies.set_limits(self._database, study_id, self._plan.limits)

    def _register(self, study_id: int, stack: ExitStack, resources: Resources) -> Worker:
        """This process as the study's run until the stack unwinds; it takes over what dead ones left."""
        plan = self._plan
        worker = stack.enter_context(
            at_work(self._database, self._url, study_id, "run", resources, self._view, self._stop, plan.drain_seconds)
        )
        workers.requeue_orphans(self._database, study_id)
        return worker

    def _header(self) -> StudyHeader:
        header = studies.find_study(self._database, self._name)
        if header is None:
            raise StudyError(f"study {self._name!r} was deleted meanwhile; run the command again to make a new one")
        return header

    def _show_preparation(self) -> None:
        seconds = time.monotonic() - self._started
        self._view.update(Snapshot(study=self._name, phase="preparing data", budget=self._plan.budget, seconds=seconds))
        if self._stop.count:
            raise KeyboardInterrupt


def _resources(
    backend: str | None, device: str | None, trainers: int | None, population: int | None, budget: int, left: int
) -> tuple[Resources, int]:
    """What trains here, no more trainers than have work, and the population; `left` trials of the budget are open."""
    backend, device = choose_resources(backend, device)
    population = min(population or default_population(backend, budget), left)
    trainers = min(trainers or default_trainers(backend), -(-left // population))
    return Resources(backend=backend, device=device, trainers=trainers), population


def _text(resources: Resources, population: int) -> str:
    at_once = f", {population} trials at once each" if population > 1 else ""
    return f"{resources.backend} on {resources.device}, {count_text(resources.trainers, 'trainer')}{at_once}"


def _stored(database: Database, name: str) -> StudyRecord | None:
    """The study of that name. A database without tables stays as it is until there is a study to store."""
    if not holds_tables(database):
        return None
    prepare(database)
    return studies.read_study(database, name) if studies.find_study(database, name) else None


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise StudyError(f"{name} must be at least 1, got {value}; use --{name} 1")


def _refuse_idle(**options: int | str | None) -> None:
    """Raise StudyError for an option of training where this process trains nothing."""
    for name, value in options.items():
        if value is not None:
            raise StudyError(f"--workers 0 trains nothing here, got --{name} {value}; give it to `hpo worker`")


def _budget(stored: StudyRecord | None, trials: int | None) -> int:
    if stored is None:
        return trials or DEFAULT_TRIALS
    if trials is not None and trials < stored.budget:
        raise StudyError(
            f"a study's budget can only grow: {stored.name!r} has {stored.budget} trials, got {trials}; "
            f"use --trials {stored.budget} or more"
        )
    return trials or stored.budget


def _merged(stored: Limits, given: Limits) -> Limits:
    """The stored limits with those that are given; an infinite one is none."""
    values = {field.name: getattr(given, field.name) or getattr(stored, field.name) for field in fields(Limits)}
    return Limits(**{name: None if value == NO_LIMIT else value for name, value in values.items()})


def _is_over(stored: StudyRecord, budget: int, limits: Limits) -> bool:
    """Whether a run would find nothing to do."""
    return stored.finished == budget or (stored.limit_reached is not None and limits == stored.limits)
