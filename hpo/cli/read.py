"""Commands that read: status, list, best and trials."""

from typing import TYPE_CHECKING

from hpo_storage.urls import database_url

from hpo.cli.describe import (
    best_json,
    list_json,
    parameters,
    status_fields,
    status_json,
    time_text,
    trial_json,
    widths_text,
    winner_fields,
)
from hpo.cli.errors import NO_RESULT, CommandLine, complain
from hpo.cli.options import AsJson, Storage, StudyName, opened, read, shown_storage
from hpo.cli.output import Column, to_terminal, write_fields, write_json, write_lines, write_table, write_text
from hpo.study.columns import parameter_columns
from hpo.study.facts import Facts, TrialInfo
from hpo.study.standing import study_state, trial_state, waiting, why_no_winner, winner
from hpo.words import duration_text, loss_text

if TYPE_CHECKING:
    from hpo_storage.records import StudyRecord, TrialRecord


_LIST_HEADER = ("study", "state", "budget", "finished", "best_value", "created")
_TRIAL_HEADER = (
    *("trial", "state", "value", "standard_error", "replicates", "seconds", "started"),
    *("widths", "parameters", "reason"),
)


def status(study: StudyName, storage: Storage = None, as_json: AsJson = False) -> int:
    """Show how far a study is and what it is made of."""
    from hpo_storage.activity import read_activity
    from hpo_storage.studies import read_overview, trainer_seconds

    with opened(storage) as database:
        overview = read_overview(database, study)
        why, url = waiting(overview, read_activity(database, overview.id, overview.name)), database_url(storage)
        if as_json:
            write_json(status_json(overview, why, url))
        else:
            write_fields(status_fields(overview, trainer_seconds(database, overview.id), why, url))
    return 0


def list_(storage: Storage = None, as_json: AsJson = False) -> int:
    """List the studies of a database."""
    from hpo_storage.studies import list_studies

    with opened(storage) as database:
        studies = list_studies(database)
    if as_json:
        write_json([list_json(study) for study in studies])
    elif not to_terminal():
        rows = [list_json(study) for study in studies]
        write_lines([_LIST_HEADER, *([row[name] for name in _LIST_HEADER] for row in rows)])
    elif not studies:
        url = database_url(storage)
        write_text(f"no studies in {shown_storage(url)}; make one with: {CommandLine(url).action('run', 'mlp')}")
    else:
        write_table(
            [
                Column(title="study", cells=[study.name for study in studies]),
                Column(title="state", cells=[study_state(study) for study in studies]),
                Column(title="trials", cells=[f"{s.finished}/{s.budget}" for s in studies], right=True),
                Column(title="best loss", cells=[loss_text(s.best_value) for s in studies], right=True),
                Column(title="created", cells=[time_text(study.created) for study in studies], spare=1),
            ]
        )
    return 0


def best(study: StudyName, storage: Storage = None, as_json: AsJson = False) -> int:
    """Show the winner: the best trial with all its replicates."""
    from hpo_storage.studies import read_overview

    with opened(storage) as database:
        record = read_overview(database, study)
    found = winner(record)
    if as_json:
        write_json(best_json(record))
    elif found is not None:
        write_fields(winner_fields(record, found))
    if found is None:
        see = CommandLine(database_url(storage)).action("trials", study)
        complain(f"{study} has no winner: {why_no_winner(record)}; see {see}")
        return NO_RESULT
    return 0


def trials(study: StudyName, storage: Storage = None, as_json: AsJson = False) -> int:
    """Show all trials: a table, or in a pipe tab-separated lines with every number in full."""
    record = read(storage, study)
    if as_json:
        write_json([trial_json(record, trial) for trial in record.trials])
    elif not to_terminal():
        write_lines(_trial_lines(record))
    elif not record.trials:
        write_text(f"{study} has no trials yet")
    else:
        best = winner(record)
        shown = [column for column in _trial_columns(record) if any(column.cells)]
        write_table(shown, marked=record.trials.index(best) if best else None)
    return 0


def _trial_columns(study: "StudyRecord") -> list[Column]:
    trials = study.trials
    values = [parameters(trial) for trial in trials]
    names = list(dict.fromkeys(name for texts in values for name in texts))
    times = [trial.seconds for trial in trials]
    loss_name = Facts.from_json(study.facts).loss_name
    return [
        Column(title="#", cells=[str(trial.number) for trial in trials], right=True),
        Column(title="state", cells=[trial_state(study, trial) for trial in trials]),
        Column(title=loss_name, cells=[loss_text(trial.value) for trial in trials], right=True),
        Column(title="±", cells=[_error_text(trial) for trial in trials], right=True, spare=2),
        *(_parameter_column(name, [texts.get(name, "") for texts in values]) for name in names),
        Column(title="network", cells=[widths_text(trial) for trial in trials], spare=4),
        Column(title="time", cells=["" if t is None else duration_text(t) for t in times], right=True, spare=3),
        Column(title="note", cells=[trial.reason or "" for trial in trials], spare=5),
    ]


def _parameter_column(name: str, cells: list[str]) -> Column:
    return Column(title=name.replace(" ", "\n", 1), cells=cells, right=True, spare=1)


def _error_text(trial: "TrialRecord") -> str:
    return "" if trial.standard_error is None else loss_text(trial.standard_error)


def _trial_lines(study: "StudyRecord") -> list[list[object]]:
    names = list(dict.fromkeys(name for trial in study.trials for name in trial.params))
    rows: list[list[object]] = [[*_TRIAL_HEADER, *parameter_columns(names, _TRIAL_HEADER).values()]]
    for trial in study.trials:
        count = len(trial.replicates)
        row = [
            trial.number,
            trial_state(study, trial),
            trial.value,
            trial.standard_error,
            count,
            trial.seconds,
        ]
        about = [trial.started, widths_text(trial), TrialInfo.from_json(trial.info).parameters, trial.reason]
        rows.append([*row, *about, *(trial.params.get(name) for name in names)])
    return rows
