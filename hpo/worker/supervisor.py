"""The supervisor: one per machine; it never imports Keras or pandas, its children do that."""

import os
import socket
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hpo.data.fingerprint import file_sha256
from hpo.errors import StudyError
from hpo.study.spec import StudySpec, check_study_name
from hpo.study.study import DEFAULT_TRIALS, ResolvedStudy, StudyOptions, refuse_changes, resolve
from hpo.worker.machine import choose_backend, default_population, default_trainers, environment
from hpo.worker.preparation import prepare_data
from hpo.worker.progress import ProgressView, SilentView, Snapshot
from hpo.worker.session import Session, Trainer
from hpo.worker.signals import StopRequest, stop_on_signals
from storage import studies, workers
from storage.database import Database, connect, holds_tables, upgrade
from storage.records import StudyRecord


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
    view: ProgressView | None = None,
    frame_path: Path | None = None,
) -> RunResult:
    """Create or resume a study and work on it until its budget is used up.

    `frame_path` is a Parquet file that stands for a data frame handed over in Python. The first SIGINT or SIGTERM
    lets running trials finish, the second stops at once. Raises InputError for anything unusable, and
    KeyboardInterrupt where the user stops it before the first trial.
    """
    check_study_name(options.name)
    _check_counts(trials=trials, trainers=trainers, population=population)
    backend = choose_backend(backend)
    view = view or SilentView()
    frame_sha256 = file_sha256(frame_path) if frame_path else None
    database = connect(url)
    try:
        stored = _stored(database, options.name)
        budget = _budget(stored, trials)
        spec = StudySpec.model_validate(stored.spec) if stored else None
        if stored and spec and stored.finished == budget:
            refuse_changes(options, spec, frame_sha256=frame_sha256)
            return RunResult(record=stored, already_finished=True, interrupted=False)
        study = resolve(options, spec, frame_sha256=frame_sha256)
        _check_frame(study, frame_path)
        left = budget - (stored.finished if stored else 0)
        population = min(population or default_population(backend, budget), left)
        count = min(trainers or default_trainers(backend), -(-left // population))
        with stop_on_signals() as stop:
            _work(database, study, stored, budget, count, population, backend, frame_path, view, stop)
        record = studies.read_study(database, options.name)
        return RunResult(record=record, already_finished=False, interrupted=stop.count > 0)
    finally:
        view.close()
        database.close()


def _stored(database: Database, name: str) -> StudyRecord | None:
    """The study of that name. A database without tables stays as it is until there is a study to store."""
    if not holds_tables(database):
        return None
    upgrade(database)
    return studies.read_study(database, name) if studies.find_study(database, name) else None


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise StudyError(f"{name} must be at least 1, got {value}; use --{name} 1")


def _budget(stored: StudyRecord | None, trials: int | None) -> int:
    if stored is None:
        return trials or DEFAULT_TRIALS
    if trials is not None and trials < stored.budget:
        raise StudyError(
            f"a study's budget can only grow: {stored.name!r} has {stored.budget} trials, got {trials}; "
            f"use --trials {stored.budget} or more"
        )
    return trials or stored.budget


def _check_frame(study: ResolvedStudy, frame_path: Path | None) -> None:
    if study.spec.data.kind == "frame" and frame_path is None:
        raise StudyError(
            f"study {study.spec.name!r} was made from a data frame, which is not stored; "
            f"resume it with hpo.tune(frame, ...)"
        )


def _work(
    database: Database,
    study: ResolvedStudy,
    stored: StudyRecord | None,
    budget: int,
    trainer_count: int,
    population: int,
    backend: str,
    frame_path: Path | None,
    view: ProgressView,
    stop: StopRequest,
) -> None:
    """Start trainers and, beside them, prepare the data; store a new study once its data is known to be good."""
    started = time.monotonic()

    def show_preparation() -> None:
        seconds = time.monotonic() - started
        view.update(Snapshot(study=study.spec.name, phase="preparing data", budget=budget, seconds=seconds))
        if stop.count:
            raise KeyboardInterrupt

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpo-")))
        if stored is not None:
            study_id, worker_id = stored.id, _register(database, stored.id, stack)
            studies.extend_study(database, study_id, budget)
        show_preparation()
        # One core is left to the data, so that data and first trainer are ready at the same time.
        beside = max(1, trainer_count - 1)
        trainers = [_trainer(number, backend, stack) for number in range(beside)]
        facts = prepare_data(study.spec, folder, frame_path, show_preparation)
        trainers += [_trainer(number, backend, stack) for number in range(beside, trainer_count)]
        if stored is None:
            for note in facts["notes"]:
                view.message(f"note: {note}")
            spec = study.spec.model_dump(mode="json")
            upgrade(database)
            try:
                study_id = studies.create_study(database, study.spec.name, spec, facts, environment(backend), budget)
            except StudyError:
                # Another process was faster: if it still runs, that is what to say.
                if other := studies.find_study(database, study.spec.name):
                    _register(database, other.id, stack)
                raise
            worker_id = _register(database, study_id, stack)
        session = Session(
            database=database,
            study=study,
            record=studies.read_study(database, study.spec.name),
            worker_id=worker_id,
            folder=folder,
            trainers=trainers,
            view=view,
            stop=stop,
            started=started,
            population=population,
        )
        session.work()


def _trainer(number: int, backend: str, stack: ExitStack) -> Trainer:
    """A trainer that lives until the stack unwinds."""
    trainer = Trainer(number, backend)
    stack.callback(trainer.kill)
    return trainer


def _register(database: Database, study_id: int, stack: ExitStack) -> str:
    """Register this process as the study's worker until the stack unwinds, and take over what dead ones left."""
    worker_id = workers.start_worker(database, study_id, host=socket.gethostname(), pid=os.getpid())
    stack.callback(workers.stop_worker, database, worker_id)
    workers.requeue_orphans(database, study_id)
    return worker_id
