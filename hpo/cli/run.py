"""The command run: create or resume a study, work on it, and say what came out."""

import shlex
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from hpo_storage.urls import database_url

from hpo.cli.describe import summary_json, trials_text, winner_fields
from hpo.cli.errors import INTERRUPTED, NO_RESULT, CommandLine, complain, tell
from hpo.cli.options import (
    AsJson,
    Config,
    NewStudyName,
    Storage,
    StudyFilePath,
    read,
    with_storage,
)
from hpo.cli.output import write_fields, write_json, write_text
from hpo.cli.settings import with_settings
from hpo.cli.show import report_path, write_report
from hpo.errors import StudyError, use, written
from hpo.report.place import page_path
from hpo.settings import SETTINGS
from hpo.study.facts import Facts
from hpo.study.standing import failure_reasons, is_over, why_no_winner, winner
from hpo.words import duration_text

if TYPE_CHECKING:
    from hpo_storage.records import StudyOverview

    from hpo.objectives.base import StudyRequest
    from hpo.worker.run import RunResult


@with_settings(SETTINGS.values())
def run(
    context: typer.Context,
    file: StudyFilePath = None,
    config: Config = None,
    study: NewStudyName = None,
    storage: Storage = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Where the report goes. Default: report-STUDY.html."),
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    as_json: AsJson = False,
    no_pruning: Annotated[bool, typer.Option("--no-pruning", help="The same as --pruner none.")] = False,
    **settings: Any,  # noqa: ANN401 - options of all settings
) -> int:
    """Tune: create a study or resume it, until its budget of trials is used up.

    The first Ctrl-C gives the trials that run 30 seconds to finish, the second stops at once; resuming redoes the rest.
    """
    from hpo.study.resolve import request
    from hpo.study.study_file import filled

    pruner = _pruner(settings["pruner"], no_pruning)
    given = {"study": study, "storage": _typed(context, storage), **settings, "pruner": pruner}
    with ExitStack() as stack:
        found = stack.enter_context(filled(_one_file(file, config), given))
        name, place = _name(found.pop("study", None)), found.pop("storage", None) or storage
        context.obj.url = url = database_url(place)
        if report is not None or not no_report:
            page_path(report or report_path(name), "report")
        asked_for = request(name, **found)
        wanted = None if no_report and report is None else (report or report_path(name))
        if "data" in asked_for.given or "data_url" in asked_for.given:
            from hpo.handed import with_copy
            from hpo.processes import working_folder

            asked_for = with_copy(asked_for, stack.enter_context(working_folder()))
        return _work(asked_for, url, wanted, report is not None, as_json)


def _pruner(given: str | None, no_pruning: bool) -> str | None:
    if no_pruning and given not in (None, "none"):
        raise StudyError(f"a study has one pruner, got --no-pruning and --pruner {given}; use one of them")
    return "none" if no_pruning else given


def _one_file(file: str | None, config: str | None) -> str | None:
    """The study file that is given by itself or as an option."""
    if file is not None and config is not None:
        raise StudyError(f"a run takes one study file, got {file!r} and --config {config}; use one of them")
    if file is not None and not file.endswith(".toml"):
        raise StudyError(
            f"what stands by itself is a study file, whose name ends in .toml, got {file!r}; "
            f"use {use('config', file)} for a file, or {use('study', file)} for a study; see hpo run --help"
        )
    return file or config


def _typed(context: typer.Context, storage: str | None) -> str | None:
    """The database, unless it comes from the environment: a study file says more than that."""
    source = context.get_parameter_source("storage")
    return None if source is not None and source.name == "ENVIRONMENT" else storage


def _name(name: str | None) -> str:
    if name is None:
        raise StudyError(
            f"a study needs a name, got none; give {use('study', 'NAME')}, or a study file that has one; "
            f"see hpo run --help"
        )
    return name


def _work(
    asked_for: "StudyRequest",
    url: str,
    report: Path | None,
    report_always: bool,
    as_json: bool,
) -> int:
    """Run the study; unless `report_always`, only a run that saw the study through writes a report."""
    from hpo.worker.run import run as see_through
    from hpo.worker.views import make_view

    started = time.monotonic()
    view = make_view(sys.stderr if as_json else sys.stdout, CommandLine(url))
    try:
        result = see_through(asked_for, url=url, view=view)
    except KeyboardInterrupt:
        tell("interrupted before a trial began; the same command starts again")
        return INTERRUPTED
    seconds = time.monotonic() - started
    news = not (result.already_finished or _broken_off(result))
    path = write_report(read(url, asked_for.name), report, url) if report and (news or report_always) else None
    if as_json:
        _conclude_json(result, seconds, path)
    else:
        _conclude(result, seconds, path, url)
    return _code(result, url)


def _broken_off(result: "RunResult") -> bool:
    """Whether the run was interrupted before the study was over."""
    study = result.record
    return result.interrupted and not is_over(study)


def _code(result: "RunResult", url: str) -> int:
    if _broken_off(result):
        return INTERRUPTED
    if winner(result.record) is None:
        complain(_no_result(result.record, url))
        return NO_RESULT
    return 0


def _no_result(study: "StudyOverview", url: str) -> str:
    reasons = [f"  {count} × {reason}" for reason, count in failure_reasons(study)]
    said = f"{study.name} has no result: {why_no_winner(study)}{':' if reasons else ''}"
    again = f"once that is mended, for new attempts: {CommandLine(url).action('retry', study.name)}"
    return "\n".join([said, *reasons, *([again] if reasons else [])])


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
    best = winner(study)
    write_fields({"trials": trials_text(study), **(winner_fields(study, best) if best else {})})
    for note in Facts.from_json(study.facts).notes:
        write_text(f"note: {written(note, CommandLine(url))}")
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
    # Where a limit is used up, workers may still end their last trials: there is nothing to wait for.
    usual, _ = next_command(replace(study, running=study.running and study.limit_reached is None))
    look = ["plot", "history"] if path else ["report"]
    show = [] if winner(study) is None else [with_storage(shlex.join(["hpo", *look, "--study", study.name]), url)]
    return [written(usual, CommandLine(url)), *show]
