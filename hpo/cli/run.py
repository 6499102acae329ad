"""The command run: create or resume a study, work on it, and say what came out."""

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.describe import failure_reasons, summary_json, trials_text, winner_fields
from hpo.cli.errors import INTERRUPTED, NO_RESULT, complain
from hpo.cli.options import (
    AsJson,
    Method,
    NewStudyName,
    Sampler,
    StopOn,
    Storage,
    storage_url,
    with_storage,
    writable,
)
from hpo.cli.output import write_fields, write_json, write_text
from hpo.cli.show import report_path, write_report
from hpo.report.texts import duration_text

if TYPE_CHECKING:
    from hpo.study.study import StudyOptions
    from hpo.worker.supervisor import RunResult
    from storage.records import StudyRecord

_DATA, _JUDGE, _SEARCH = "Data", "How trials are judged (fixed for a study)", "Search (fixed for a study)"


def run(
    study: NewStudyName,
    trials: Annotated[
        int | None,
        typer.Option("--trials", help="Budget of trials; a higher one extends a study. Default: 50."),
    ] = None,
    storage: Storage = None,
    trainers: Annotated[
        int | None, typer.Option("--trainers", help="Trainer processes. Default: one per core.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Where the report goes. Default: report-STUDY.html."),
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    as_json: AsJson = False,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="CSV or Parquet, or a built-in set.", rich_help_panel=_DATA),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="COLUMN", help="The column to predict: classes.", rich_help_panel=_DATA),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="COLUMN", help="Rows that share a value stay together.", rich_help_panel=_DATA),
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
    pruning: Annotated[
        bool | None,
        typer.Option("--pruning/--no-pruning", help="Drop trials with hopeless curves.", rich_help_panel=_SEARCH),
    ] = None,
) -> int:
    """Tune: create a study or resume it, until its budget of trials is used up.

    The first Ctrl-C finishes the trials that run, the second stops at once; the study can be resumed.
    """
    if report is not None or not no_report:
        writable(report or report_path(study), "--report")
    from hpo.study.study import StudyOptions

    options = StudyOptions(
        name=study,
        data=data,
        target=target,
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
        pruning=pruning,
    )
    wanted = None if no_report and report is None else (report or report_path(study))
    return _work(options, storage_url(storage), trials, trainers, wanted, report is not None, as_json)


def _work(
    options: "StudyOptions",
    url: str,
    trials: int | None,
    trainers: int | None,
    report: Path | None,
    report_always: bool,
    as_json: bool,
) -> int:
    """Run the study; unless `report_always`, only a run that used up the budget writes a report."""
    from hpo.worker.supervisor import run as supervise
    from hpo.worker.views import make_view

    started = time.monotonic()
    view = make_view(sys.stderr if as_json else sys.stdout)
    try:
        result = supervise(options, url=url, trials=trials, trainers=trainers, view=view)
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
    """Whether the run was interrupted before the budget was used up."""
    return result.interrupted and result.record.finished < result.record.budget


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
    for note in study.facts.get("notes", []):
        write_text(f"note: {note}")
    if path is not None:
        write_text(f"report: {path}")
    for index, command in enumerate(_next_commands(result, path, url)):
        write_text(f"{'next:' if index == 0 else '     '} {command}")


def _headline(result: "RunResult", seconds: float) -> str:
    name = result.record.name
    if result.already_finished:
        return f"{name} is already finished; nothing was done"
    return f"{name} {'was interrupted' if _broken_off(result) else 'is finished'} after {duration_text(seconds)}"


def _next_commands(result: "RunResult", path: Path | None, url: str) -> list[str]:
    from hpo.report.answer import next_command

    study = result.record
    usual, _ = next_command(study)
    look = ["plot", "history"] if path else ["report"]
    show = [] if study.best is None else [shlex.join(["hpo", *look, "--study", study.name])]
    return [with_storage(command, url) for command in (usual, *show)]
