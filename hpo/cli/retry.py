"""The command retry."""

import shlex
from typing import Annotated

import typer
from hpo_storage.urls import database_url

from hpo.cli.errors import NO_RESULT, CommandLine, complain
from hpo.cli.options import AsJson, Storage, StudyName, opened
from hpo.cli.output import write_json, write_text
from hpo.errors import written
from hpo.words import count_text


def retry(
    study: StudyName,
    storage: Storage = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Only those whose reason holds this text.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Give failed trials new attempts, with the same parameters, once what made them fail is mended."""
    from hpo_storage.studies import read_study

    from hpo.report.answer import next_command
    from hpo.study import lifecycle
    from hpo.study.standing import failure_reasons

    with opened(storage) as database:
        opened_again = lifecycle.retry(database, study, reason)
        record = read_study(database, study)
    usual, _ = next_command(record)
    step = written(usual, CommandLine(database_url(storage)))
    if as_json:
        write_json({"study": study, "retried": opened_again, "finished": record.finished, "budget": record.budget})
    elif opened_again:
        write_text(f"{count_text(opened_again, 'trial')} of {study} will be tried again")
        write_text(f"next: {step}")
    if not opened_again:
        reasons = [f"  {count} × {text}" for text, count in failure_reasons(record)]
        which = "" if reason is None else f" for a reason with {shlex.quote(reason)}"
        complain("\n".join([f"no trial of {study} has failed for good{which}", *reasons]))
        return NO_RESULT
    return 0
