"""Commands on workers: worker serves studies, workers lists who does."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from hpo_storage.urls import database_url

from hpo.cli.describe import time_text
from hpo.cli.errors import NO_RESULT, CommandLine, complain
from hpo.cli.options import (
    AsJson,
    OptionalStudyName,
    Storage,
    opened,
    shown_storage,
)
from hpo.cli.output import Column, to_terminal, write_json, write_lines, write_table, write_text
from hpo.cli.settings import with_settings
from hpo.declaration import settings_of, taken
from hpo.settings import Terms, Training
from hpo.words import count_text, duration_text

if TYPE_CHECKING:
    from hpo_storage.records import WorkerRecord

_HEADER = (
    *("host", "pid", "role", "study", "device", "backend", "trainers", "running", "finished"),
    *("trials_per_hour", "started", "last_seen", "alive", "note"),
)


@with_settings((*settings_of(Training), *settings_of(Terms)))
def worker(
    storage: Storage = None,
    study: OptionalStudyName = None,
    **settings: Any,  # noqa: ANN401 - options of what trains here, and until when
) -> int:
    """Serve the studies of a database: train their trials, beside any number of other workers.

    The first SIGTERM or Ctrl-C gives the trials that run some time to finish, the second gives them back at once.
    """
    from hpo.processes import end_if_launched
    from hpo.worker.signals import stop_on_signals

    end_if_launched()
    with stop_on_signals() as stop:  # before what takes a second to load: an orchestrator may stop us at any time
        from hpo.worker.serve import serve
        from hpo.worker.views import make_view

        given = {name: value for name, value in settings.items() if value is not None}
        terms, training = taken(Terms, given), taken(Training, given)
        url = database_url(storage)
        view = make_view(sys.stdout, CommandLine(url))
        served = serve(terms, training, url=url, view=view, stop=stop, study=study)
    write_text(f"this worker has ended, with {count_text(served.finished, 'trial')} finished")
    if terms.once and served.left:
        complain(f"left undone, as this worker cannot work on it: {', '.join(served.left)}")
        return NO_RESULT
    return 0


def workers(
    storage: Storage = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    as_json: AsJson = False,
) -> int:
    """List who works on the studies of a database: runs and workers, where, with what, and how fast."""
    from hpo_storage.workers import list_workers

    with opened(storage) as database:
        records = list_workers(database, alive_only=not all_)
    rows = [{name: getattr(record, name) for name in _HEADER} for record in records]
    if as_json:
        write_json(rows)
    elif not to_terminal():
        write_lines([_HEADER, *(list(row.values()) for row in rows)])
    elif not records:
        url = database_url(storage)
        write_text(f"nobody works on {shown_storage(url)}; start one with: {CommandLine(url).action('worker', None)}")
    else:
        write_table(_columns(records))
        for record in records:
            if record.note:
                write_text(f"{record.host}:{record.pid}: {record.note}")
    return 0


def _columns(records: "list[WorkerRecord]") -> list[Column]:
    return [
        Column(title="host", cells=[f"{record.host}:{record.pid}" for record in records]),
        Column(title="role", cells=[record.role for record in records], spare=3),
        Column(title="study", cells=[record.study or "-" for record in records]),
        Column(title="device", cells=[record.device for record in records], spare=1),
        Column(title="backend", cells=[record.backend for record in records], spare=2),
        Column(title="trainers", cells=[str(record.trainers) for record in records], right=True, spare=4),
        Column(title="running", cells=[str(record.running) for record in records], right=True),
        Column(title="finished", cells=[str(record.finished) for record in records], right=True),
        Column(title="per hour", cells=[f"{record.trials_per_hour:.0f}" for record in records], right=True),
        Column(title="last seen", cells=[_last_seen(record) for record in records]),
    ]


def _last_seen(record: "WorkerRecord") -> str:
    if not record.alive:
        return f"ended {time_text(record.last_seen)}"
    from datetime import UTC, datetime

    return f"{duration_text(max(0.0, (datetime.now(UTC) - record.last_seen).total_seconds()))} ago"
