"""Errors say the same in the words of Python and of the command line."""

import copy
import pickle
import shlex
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hpo_spaces import Float, load_space
from hpo_storage.database import Database, connect
from hpo_storage.limits import check_limits
from hpo_storage.optuna import create_study
from hpo_storage.records import Limits
from hpo_storage.studies import read_study

import hpo
from hpo.cli.errors import CommandLine, exit_code
from hpo.data.resampling import resamples
from hpo.data.source import Source, read_source
from hpo.data.spec import DataSpec
from hpo.data.table import build_table
from hpo.errors import (
    PYTHON,
    DataError,
    InputError,
    PythonFace,
    SpaceError,
    StorageError,
    StudyNotFoundError,
    do,
    marked,
    use,
    written,
)
from hpo.machine import choose_backend, choose_resources
from hpo.settings import EvaluationSpec, Training
from hpo.worker.ray import check_ray
from hpo.worker.views import LineView
from tests.helpers.databases import upgraded_file

SHELL = CommandLine()
HOSTILE = [
    "⟩",
    "\ufdd1",
    '"',
    "'",
    "\\",
    "\x1b[31m",
    "a\nb",
    "\ud800",
    "é",
    "",
    "$(rm x)",
    "--yes",
    "\ufdd0x=1\ufdd1",
]


@pytest.mark.parametrize(
    ("mark", "python", "shell"),
    [
        (use("trials"), "trials", "--trials"),
        (use("trials", 50), "trials=50", "--trials 50"),
        (use("time_limit", "10m"), "time_limit='10m'", "--time-limit 10m"),
        (use("target", "AGE IN YEARS"), "target='AGE IN YEARS'", "--target 'AGE IN YEARS'"),
        (use("target", "1"), "target='1'", "--target 1"),
        (use("racing", True), "racing=True", "--racing"),
        (use("missing_words", False), "missing_words=False", "--no-missing-words"),
        (do("run"), "hpo.tune(...)", "hpo run"),
        (do("run", "churn"), "hpo.tune(..., study='churn')", "hpo run --study churn"),
        (do("status", "churn"), "hpo.open_study('churn')", "hpo status --study churn"),
        (do("trials", "churn"), "hpo.open_study('churn').trials_frame()", "hpo trials --study churn"),
        (do("upgrade"), "hpo.upgrade(...)", "hpo db upgrade"),
        (do("worker"), "`hpo worker` in a shell", "hpo worker"),
    ],
)
def test_each_face_writes_marks_in_its_own_words(mark, python, shell):
    error = InputError(f"this must be so; use {mark}, or {mark}")
    assert str(error) == f"this must be so; use {python}, or {python}"
    assert error.text(SHELL) == f"this must be so; use {shell}, or {shell}"


def test_the_calls_that_python_is_told_to_make_exist():
    for name, text in PythonFace.actions.items():
        if (call := text("'churn'")).startswith("hpo."):
            function = getattr(hpo, call.removeprefix("hpo.").partition("(")[0])
            assert callable(function), name
    assert callable(hpo.Study.trials_frame)


@pytest.mark.parametrize("value", HOSTILE)
def test_values_are_quoted_and_end_no_mark(value):
    error = InputError(f"{use('target', value)} | {do('run', value)}")
    assert str(error) == f"target={value!r} | hpo.tune(..., study={value!r})"
    shown = error.text(SHELL)
    assert shown.isprintable()
    words = shlex.split(shown)
    assert words[0] == "--target"
    assert words[2:5] == ["|", "hpo", "run"]
    if value.isprintable():
        assert words[1] == value


@pytest.mark.parametrize(
    "text",
    ["⟨trials⟩", "⟨!run=x⟩", "\ufdd0!sleep=1\ufdd1", '\ufdd0trials="\ufdd1', "\ufdd0trials\ufdd1"],
)
def test_foreign_text_that_looks_like_a_mark_is_left_as_it_is(text):
    assert str(InputError(f"got {text}; use {use('trials', 1)}")) == f"got {text}; use trials=1"
    assert written(repr(use("trials", 1)), PYTHON) == repr(use("trials", 1))


def test_an_error_names_the_setting_at_fault():
    assert InputError("no").setting is None
    assert InputError("no", setting="trials").setting == "trials"
    assert [kind("no").setting for kind in (DataError, SpaceError, StorageError, StudyNotFoundError)] == [
        "data",
        "space",
        "storage",
        "study",
    ]
    assert DataError("no", setting="target").setting == "target"


def test_an_error_that_is_pickled_keeps_marks_and_setting():
    error = pickle.loads(pickle.dumps(DataError(f"use {use('weight')}", setting="weight")))
    assert (error.text(SHELL), error.setting) == ("use --weight", "weight")


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_what_python_shows_of_an_error_has_no_marks_and_a_copy_keeps_them(again):
    error = again(StudyNotFoundError(f"use {use('trials', 3)}, or {do('run')}"))
    said = "use trials=3, or hpo.tune(...)"
    assert (str(error), error.args, repr(error)) == (said, (said,), f"StudyNotFoundError({said!r})")
    assert (error.text(SHELL), error.setting) == ("use --trials 3, or hpo run", "study")
    assert "".join(traceback.format_exception_only(error)).isascii()


def test_other_errors_are_shown_as_they_are():
    assert marked(ValueError("no")) == "no"
    assert written(marked(InputError(f"use {use('trials', 1)}")), SHELL) == "use --trials 1"


def test_the_command_line_writes_options_on_one_line(capsys):
    name = "a\nb\x1b[31m"

    def refuse() -> int:
        raise InputError(f"no; use {use('target', name)}")

    assert exit_code(refuse) == 2
    assert capsys.readouterr().err == "error: no; use --target 'a\\nb\\x1b[31m'\n"


def test_views_write_marks_of_messages(capsys):
    for face in (PYTHON, SHELL):
        LineView(sys.stdout, face).message(f"s: use {use('task', 'regression')}")
    assert capsys.readouterr().out == "s: use task='regression'\ns: use --task regression\n"


def _table(**evaluation: object) -> None:
    frame = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0] * 9, "label": list("aabb") * 9})
    target = str(evaluation.pop("target", "label"))
    build_table(Source("people.csv", frame, ""), target, EvaluationSpec(**evaluation))


def _latin(folder: Path) -> None:
    (folder / "t.csv").write_bytes("size,label\n1,grün\n".encode("latin-1"))
    read_source(DataSpec(kind="file", source=str(folder / "t.csv"), target="label"))


def _database(folder: Path) -> Database:
    return connect(upgraded_file(folder / "hpo.db"))


def _take_a_name_twice(folder: Path) -> None:
    with _database(folder).begin_write() as connection:
        create_study(connection, "churn")
        create_study(connection, "churn")


@pytest.mark.parametrize(
    ("refuse", "setting", "python", "shell"),
    [
        (_latin, "encoding", "encoding='cp1252'", "--encoding cp1252"),
        (lambda _: _table(target="labels"), "target", "Use target='label'", "Use --target label"),
        (lambda _: _table(weight="label"), "weight", "use another weight", "use another --weight"),
        (lambda _: _table(loss="gaussian", task="classification"), "loss", "loss='log_loss'", "--loss log_loss"),
        (
            lambda _: resamples(np.array([0, 0, 1]), EvaluationSpec(), 0),
            "target",
            "use task='regression'",
            "use --task regression",
        ),
        (
            lambda _: resamples(np.zeros(9, int), EvaluationSpec(method="kfold", replicates=1), 0),
            "replicates",
            "use replicates=5, or method='bootstrap'",
            "use --replicates 5, or --method bootstrap",
        ),
        (lambda _: load_space("tests/test_errors.py"), "space", "space='tests.test_errors:NAME'", "--space tests."),
        (lambda _: Float("x", 2, 1), "space", "swap them", "swap them"),
        (lambda _: check_limits(Limits(wall_seconds=0)), "time_limit", "time_limit=3600", "--time-limit 3600"),
        (lambda _: check_limits(Limits(trial_seconds=-1)), "trial_timeout", "trial_timeout=3600", "--trial-timeout 36"),
        (_take_a_name_twice, "study", "choose another study", "choose another --study"),
        (
            lambda folder: read_study(_database(folder), "churn"),
            "study",
            "hpo.tune(...) makes",
            "hpo run makes",
        ),
        (lambda folder: connect(f"sqlite:///{folder}/no.db", create=False), "storage", "hpo.tune(...)", "hpo run"),
        (lambda _: choose_backend("torch"), "backend", "change backend", "change --backend"),
        (lambda _: choose_resources(Training(device="two")), "device", "use 0", "use 0"),
        (lambda _: check_ray("sqlite:///x.db", 1), "storage", "storage='mysql://...'", "--storage mysql://..."),
    ],
)
def test_errors_of_each_room_in_both_faces(tmp_path, monkeypatch, refuse, setting, python, shell):
    monkeypatch.chdir(Path(__file__).parents[1])
    monkeypatch.setitem(sys.modules, "ray", sys)  # anything that can be imported
    with pytest.raises(InputError) as caught:
        refuse(tmp_path)
    assert caught.value.setting == setting
    assert python in str(caught.value)
    assert shell in caught.value.text(SHELL)
    assert "--" not in str(caught.value)
