"""The command run: create or resume a study, work on it, and say what came out."""

import shlex
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from hpo_storage.records import Limits
from hpo_storage.urls import database_url

from hpo.cli.describe import failure_reasons, summary_json, trials_text, winner_fields
from hpo.cli.errors import INTERRUPTED, NO_RESULT, complain
from hpo.cli.options import (
    AsJson,
    Backend,
    ClassWeights,
    Device,
    LossChoice,
    Method,
    NewStudyName,
    Population,
    Pruner,
    Sampler,
    StopOn,
    Storage,
    Task,
    Trainers,
    with_storage,
    writable,
)
from hpo.cli.output import write_fields, write_json, write_text
from hpo.cli.show import report_path, write_report
from hpo.errors import StudyError
from hpo.study.durations import seconds_of
from hpo.study.facts import Facts
from hpo.words import duration_text

if TYPE_CHECKING:
    from hpo_storage.records import StudyRecord

    from hpo.study.study import StudyOptions
    from hpo.worker.ray import RayOptions
    from hpo.worker.run import RunResult

_DATA, _JUDGE, _SEARCH = "Data", "How trials are judged (fixed for a study)", "Search (fixed for a study)"
_LIMITS = "Limits (90, 10m, 2h, 1d, or none to lift one)"

Executor = Literal["ray"]
_LIMIT_OPTIONS = {"wall time": "--time-limit", "trainer seconds": "--trainer-seconds"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a run works, which is no part of the study."""

    trials: int | None
    trainers: int | None
    population: int | None
    backend: str | None
    device: str | None
    limits: Limits
    here: bool
    ray: "RayOptions | None"
    stores_data: bool


def run(
    study: NewStudyName,
    trials: Annotated[
        int | None,
        typer.Option("--trials", help="Budget of trials; a higher one extends a study. Default: 50."),
    ] = None,
    storage: Storage = None,
    trainers: Trainers = None,
    population: Population = None,
    backend: Backend = None,
    device: Device = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=0,
            help="0: train nothing here, but watch what `hpo worker`s do. With an executor: how many.",
        ),
    ] = 1,
    executor: Annotated[
        Executor | None,
        typer.Option("--executor", help="ray: start the workers on a Ray cluster. Default: this machine works."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Where the report goes. Default: report-STUDY.html."),
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    as_json: AsJson = False,
    time_limit: Annotated[
        str | None,
        typer.Option(
            "--time-limit", metavar="TIME", help="Of the study, from its first trial on.", rich_help_panel=_LIMITS
        ),
    ] = None,
    trainer_seconds: Annotated[
        str | None,
        typer.Option(
            "--trainer-seconds", metavar="TIME", help="Of all trials, added up over trainers.", rich_help_panel=_LIMITS
        ),
    ] = None,
    trial_timeout: Annotated[
        str | None,
        typer.Option(
            "--trial-timeout", metavar="TIME", help="Of one trial, which fails then.", rich_help_panel=_LIMITS
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="CSV or Parquet, or a built-in set.", rich_help_panel=_DATA),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="COLUMN",
            help="The column to predict: classes or a quantity; or labels, with commas between.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option("--task", help="What the target is. Default: auto, by its values.", rich_help_panel=_DATA),
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option("--weight", metavar="COLUMN", help="How much a row counts.", rich_help_panel=_DATA),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="COLUMN", help="Rows that share a value stay together.", rich_help_panel=_DATA),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", metavar="NAME", help="Of a CSV file. Default: utf-8.", rich_help_panel=_DATA),
    ] = None,
    missing_words: Annotated[
        bool | None,
        typer.Option(
            "--missing-words/--no-missing-words",
            help="Whether NA, null, None and the like in a CSV file are missing values. Default: yes.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    store_data: Annotated[
        bool,
        typer.Option(
            "--store-data/--no-store-data",
            help="Put the file into the database, so that workers need no path to it. Default: yes.",
            rich_help_panel=_DATA,
        ),
    ] = True,
    loss: Annotated[
        LossChoice | None,
        typer.Option("--loss", help="Default: auto, the first that goes with the task.", rich_help_panel=_JUDGE),
    ] = None,
    class_weights: Annotated[
        ClassWeights | None,
        typer.Option(
            "--class-weights",
            help="'balanced': rare classes weigh as much as frequent ones in training. Default: none.",
            rich_help_panel=_JUDGE,
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option("--method", help="Resampling. Default: bootstrap.", rich_help_panel=_JUDGE),
    ] = None,
    replicates: Annotated[
        int | None,
        typer.Option("--replicates", help="Resamples per trial. Default: 5.", rich_help_panel=_JUDGE),
    ] = None,
    stop_on: Annotated[
        StopOn | None,
        typer.Option(
            "--stop-on",
            help="Rows for early stopping; 'score' makes the estimate optimistic. Default: stop.",
            rich_help_panel=_JUDGE,
        ),
    ] = None,
    max_epochs: Annotated[
        int | None, typer.Option("--max-epochs", help="Default: 200.", rich_help_panel=_JUDGE)
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", help="Epochs without improvement. Default: 10.", rich_help_panel=_JUDGE),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            metavar="NAME",
            help="Search space: a name, or package.module:NAME. Default: mlp.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    sampler: Annotated[Sampler | None, typer.Option("--sampler", help="Default: tpe.", rich_help_panel=_SEARCH)] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of all randomness. Default: 0.", rich_help_panel=_SEARCH)
    ] = None,
    racing: Annotated[
        bool | None,
        typer.Option("--racing/--no-racing", help="Drop trials that lose on few replicates.", rich_help_panel=_SEARCH),
    ] = None,
    pruner: Annotated[
        Pruner | None,
        typer.Option("--pruner", help="What ends a trial by its curve. Default: curve.", rich_help_panel=_SEARCH),
    ] = None,
    no_pruning: Annotated[
        bool, typer.Option("--no-pruning", help="The same as --pruner none.", rich_help_panel=_SEARCH)
    ] = False,
) -> int:
    """Tune: create a study or resume it, until its budget of trials is used up.

    The first Ctrl-C gives the trials that run 30 seconds to finish, the second stops at once; resuming redoes the rest.
    """
    if report is not None or not no_report:
        writable(report or report_path(study), "--report")
    from hpo.study.study import StudyOptions

    if no_pruning and pruner not in (None, "none"):
        raise StudyError(f"a study has one pruner, got --no-pruning and --pruner {pruner}; use one of them")
    options = StudyOptions(
        name=study,
        data=data,
        target=target,
        encoding=encoding,
        missing_words=missing_words,
        task=task,
        loss=loss,
        weight=weight,
        class_weights=class_weights,
        space=space,
        method=method,
        replicates=replicates,
        group=group,
        stop_on=stop_on,
        max_epochs=max_epochs,
        patience=patience,
        sampler=sampler,
        seed=seed,
        racing=racing,
        pruner="none" if no_pruning else pruner,
    )
    settings = Settings(
        trials=trials,
        trainers=trainers,
        population=population,
        backend=backend,
        device=device,
        limits=Limits(
            wall_seconds=_seconds(time_limit, "--time-limit"),
            trainer_seconds=_seconds(trainer_seconds, "--trainer-seconds"),
            trial_seconds=_seconds(trial_timeout, "--trial-timeout"),
        ),
        here=workers > 0 and executor is None,
        ray=_ray(executor, workers, trainers, population, backend, device),
        stores_data=store_data,
    )
    wanted = None if no_report and report is None else (report or report_path(study))
    return _work(options, settings, database_url(storage), wanted, report is not None, as_json)


def _ray(
    executor: str | None,
    workers: int,
    trainers: int | None,
    population: int | None,
    backend: str | None,
    device: str | None,
) -> "RayOptions | None":
    """What Ray is to start; None where this machine works or watches."""
    if executor is None:
        if workers > 1:
            raise StudyError(
                f"a run is one worker of its study, got --workers {workers}; use --executor ray, or `hpo worker`"
            )
        return None
    if device is not None:
        raise StudyError(f"workers on Ray train on the cores that it gives them, got --device {device}; leave it out")
    from hpo.worker.ray import RayOptions

    return RayOptions(workers=workers, trainers=trainers or 1, population=population, backend=backend)


def _seconds(text: str | None, option: str) -> float | None:
    return None if text is None else seconds_of(text, option)


def _work(
    options: "StudyOptions", settings: Settings, url: str, report: Path | None, report_always: bool, as_json: bool
) -> int:
    """Run the study; unless `report_always`, only a run that saw the study through writes a report."""
    from hpo.worker.run import run as supervise
    from hpo.worker.views import make_view

    started = time.monotonic()
    view = make_view(sys.stderr if as_json else sys.stdout)
    try:
        result = supervise(options, url=url, view=view, **{f.name: getattr(settings, f.name) for f in fields(settings)})
    except KeyboardInterrupt:
        typer.echo("interrupted before a trial began; the same command starts again", err=True)
        return INTERRUPTED
    seconds = time.monotonic() - started
    news = not (result.already_finished or _broken_off(result))
    path = write_report(result.record, report, url) if report and (news or report_always) else None
    if as_json:
        _conclude_json(result, seconds, path)
    else:
        _conclude(result, seconds, path, url)
    return _code(result)


def _broken_off(result: "RunResult") -> bool:
    """Whether the run was interrupted before the study was over."""
    study = result.record
    return result.interrupted and study.finished < study.budget and study.limit_reached is None


def _code(result: "RunResult") -> int:
    if _broken_off(result):
        return INTERRUPTED
    if result.record.best is None:
        complain(_no_result(result.record))
        return NO_RESULT
    return 0


def _no_result(study: "StudyRecord") -> str:
    reasons = [f"  {count} × {reason}" for reason, count in failure_reasons(study)]
    return "\n".join([f"{study.name} has no result, as none of its {study.finished} trials came through:", *reasons])


def _conclude_json(result: "RunResult", seconds: float, path: Path | None) -> None:
    write_json(
        {
            **summary_json(result.record),
            "limit_reached": result.record.limit_reached,
            "already_finished": result.already_finished,
            "interrupted": _broken_off(result),
            "seconds": round(seconds, 3),
            "report": str(path) if path else None,
        }
    )


def _conclude(result: "RunResult", seconds: float, path: Path | None, url: str) -> None:
    study = result.record
    write_text(_headline(result, seconds))
    winner = winner_fields(study, study.best) if study.best else {}
    write_fields({"trials": trials_text(study), **winner})
    for note in Facts.from_json(study.facts).notes:
        write_text(f"note: {note}")
    if path is not None:
        write_text(f"report: {path}")
    for index, command in enumerate(_next_commands(result, path, url)):
        write_text(f"{'next:' if index == 0 else '     '} {command}")


def _headline(result: "RunResult", seconds: float) -> str:
    study = result.record
    limit = f"its {study.limit_reached} is used up" if study.limit_reached else ""
    if result.already_finished:
        return f"{study.name} is {f'over, as {limit}' if limit else 'already finished'}; nothing was done"
    if _broken_off(result):
        how = "goes on without this command" if study.running else "was interrupted"
        return f"{study.name} {how} after {duration_text(seconds)}"
    return f"{study.name} is {f'over, as {limit},' if limit else 'finished'} after {duration_text(seconds)}"


def _next_commands(result: "RunResult", path: Path | None, url: str) -> list[str]:
    from hpo.report.answer import next_command

    study = result.record
    usual, _ = next_command(study)
    if study.limit_reached:
        usual = shlex.join(["hpo", "run", "--study", study.name, _LIMIT_OPTIONS[study.limit_reached], "none"])
    look = ["plot", "history"] if path else ["report"]
    show = [] if study.best is None else [shlex.join(["hpo", *look, "--study", study.name])]
    return [with_storage(command, url) for command in (usual, *show)]
