"""The Python API: tune a table, open a stored study, look at either."""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from inspect import Parameter, signature
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from hpo_storage.urls import STORAGE_VARIABLE, database_url

from hpo.errors import DataError, InputError, StorageError, StudyError, do, use
from hpo.settings import SETTINGS
from hpo.words import shown

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from hpo_storage.database import Database
    from hpo_storage.records import StudyRecord, TrialRecord
    from hpo_storage.retry import Patience

    from hpo.objectives.base import StudyRequest
    from hpo.worker.progress import ProgressView

Location = str | PathLike[str]
Keywords = ParamSpec("Keywords")
NAME_DIGITS = 8
_log = logging.getLogger("hpo")
MOST_NAMES = 12


@dataclass(frozen=True, kw_only=True)
class Best:
    """The winner of a study.

    `value` is its mean loss (`Study.loss_name`) over `replicates`, one loss each; `standard_error` is over them,
    None for a single one. `network` holds facts: {"parameters": 1234, "widths": [..], "batch_size": 32}. An objective
    of your own may have values alone.
    """

    number: int
    params: dict[str, Any]
    value: float
    standard_error: float | None
    replicates: tuple[float, ...]
    network: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A study as it was when it was read; `open_study` reads it again."""

    _record: "StudyRecord" = field(repr=False)

    def __repr__(self) -> str:
        return f"<hpo.Study {self.name!r}: {self.finished} of {self.budget} trials>"

    @property
    def name(self) -> str:
        """Its name in the database."""
        return self._record.name

    @property
    def budget(self) -> int:
        """How many trials it is to have."""
        return self._record.budget

    @property
    def finished(self) -> int:
        """How many of them are finished, failed ones included."""
        return self._record.finished

    @property
    def limit_reached(self) -> str | None:
        """The limit that ended it before its trials were used up: "wall time" or "trainer seconds"; None for none."""
        return self._record.limit_reached

    @property
    def loss_name(self) -> str:
        """The loss that trials are judged by: `log loss` (nats), `mean squared error` (in units of the target's
        variance) or `Gaussian NLL` (nats, of the target in units of its deviation)."""
        from hpo.study.facts import Facts

        return Facts.from_json(self._record.facts).loss_name

    @property
    def best(self) -> Best:
        """The best complete trial; StudyError where there is none."""
        from hpo.study.standing import failure_reasons, why_no_winner, winner

        trial = winner(self._record)
        if trial is None or trial.value is None:
            why = "; ".join([why_no_winner(self._record), *(reason for reason, _ in failure_reasons(self._record))])
            raise StudyError(
                f"a winner needs a complete trial, {self.name!r} has none: {why}; see {do('trials', self.name)}",
                setting="study",
            )
        return Best(
            number=trial.number,
            params=dict(trial.params),
            value=trial.value,
            standard_error=trial.standard_error,
            replicates=tuple(r.score_loss for r in trial.replicates if r.score_loss is not None),
            network=dict(trial.info),
        )

    def trials_frame(self) -> "pd.DataFrame":
        """One row per trial: how it ended, its value, its network, and a column per parameter.

        A parameter with the name of another column gets `params_` before it: `params_value`.
        """
        import pandas as pd

        from hpo.study.columns import parameter_columns

        trials = self._record.trials
        names = dict.fromkeys(name for trial in trials for name in trial.params)
        rows = []
        for trial in trials:
            row = _trial_row(self._record, trial)
            columns = parameter_columns(names, row)
            rows.append({**row, **{columns[name]: value for name, value in trial.params.items()}})
        return pd.DataFrame(rows)

    def report(self, path: str | PathLike[str]) -> Path:
        """Write the report, one HTML file that needs no network, and return its path; InputError where it cannot be."""
        from hpo.report.place import page_path

        place = page_path(path, "path")
        from hpo.report.page import write_report

        try:
            return write_report(self._record, place)
        except OSError as error:
            raise InputError(
                f"path must name a file that can be written, got {str(place)!r} ({error.strerror}); choose another",
                setting="path",
            ) from error

    def plot(self, name: str) -> "go.Figure":
        """One of the report's figures: history, curves, importances, slice, parallel or timeline."""
        from hpo.report.figures import FIGURES

        if not isinstance(name, str) or name not in FIGURES:
            raise InputError(
                f"a plot must be one of {', '.join(FIGURES)}, got {shown(name)}; choose one of them", setting="name"
            )
        return FIGURES[name](self._record)


def _trial_row(study: "StudyRecord", trial: "TrialRecord") -> dict[str, Any]:
    from hpo_storage.records import TrialState

    from hpo.study.facts import TrialInfo
    from hpo.study.standing import trial_state

    info = TrialInfo.from_json(trial.info)
    return {
        "trial": trial.number,
        "state": str(trial_state(study, trial)),
        "raced_out": trial.state == TrialState.RACED_OUT,
        "value": trial.value,
        "standard_error": trial.standard_error,
        "replicates": len(trial.replicates),
        "reason": trial.reason,
        "started": trial.started,
        "finished": trial.finished,
        "weights": info.parameters,
        "widths": list(info.widths) or None,
    }


def showing_settings(function: "Callable[Keywords, Study]") -> "Callable[Keywords, Study]":
    """Let a function that takes settings as keywords show them all: to `help`, and where a notebook completes."""
    shown = signature(function)
    named = [p for p in shown.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    settings = [
        Parameter(setting.name, Parameter.KEYWORD_ONLY, default=None, annotation=setting.accepted | None)
        for setting in SETTINGS.values()
        if setting.name not in shown.parameters
    ]
    function.__signature__ = shown.replace(parameters=[*named, *settings])  # type: ignore[attr-defined]
    return function


@showing_settings
def tune(
    data: object = None,
    target: object = None,
    *,
    study: str | None = None,
    storage: Location | None = None,
    config: Location | None = None,
    progress: bool = True,
    **settings: Any,  # noqa: ANN401 - of `hpo.settings`
) -> Study:
    """Tune an MLP that predicts column `target`, or several labels, and return the study.

    `data` is a data frame of pandas or polars (its index is not used), the path of a file with a table, the name of a
    built-in set, a query, or an array or lists of inputs, with an array or a list of outputs for `target`. The study is
    stored in `storage`, a URL or an SQLite file (default: the variable HPO_STORAGE, or else `sqlite:///hpo.db`), and
    with it the data, so that other workers can help; with `workers=0` only they work, and this call waits for them.
    Limits are seconds or texts such as "10m"; "none" lifts one. The study's name derives from data and settings unless
    given, so that the same call again resumes it, and more `trials` extend it. What is None is as the study
    file `config` says; or else it has the stored study's value, or else the default of `hpo run`. Progress goes to
    standard error. Raises InputError for anything unusable, and KeyboardInterrupt after Ctrl-C, when the trials that
    ran are finished and stored.
    """
    from hpo.study.standing import is_over
    from hpo.worker.run import run

    given = {"data": data, "target": target, "study": study, "storage": storage, **settings}
    with _asked(config, given) as (asked_for, place):
        result = run(asked_for, url=_url(place), view=_view(progress))
    if result.interrupted and not is_over(result.record):
        raise KeyboardInterrupt
    return open_study(result.record.name, place)


@showing_settings
def create_study(
    data: object = None,
    target: object = None,
    *,
    study: str | None = None,
    storage: Location | None = None,
    config: Location | None = None,
    progress: bool = True,
    **settings: Any,  # noqa: ANN401 - of `hpo.settings`
) -> Study:
    """Store a study and its data as `tune` does, for others to work on, and return it; StudyError where it is there."""
    from hpo.worker.run import create

    given = {"data": data, "target": target, "study": study, "storage": storage, **settings}
    with _asked(config, given) as (asked_for, place):
        return Study(create(asked_for, url=_url(place), view=_view(progress)))


def open_study(name: str, storage: Location | None = None) -> Study:
    """A stored study; StudyNotFoundError names those there are."""
    from hpo_storage.studies import read_study

    with _opened(name, storage) as database:
        return Study(read_study(database, name))


def extend_study(name: str, trials: int, storage: Location | None = None) -> None:
    """Raise a study's budget to so many trials, for whoever works on it; StudyError where that would lower it."""
    from hpo.study import lifecycle

    budget = SETTINGS["trials"].checked(trials)
    with _opened(name, storage) as database:
        lifecycle.extend(database, name, budget)


def limit_study(name: str, storage: Location | None = None, **limits: object) -> None:
    """Change a study's `time_limit`, `trainer_seconds` or `trial_timeout`; "none" lifts one."""
    from hpo.declaration import Duration, taken
    from hpo.settings import Work, asked
    from hpo.study import lifecycle

    given = asked(limits)
    for setting in given:
        if SETTINGS[setting].type is not Duration:
            raise StudyError(f"a study's limits can be changed, got {setting}; leave it away", setting=setting)
    with _opened(name, storage) as database:
        lifecycle.limit(database, name, taken(Work, given))


def retry_study(name: str, reason: str | None = None, *, storage: Location | None = None) -> int:
    """Give a study's failed trials new attempts, all or those whose reason holds a text, and return how many there are.

    Whoever works on the study makes them; a study that was finished is not any more, and `tune` goes on with it.
    """
    from hpo.study import lifecycle

    if reason is not None and not isinstance(reason, str):
        raise StudyError(f"a reason is a text, as failed trials have one, got {shown(reason)}; leave it away for all")
    with _opened(name, storage) as database:
        return lifecycle.retry(database, name, reason)


def delete_study(name: str, storage: Location | None = None) -> None:
    """Delete a study with all its trials; StudyRunningError where somebody works on it."""
    from hpo.study import lifecycle

    with _opened(name, storage) as database:
        lifecycle.delete(database, name)


def upgrade(storage: Location | None = None) -> None:
    """Make a database's tables, or bring them up to date."""
    from hpo_storage.database import connect
    from hpo_storage.database import upgrade as upgrade_tables

    database = connect(_url(storage), patience=_patience())
    try:
        upgrade_tables(database)
    finally:
        database.close()


def backup(path: str | PathLike[str], storage: "Location | None" = None) -> Path:
    """Copy an SQLite file into a new one, also while it is used, and return the copy's path."""
    from hpo_storage.copies import back_up
    from hpo_storage.database import connect

    if not isinstance(path, str | PathLike):
        raise InputError(f"a copy goes to a file, got a value of type {type(path).__name__}; give its path")
    database = connect(_url(storage))
    try:
        back_up(database, Path(path))
    finally:
        database.close()
    return Path(path)


@contextmanager
def _asked(config: object, given: dict[str, Any]) -> "Iterator[tuple[StudyRequest, Location | None]]":
    """What is asked for and the database; a study file says what is not given."""
    from hpo.study.study_file import filled

    with filled(config, given) as found:
        data, target, name, storage = (found.pop(key, None) for key in ("data", "target", "study", "storage"))
        with _request(data, target, name, found) as asked_for:
            yield asked_for, storage


@contextmanager
def _request(data: object, target: object, name: str | None, settings: dict[str, Any]) -> "Iterator[StudyRequest]":
    """What is asked for; a frame is written to a file that lasts as long as the block."""
    from hpo.data.frames import TARGET, as_frame, with_target, write_frame
    from hpo.handed import with_copy
    from hpo.processes import working_folder
    from hpo.study.resolve import request

    if data is None and target is None and name is None and settings.get("objective") in (None, "mlp"):
        raise DataError(
            f"a new study needs data, got none; give {use('data')} and {use('target')}, or a stored {use('study')}",
            setting="data",
        )
    data, target = with_target(as_frame(data), target)
    columns = getattr(data, "columns", None)
    if columns is not None and target is None and name is None and TARGET not in columns:
        names = ", ".join(repr(column) for column in list(columns)[:MOST_NAMES])
        raise DataError(
            f"a target column is needed, got none; use {use('target')} with one of: {names}", setting="target"
        )
    with working_folder() as folder:
        frame = None
        if data is not None and not isinstance(data, str | PathLike):
            frame, data = write_frame(data, folder / "frame.parquet"), None
        elif data is None and target is not None:
            write_frame(data, folder / "frame.parquet")  # says what data may be
        asked_for = request(name or "unnamed", frame=frame, data=data, target=target, **settings)
        asked_for = with_copy(asked_for, folder)
        if name is None:
            asked_for = replace(asked_for, sha256=_sha256(asked_for))
            asked_for = replace(asked_for, name=_derived_name(asked_for))
        elif not name:
            request(name)  # says what a name may be
        yield asked_for


def _derived_name(asked_for: "StudyRequest") -> str:
    """`tune-` and 8 hexadecimal digits of a hash of the data and the settings that make a study.

    What is not given counts as its default; settings that came later count only where they differ from it.
    """
    from hpo_spaces import load_space

    from hpo.study.resolve import fixed_settings

    given = asked_for.given
    always = {
        "target": given.get("target"),
        **{name: given.get(name, SETTINGS[name].default) for name in ("space", "seed", "replicates")},
    }
    fixed = fixed_settings(asked_for)
    others = {name: value for name, value in fixed.items() if name not in ("data", "data_url", *always)}
    content = asked_for.sha256 or _sha256(asked_for) or given.get("data") or ""
    parts = [content, {**always, **others}, load_space(always["space"]).describe()]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"tune-{digest[:NAME_DIGITS]}"


def _sha256(asked_for: "StudyRequest") -> str | None:
    """The hash of the data; None for a built-in set, or none."""
    from hpo.data.fingerprint import file_sha256
    from hpo.data.teaching_names import builtin_source

    source = asked_for.given.get("data")
    if asked_for.frame is None and (source is None or builtin_source(source) is not None):
        return None
    return file_sha256(asked_for.frame or Path(str(source)))


@contextmanager
def _opened(name: str, storage: Location | None) -> "Iterator[Database]":
    """The database of a study whose name is one."""
    from hpo_storage.database import connect

    from hpo.study.spec import check_study_name

    check_study_name(name)
    database = connect(_url(storage), create=False, patience=_patience())
    try:
        yield database
    finally:
        database.close()


def _patience() -> "Patience":
    from hpo_storage.retry import starting

    return starting(lambda error: _log.info("waiting for the database: %s", error))


def _url(storage: object) -> str:
    is_given = storage is not None and not (isinstance(storage, str) and not storage)
    location = storage if is_given else os.environ.get(STORAGE_VARIABLE)
    if location is not None and not isinstance(location, str | PathLike):
        raise StorageError(
            f"a database is given as a URL or an SQLite file, got a value of type {type(location).__name__}; "
            f"use {use('storage', 'team.db')}",
            setting="storage",
        )
    return database_url(location)


def _view(progress: bool) -> "ProgressView":
    from hpo.worker.progress import SilentView
    from hpo.worker.views import make_view

    return make_view(sys.stderr) if progress else SilentView()
