"""Fault 48: Python arguments of any kind. What has a plain meaning works, all else is an InputError that names it."""

import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hpo
from hpo import api
from hpo.errors import InputError
from hpo.spaces import Float, SearchSpace

ROWS = 40
X = np.stack([np.arange(ROWS) % 7, np.arange(ROWS) % 3], axis=1)
LABELS = np.array(["a", "b"] * (ROWS // 2))
FRAME = pd.DataFrame({0: X[:, 0], 1: X[:, 1], 3: LABELS})


@contextmanager
def asked(*data, **settings):
    """What `tune` and `create_study` make of their arguments: a request, and the frame that was handed over."""
    both = [*data, None, None][:2]
    with api._request(*both, settings.pop("study", "s"), settings) as request:
        yield request, None if request.frame is None else pd.read_parquet(request.frame)


@pytest.mark.parametrize(
    ("data", "target", "named", "inputs"),
    [
        (X, LABELS, "target", 2),
        (X, pd.Series(LABELS, name="plan"), "plan", 2),
        (X, LABELS[:, None], "target", 2),
        (X.astype(np.float32), np.arange(ROWS) * 1.5, "target", 2),
        (X, np.stack([LABELS == "a", X[:, 0] > 2], axis=1), "y0,y1", 2),
        (pd.DataFrame(X, columns=["p", "q"]), LABELS, "target", 2),
        (pd.DataFrame(X, columns=["p", "q"], index=range(100, 100 + ROWS)), pd.Series(LABELS), "target", 2),
        (X, list(LABELS), "target", 2),
        (pd.DataFrame(X, columns=["a", "q"]), list(LABELS), "target", 2),
        (X, [[True, False]] * ROWS, "y0,y1", 2),
        (FRAME, 3, "3", 2),
        (FRAME, np.int64(3), "3", 2),
        (FRAME, [3], "3", 2),
        (FRAME, (3,), "3", 2),
        (FRAME, pd.Index([3]), "3", 2),
        (FRAME, "3", "3", 2),
    ],
)
def test_fault_48_data_and_target_with_a_plain_meaning(data, target, named, inputs):
    with asked(data, target) as (request, frame):
        targets = named.split(",")
        assert request.given["target"] == named
        assert set(targets) <= set(frame.columns)
        assert frame.drop(columns=targets).shape == (ROWS, inputs)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"trials": "3"}, 3),
        ({"trials": 3.0}, 3),
        ({"trials": np.int64(3)}, 3),
        ({"trials": np.float32(3)}, 3),
        ({"trials": np.array(3)}, 3),
    ],
)
def test_fault_48_numbers_with_a_plain_meaning(settings, expected):
    with asked("iris", "target", **settings) as (request, _):
        assert request.work.trials == expected
        assert type(request.work.trials) is int


def test_fault_48_other_settings_with_a_plain_meaning(tmp_path, monkeypatch):
    with asked(Path("iris"), np.str_("target"), patience="7", min_delta="0.5", racing="no") as (request, _):
        assert request.given == {"data": "iris", "target": "target", "patience": 7, "min_delta": 0.5, "racing": False}
    given = {"racing": np.bool_(False), "missing_words": 1, "time_limit": np.float64(9), "trial_timeout": " 2H "}
    with asked("wine", "target", **given) as (request, _):
        assert request.given["racing"] is False
        assert request.given["missing_words"] is True
        assert (request.work.time_limit, request.work.trial_timeout) == (9.0, 7200.0)
    monkeypatch.chdir(tmp_path)
    study = hpo.create_study(X, LABELS, trials="3", storage=Path("own.db"), progress=False)
    assert (study.budget, hpo.open_study(study.name, "own.db")) == (3, study)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"trials": "three"}, "trials must be a whole number from 1 to 2147483647, got 'three'"),
        ({"trials": 2.5}, "trials"),
        ({"trials": True}, "trials"),
        ({"trials": [3]}, "trials"),
        ({"trials": float("nan")}, "trials"),
        ({"patience": b"3"}, "patience"),
        ({"min_delta": "a bit"}, "min_delta"),
        ({"min_delta": float("inf")}, "min_delta"),
        ({"racing": "perhaps"}, "racing"),
        ({"racing": 2}, "racing"),
        ({"storage": 5}, "URL or an SQLite file, got a value of type int"),
        ({"storage": ["a.db"]}, "URL or an SQLite file"),
        ({"study": 5}, "a study name must be"),
        ({"study": ["x"]}, "a study name must be"),
        ({"space": 5}, "space"),
        ({"space": object()}, "space must be a name, or package.module:NAME"),
        ({"sampler": None, "pruner": 3}, "pruner must be one of"),
        ({"class_weights": {"a": 1}}, "class_weights must be one of"),
        ({"encoding": 8}, "encoding"),
        ({"weight": ["a", "b"]}, "weight must be the name of a column, got ['a', 'b']"),
        ({"group": object()}, "group"),
        ({"time_limit": [1]}, "time_limit"),
        ({"time_limit": float("nan")}, "time_limit"),
        ({"device": ["0"]}, "device"),
        ({"epochs": 3}, "'epochs'; did you mean max_epochs"),
        ({"nonsense": 3}, "'nonsense'"),
    ],
)
def test_fault_48_settings_without_a_meaning_are_named(tmp_path, monkeypatch, settings, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(named)):
        hpo.tune("iris", "target", progress=False, **settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "target", "named"),
    [
        (X, "y", "data must be a data frame of pandas or polars"),
        (X, None, "data must be"),
        (X, LABELS[:-1], "a target for each row, got 39 for 40 rows"),
        (FRAME, 7, "'7'"),
        (FRAME, True, "target"),
        (FRAME, {"a": 1}, "target"),
        (FRAME, b"3", "target"),
        (FRAME, object(), "target"),
        (FRAME, [], "target"),
        (FRAME, [[3]], "target"),
        (pd.DataFrame(X, columns=["target", "q"]), LABELS, "'target' in both"),
        ([1, 2], "x", "list"),
        (5, "x", "int"),
        (b"iris", "x", "bytes"),
        (
            np.zeros((2, 2, 2)),
            np.zeros(2),
            "2 dimensions (rows, columns), got a ndarray of shape (2, 2, 2); reshape it",
        ),
        (FRAME, None, "a target column is needed, got none; use target with one of: 0, 1, 3"),
        (None, None, "a new study needs data, got none; give data and target, or a stored study"),
        (X, ["a"] * 7, "a target for each row, got 7 for 40 rows"),
    ],
)
def test_fault_48_data_and_targets_without_a_meaning_are_named(tmp_path, monkeypatch, data, target, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(named)):
        hpo.tune(data, target, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: hpo.open_study(5), "a study name must be"),
        (lambda: hpo.open_study("x", storage=5), "URL or an SQLite file"),
        (lambda: hpo.extend_study("x", "many", storage="x.db"), "trials must be a whole number"),
        (lambda: hpo.limit_study("x", time_limt=3), "time_limt"),
        (lambda: hpo.limit_study("x", trials=3), "trials"),
        (lambda: hpo.delete_study(None), "a study name must be"),
        (lambda: hpo.open_study("x", storage=FRAME), "URL or an SQLite file, got a value of type DataFrame"),
        (lambda: hpo.open_study(FRAME), "got a DataFrame of shape (40, 3)"),
        (lambda: SearchSpace(name="s", dimensions=(Float("x", 0, 1),), architecture=len), "write MlpSpace(..."),
    ],
)
def test_fault_48_the_other_functions(tmp_path, monkeypatch, call, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(named)):
        call()
    assert list(tmp_path.iterdir()) == []
