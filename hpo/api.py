"""The Python API: tune a table, open a stored study, look at either."""

import hashlib
import json
import os
import sys
import tempfile
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_storage.urls import STORAGE_VARIABLE, database_url

from hpo.errors import DataError, InputError, StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import plotly.graph_objects as go
    from hpo_storage.records import Limits, StudyRecord, TrialRecord

    from hpo.study.study import StudyOptions
    from hpo.worker.progress import ProgressView

    Duration = str | float
    Location = str | PathLike[str]
    Data = pd.DataFrame | Location

NAME_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Best:
    """The winner of a study.

    `value` is its mean loss (`Study.loss_name`) over `replicates`, one loss each; `standard_error` is over them,
    None for a single one. `network` holds facts: {"parameters": 1234, "widths": [..], "batch_size": 32}.
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
        """The best trial with all its replicates; StudyError where there is none."""
        trial = self._record.best
        if trial is None or trial.value is None:
            reasons = "; ".join(sorted({t.reason for t in self._record.trials if t.reason})) or "none has run"
            raise StudyError(f"a winner needs a trial with all its replicates, and {self.name!r} has none ({reasons})")
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
            row = _trial_row(trial)
            columns = parameter_columns(names, row)
            rows.append({**row, **{columns[name]: value for name, value in trial.params.items()}})
        return pd.DataFrame(rows)

    def report(self, path: str | PathLike[str]) -> Path:
        """Write the report, one HTML file that needs no network, and return its path."""
        from hpo.report.page import write_report

        return write_report(self._record, Path(path))

    def plot(self, name: str) -> "go.Figure":
        """One of the report's figures: history, curves, importances, slice, parallel or timeline."""
        from hpo.report.figures import FIGURES

        if name not in FIGURES:
            raise InputError(f"a plot must be one of {', '.join(FIGURES)}, got {name!r}; choose one of them")
        return FIGURES[name](self._record)


def _trial_row(trial: "TrialRecord") -> dict[str, Any]:
    from hpo.study.facts import TrialInfo

    info = TrialInfo.from_json(trial.info)
    return {
        "trial": trial.number,
        "state": trial.state,
        "raced_out": trial.raced_out,
        "value": trial.value,
        "standard_error": trial.standard_error,
        "replicates": len(trial.replicates),
        "reason": trial.reason,
        "started": trial.started,
        "finished": trial.finished,
        "weights": info.parameters,
        "widths": list(info.widths) or None,
    }


def tune(
    data: "Data",
    target: "str | Sequence[str]",
    *,
    study: str | None = None,
    trials: int | None = None,
    space: str | None = None,
    seed: int | None = None,
    replicates: int | None = None,
    encoding: str | None = None,
    missing_words: bool | None = None,
    task: str | None = None,
    loss: str | None = None,
    weight: str | None = None,
    class_weights: str | None = None,
    method: str | None = None,
    group: str | None = None,
    stop_on: str | None = None,
    max_epochs: int | None = None,
    patience: int | None = None,
    sampler: str | None = None,
    racing: bool | None = None,
    pruner: str | None = None,
    storage: "Location | None" = None,
    trainers: int | None = None,
    population: int | None = None,
    backend: str | None = None,
    time_limit: "Duration | None" = None,
    trainer_seconds: "Duration | None" = None,
    trial_timeout: "Duration | None" = None,
    workers: int = 1,
    progress: bool = True,
) -> Study:
    """Tune an MLP that predicts column `target`, or several labels, and return the study.

    `data` is a data frame (its index is not used), the path of a CSV or Parquet file, or the name of a
    built-in set. The study is stored in `storage`, a URL or an SQLite file (default: the variable HPO_STORAGE, or
    else `sqlite:///hpo.db`), and with it the data, so that other workers can help; with `workers=0` only they work,
    and this call waits for them. Limits are seconds or texts such as "10m"; "none" lifts one. The study's
    name derives from data and settings unless given, so that the same call again resumes it, and more `trials`
    extend it. What is None has the stored study's value, or else the default of `hpo run`. Progress goes to
    standard error. Raises InputError for anything unusable, and KeyboardInterrupt after Ctrl-C, when the
    trials that ran are finished and stored.
    """
    from hpo.data.target_names import joined
    from hpo.study.study import StudyOptions

    source = str(data) if isinstance(data, str | PathLike) else None
    options = StudyOptions(
        name=study or "",
        data=source,
        target=joined(target),
        space=space,
        seed=seed,
        replicates=replicates,
        encoding=encoding,
        missing_words=missing_words,
        task=task,
        loss=loss,
        weight=weight,
        class_weights=class_weights,
        method=method,
        group=group,
        stop_on=stop_on,
        max_epochs=max_epochs,
        patience=patience,
        sampler=sampler,
        racing=racing,
        pruner=pruner,
    )
    with tempfile.TemporaryDirectory(prefix="hpo-") as folder:
        frame_path = None if source is not None else write_frame(data, Path(folder) / "frame.parquet")
        if study is None:
            options = replace(options, name=_derived_name(options, frame_path))
        settings = {
            "trials": trials,
            "trainers": trainers,
            "population": population,
            "backend": backend,
            "limits": _limits(time_limit, trainer_seconds, trial_timeout),
            "here": _is_here(workers),
        }
        return _run(options, frame_path, _url(storage), settings, progress)


def open_study(name: str, storage: "Location | None" = None) -> Study:
    """A stored study; StudyNotFoundError names those there are."""
    from hpo_storage.database import connect
    from hpo_storage.studies import read_study

    from hpo.study.spec import check_study_name

    database = connect(_url(storage), create=False)
    try:
        return Study(read_study(database, check_study_name(name)))
    finally:
        database.close()


def write_frame(frame: object, path: Path) -> Path:
    """Write columns and values as Parquet, the same bytes for equal ones, and return the path.

    The index and what else pandas notes are left out. Raises DataError for what is no frame, has repeated
    column names or cannot be stored.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(frame, pd.DataFrame):
        kind = type(frame).__name__
        raise DataError(f"data must be a pandas DataFrame, a path or a built-in name, got {kind}; convert it")
    names = [str(name) for name in frame.columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"column names must differ, got {', '.join(map(repr, repeated))} twice; rename one")
    columns = {}
    for name, (_, column) in zip(names, frame.items(), strict=True):
        try:
            columns[name] = pa.array(column, from_pandas=True)
        except (pa.ArrowException, OverflowError) as error:
            raise DataError(f"a column must hold values of one kind, got {name!r}: {error}; convert it") from None
    pq.write_table(pa.table(columns), path)
    return path


def _derived_name(options: "StudyOptions", frame_path: Path | None) -> str:
    """`tune-` and 8 hexadecimal digits of a hash of the data and the settings that make a study.

    What is not given counts as its default; settings that came later count only where they differ from it.
    """
    from hpo_spaces import load_space

    from hpo.data.fingerprint import BUILTIN_NAMES, file_sha256
    from hpo.data.synthetic import is_synthetic
    from hpo.study.spec import EvaluationSpec, SearchSpec
    from hpo.study.study import DEFAULT_SPACE, special_settings

    source = options.data
    path = frame_path or Path(str(source))
    builtin = source in BUILTIN_NAMES and not path.exists()
    named = frame_path is None and source is not None and (builtin or is_synthetic(source))
    content = source if named else file_sha256(path)
    settings = {
        "target": options.target,
        "space": options.space or DEFAULT_SPACE,
        "seed": SearchSpec().seed if options.seed is None else options.seed,
        "replicates": EvaluationSpec().replicates if options.replicates is None else options.replicates,
        **special_settings(options),
    }
    parts = [content, settings, load_space(settings["space"]).describe()]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=_plain).encode()).hexdigest()
    return f"tune-{digest[:NAME_DIGITS]}"


def _plain(value: object) -> object:
    """Python's own number for one of numpy's; what is neither is refused later, by its name."""
    return value.item() if hasattr(value, "item") else str(value)


def _limits(wall: "Duration | None", trainers: "Duration | None", trial: "Duration | None") -> "Limits":
    from hpo_storage.records import Limits

    from hpo.study.durations import seconds_of

    def seconds(given: "Duration | None", name: str) -> float | None:
        return None if given is None else seconds_of(str(given), name)

    return Limits(
        wall_seconds=seconds(wall, "time_limit"),
        trainer_seconds=seconds(trainers, "trainer_seconds"),
        trial_seconds=seconds(trial, "trial_timeout"),
    )


def _is_here(workers: int) -> bool:
    if workers not in (0, 1):
        raise StudyError(f"workers must be 1, which is this process, or 0, got {workers}; for more run `hpo worker`")
    return workers == 1


def _url(storage: "Location | None") -> str:
    return database_url(storage or os.environ.get(STORAGE_VARIABLE))


def _run(options: "StudyOptions", frame_path: Path | None, url: str, settings: dict[str, Any], progress: bool) -> Study:
    from hpo.worker import run as worker_run

    result = worker_run.run(options, url=url, view=_view(progress), frame_path=frame_path, **settings)
    study = result.record
    if result.interrupted and study.finished < study.budget and study.limit_reached is None:
        raise KeyboardInterrupt
    return Study(study)


def _view(progress: bool) -> "ProgressView":
    from hpo.worker.progress import SilentView
    from hpo.worker.views import make_view

    return make_view(sys.stderr) if progress else SilentView()
