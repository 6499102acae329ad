"""The Python API: what is exported, how frames are stored and named, and what a study offers."""

import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hpo_spaces import load_space
from hpo_storage.records import StudyRecord, TrialState

import hpo
from hpo import api
from hpo.data.fingerprint import file_sha256
from hpo.data.frames import write_frame
from hpo.errors import DataError, InputError, SpaceError, StudyError, StudyNotFoundError
from hpo.study.resolve import request
from hpo.worker import run as worker_run
from tests.helpers.databases import upgraded_file
from tests.helpers.processes import run_python
from tests.helpers.records import make_study, make_trial

DOCUMENT = Path(__file__).parents[1] / "docs" / "python-api.md"
HEAVY = (
    "keras",
    "tensorflow",
    "pandas",
    "pyarrow",
    "sklearn",
    "optuna",
    "sqlalchemy",
    "plotly",
    "numpy",
    "typer",
)


def make_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [31, 45, None, 22],
            "city": ["Oslo", None, "Zürich", "a\x00b"],
            "paid": [True, False, True, True],
            "plan": pd.Categorical(["b", "a", "b", "a"], categories=["a", "b", "c"]),
            "since": pd.to_datetime(["2020-01-01", "2021-02-03", None, "2022-05-06"]),
            7: np.array([1.5, 2.5, np.nan, np.inf], dtype=np.float32),
            "churned": ["y", "n", "y", "n"],
        }
    )


def study_of(*values: float | None) -> StudyRecord:
    """One trial per value, of a budget of five; None stands for a failed one."""
    return make_study(*(make_trial(number, value) for number, value in enumerate(values)), budget=5)


def test_what_is_exported():
    functions = ["create_study", "delete_study", "extend_study", "limit_study", "open_study", "retry_study"]
    functions += ["backup", "tune", "upgrade"]
    assert set(hpo.__all__) == {"Best", "Study", "__version__", "errors", *functions}
    assert list(hpo.__all__) == sorted(hpo.__all__)
    assert set(hpo.__all__) <= set(dir(hpo))
    assert [getattr(hpo, name).__name__ for name in hpo.__all__ if name != "__version__"] == [
        *("Best", "Study", "backup", "create_study", "delete_study", "hpo.errors"),
        *("extend_study", "limit_study", "open_study", "retry_study", "tune", "upgrade"),
    ]
    assert re.fullmatch(r"\d+\.\d+\.\d+", hpo.__version__)
    with pytest.raises(AttributeError, match="'tuen'"):
        hpo.tuen  # noqa: B018


@pytest.mark.parametrize("name", ["__version__", "errors.InputError", "tune"])
def test_one_import_gives_all_names(name):
    run_python(f"import hpo; hpo.{name}", check=True)


@pytest.mark.parametrize("code", ["import hpo", "import hpo; hpo.__version__", "import hpo; hpo.tune"])
def test_importing_loads_nothing_heavy(code):
    check = f"; import sys; sys.exit(str([name for name in {HEAVY} if name in sys.modules] or '') or None)"
    done = run_python(code + check)
    assert (done.returncode, done.stderr) == (0, "")


def test_equal_frames_give_the_same_bytes(tmp_path):
    first = write_frame(make_frame(), tmp_path / "a.parquet").read_bytes()
    again = make_frame().set_index(pd.Index(list("wxyz"), name="who"))
    again.attrs["note"] = "not data"
    assert write_frame(again, tmp_path / "b.parquet").read_bytes() == first


def test_other_processes_give_the_same_bytes(tmp_path):
    path = tmp_path / "frame.csv"
    pd.DataFrame({"x": range(100), "y": ["a", "b"] * 50}).to_csv(path, index=False)
    code = (
        "import sys, pandas as pd; from pathlib import Path; from hpo.data.frames import write_frame\n"
        "write_frame(pd.read_csv(sys.argv[1]), Path(sys.argv[2]))"
    )
    digests = set()
    for seed in ("1", "2"):
        target = tmp_path / f"{seed}.parquet"
        run_python(code, path, target, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        digests.add(file_sha256(target))
    assert len(digests) == 1


@pytest.mark.parametrize("change", ["value", "name", "order", "kind"])
def test_other_frames_give_other_bytes(tmp_path, change):
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})
    first = write_frame(frame, tmp_path / "a.parquet").read_bytes()
    other = {
        "value": frame.assign(x=[1.0, 3.0]),
        "name": frame.rename(columns={"x": "z"}),
        "order": frame[["y", "x"]],
        "kind": frame.astype({"x": int}),
    }[change]
    assert write_frame(other, tmp_path / "b.parquet").read_bytes() != first


def test_a_stored_frame_is_read_back(tmp_path):
    frame = make_frame()
    back = pd.read_parquet(write_frame(frame, tmp_path / "a.parquet"))
    assert list(back.columns) == [str(name) for name in frame.columns]
    assert back["city"].isna().tolist() == [False, True, False, False]
    assert back["plan"].astype(str).tolist() == ["b", "a", "b", "a"]
    assert back["age"].tolist()[:2] == [31.0, 45.0]


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (np.zeros((3, 2)), "ndarray"),
        ({1}, "set"),
        (None, "NoneType"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "'x'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "'1'"),
        (pd.DataFrame({"x": [1, "a", object()]}), "x"),
        (pd.DataFrame({"big": [2**70, 1]}), "big"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, monkeypatch, data, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=re.escape(named)):
        hpo.tune(data, target="x")
    assert list(tmp_path.iterdir()) == []


def test_derived_names_tell_data_and_settings_apart(tmp_path):
    path = write_frame(pd.DataFrame({"x": [1.0], "y": ["a"]}), tmp_path / "a.parquet")

    def named(data=path, frame=None, target="y", **settings):
        return api._derived_name(request("unnamed", frame=frame, data=data, target=target, **settings))

    names = [
        named(),
        named(seed=1),
        named(replicates=4),
        named(target="x"),
        named(encoding="cp1252"),
        named(missing_words=False),
        named(task="regression"),
        named(loss="gaussian"),
        named(weight="w"),
        named(class_weights="balanced"),
        named(method="kfold"),
        named(group="g"),
        named(stop_on="score"),
        named(max_epochs=20),
        named(patience=5),
        named(sampler="random"),
        named(racing=False),
        named(pruner="none"),
        named("wine"),
        named("iris"),
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"tune-[0-9a-f]{8}", name) for name in names)
    assert named(None, path) == names[0]
    assert named(space="mlp", seed=0, replicates=5, encoding="UTF8", missing_words=True) == names[0]
    assert named(task="auto", loss="auto", class_weights="none") == names[0]
    assert named(seed=np.int64(0), replicates=np.int64(5)) == names[0]
    assert named(max_epochs=np.int64(20)) == named(max_epochs=20)
    assert named(method="bootstrap", max_epochs=200, sampler="tpe", racing=True, pruner="curve") == names[0]


def test_names_stay_derived_as_they_were(tmp_path):
    """Or else a script that is run again would begin a new study."""
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,a\n")
    settings = {"target": "y", "space": "mlp", "seed": 0, "replicates": 5}
    parts = [file_sha256(path), settings, load_space("mlp").describe()]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    assert api._derived_name(request("unnamed", data=path, target="y")) == f"tune-{digest[:8]}"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"study": "../x"}, StudyError),
        ({"study": ""}, StudyError),
        ({"space": "nonsense"}, SpaceError),
        ({"trials": 0}, StudyError),
        ({"data": "nowhere.csv"}, DataError),
        ({"replicates": 0}, StudyError),
        ({"encoding": "klingon"}, StudyError),
        ({"encoding": "cp1252"}, StudyError),
        ({"missing_words": False}, StudyError),
        ({"task": "guess"}, StudyError),
        ({"class_weights": "heavy"}, StudyError),
        ({"loss": "squared_error"}, DataError),
        ({"pruner": "median"}, StudyError),
        ({"max_epochs": 0}, StudyError),
        ({"group": "grupp"}, DataError),
        ({"weight": "wight"}, DataError),
        ({"target": []}, StudyError),
        ({"target": ["target", "alcohol"]}, DataError),
        ({"study": "\ud800"}, StudyError),
    ],
)
def test_unusable_settings_raise_input_errors(tmp_path, monkeypatch, changes, error):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as raised:
        hpo.tune(**{"data": "wine", "target": "target", "progress": False, **changes})
    assert isinstance(raised.value, InputError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_not_given_is_the_stored_studys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"target": "target", "study": "iris", "storage": Path("team.db"), "progress": False, "trainers": 1}
    first = hpo.tune("iris", trials=2, seed=3, replicates=2, max_epochs=15, pruner="none", **settings)
    assert (first.finished, first.budget) == (2, 2)
    assert hpo.tune("iris", **settings) == first
    for more, named in (({"seed": 0}, "stored 3, now 0"), ({"replicates": 5}, "now 5"), ({"trials": 1}, "only grow")):
        with pytest.raises(hpo.errors.StudyError, match=named):
            hpo.tune("iris", **settings, **more)
    assert hpo.tune("iris", trials=3, **settings).finished == 3
    assert hpo.open_study("iris", "team.db").budget == 3


@pytest.mark.slow
def test_a_frame_is_stored_with_its_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_STORAGE", "team.db")
    frame = pd.DataFrame({"x": range(60), "label": ["a", "b"] * 30})
    settings = {"study": "f", "trials": 1, "replicates": 1, "trainers": 1, "progress": False}
    first = hpo.tune(frame, "label", trial_timeout="5m", **settings)
    assert first.finished == 1
    more = worker_run.run(request("f", trials=2, trainers=1), url="sqlite:///team.db").record
    assert (more.finished, more.limits.trial_seconds) == (2, 300.0)
    assert hpo.open_study("f")._record.trials[:1] == first._record.trials
    assert hpo.open_study("f").finished == 2


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"time_limit": 0}, "time_limit must be a time above 0"),
        ({"trial_timeout": "soon"}, "trial_timeout must be"),
        ({"workers": 2}, "a run is one worker of its study, got workers=2"),
    ],
)
def test_settings_that_are_refused(tmp_path, monkeypatch, settings, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match=named):
        hpo.tune("iris", "target", **settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_limit_ends_a_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"study": "x", "objective": "synthetic", "sleep": 0.3, "replicates": 1, "trainers": 1, "progress": False}
    study = hpo.tune(trials=100, time_limit=1.5, **settings)
    assert 0 < study.finished < 100
    assert study.limit_reached == "wall time"
    assert hpo.tune(**settings) == study
    assert hpo.tune(time_limit="none", trials=100, trainer_seconds=1, **settings).limit_reached


def test_a_study_is_made_changed_and_deleted_without_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_STORAGE", "team.db")
    settings = {"study": "x", "objective": "synthetic", "progress": False}
    made = hpo.create_study(trials=3, time_limit="2h", **settings)
    assert (made.name, made.budget, made.finished) == ("x", 3, 0)
    assert made == hpo.open_study("x")
    with pytest.raises(StudyError, match="'x'"):
        hpo.create_study(trials=3, **settings)
    hpo.extend_study("x", 5)
    hpo.limit_study("x", time_limit="none", trial_timeout=90)
    changed = hpo.open_study("x")
    assert changed.budget == 5
    assert (changed._record.limits.wall_seconds, changed._record.limits.trial_seconds) == (None, 90.0)
    with pytest.raises(StudyError, match="can only grow: 'x' has 5 trials, got 4; use trials=5 or more"):
        hpo.extend_study("x", 4)
    with pytest.raises(StudyError, match="a study's limits can be changed, got max_epochs"):
        hpo.limit_study("x", max_epochs=3)
    assert (hpo.retry_study("x"), hpo.retry_study("x", "out of memory")) == (0, 0)
    with pytest.raises(StudyError, match="a reason is a text"):
        hpo.retry_study("x", 3)
    hpo.delete_study("x")
    for action in (
        hpo.open_study,
        hpo.delete_study,
        hpo.retry_study,
        hpo.limit_study,
        lambda name: hpo.extend_study(name, 9),
    ):
        with pytest.raises(StudyNotFoundError, match="'x'"):
            action("x")


def test_tables_are_made_on_demand(tmp_path):
    hpo.upgrade(tmp_path / "new.db")
    assert hpo.backup(tmp_path / "copy.db", tmp_path / "new.db") == tmp_path / "copy.db"
    with pytest.raises(hpo.errors.StorageError, match="must be a new file"):
        hpo.backup(tmp_path / "copy.db", tmp_path / "new.db")
    with pytest.raises(StudyNotFoundError):
        hpo.open_study("x", tmp_path / "new.db")


def test_best_is_the_winner():
    best = api.Study(study_of(0.5, None, 0.25, 0.75)).best
    assert (best.number, best.value, best.standard_error) == (2, 0.25, 0.01)
    assert best.replicates == pytest.approx((0.24, 0.26))
    assert best.params == {"dropout": 0.1, "activation": "elu"}
    assert best.network["widths"] == [20, 10]


@pytest.mark.parametrize(("values", "reason"), [((), "no trial has begun"), ((None, None), "loss was not finite")])
def test_without_a_result_there_is_no_best(values, reason):
    study = api.Study(study_of(*values))
    with pytest.raises(StudyError, match=reason):
        study.best  # noqa: B018
    assert len(study.trials_frame()) == len(values)


def test_a_study_is_short_to_show_and_holds_no_url():
    study = api.Study(study_of(0.5))
    assert repr(study) == "<hpo.Study 'churn': 1 of 5 trials>"
    assert pickle.loads(pickle.dumps(study)) == study
    with pytest.raises(AttributeError):
        study.name = "other"


def test_trials_as_a_frame():
    frame = api.Study(study_of(0.5, None)).trials_frame()
    assert frame["state"].tolist() == ["complete", "failed"]
    assert frame["value"].isna().tolist() == [False, True]
    assert frame["activation"].tolist() == ["elu", "elu"]
    assert frame["replicates"].tolist() == [2, 0]
    assert str(frame["started"].dtype).endswith("UTC]")


def test_parameters_called_like_a_column_are_told_apart():
    study = study_of(0.5)
    params = {"value": 0.25, "state": "solid", "params_value": 3, "dropout": 0.1}
    frame = api.Study(replace(study, trials=(replace(study.trials[0], params=params),))).trials_frame()
    assert frame.columns.is_unique
    assert (frame["value"][0], frame["state"][0]) == (0.5, "complete")
    named = ["params_params_value", "params_state", "params_value", "dropout"]
    assert frame[named].iloc[0].tolist() == list(params.values())


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (None, "path must be the path of an HTML file, got None; give one"),
        (3, "path must be the path of an HTML file, got 3"),
        ("no/such/folder/r.html", "path must name a file in a folder that exists, got 'no/such/folder/r.html'"),
        ("r.txt", "path must name an HTML file, got 'r.txt'; end it with .html"),
        ("a\0b.html", "path must name a file in a folder"),
    ],
)
def test_a_report_goes_where_one_can_be(tmp_path, monkeypatch, place, said):
    monkeypatch.chdir(tmp_path)
    study = hpo.create_study(objective="synthetic", study="s", trials=1, progress=False, storage="hpo.db")
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        study.report(place)
    assert caught.value.setting == "path"
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".db"] == []
    assert study.report(tmp_path / "r.html").is_file()


def test_plots_are_those_of_the_report():
    with pytest.raises(InputError, match=r"history.*'pie'"):
        api.Study(study_of(0.5)).plot("pie")


def test_raced_out_trials_never_win():
    study = study_of(0.5, 0.25)
    raced = replace(study, trials=(study.trials[0], replace(study.trials[1], state=TrialState.RACED_OUT)))
    assert api.Study(raced).best.number == 0


def test_a_study_that_is_not_there(tmp_path):
    url = upgraded_file(tmp_path / "hpo.db")
    with pytest.raises(StudyNotFoundError, match="'wine'"):
        hpo.open_study("wine", url)
    with pytest.raises(StudyError, match="1 to 100 letters"):
        hpo.open_study("\x1b", url)


@pytest.mark.slow
def test_the_documented_example_runs_and_running_it_again_resumes(tmp_path):
    text = DOCUMENT.read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    script = tmp_path / "script.py"
    script.write_text(example + "print(len(frame_of_trials), path, type(figure).__name__)\n")
    first, second = (
        subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
        for _ in range(2)
    )
    assert first.returncode == 0, first.stderr
    assert "10/10 trial" in first.stderr
    assert first.stdout.splitlines()[-1].startswith("10 ")
    assert first.stdout.splitlines()[-1].endswith(" Figure")
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert "trial" not in second.stderr


def test_a_study_file_says_what_is_not_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    file = Path("sub/study.toml")
    file.write_text('study = "s"\nstorage = "s.db"\nobjective = "synthetic"\ntrials = 4\nseed = 3')
    study = hpo.create_study(config=file, trials=2, progress=False)
    assert (study.name, study.budget) == ("s", 2)
    assert hpo.open_study("s", "sub/s.db").name == "s"
    assert hpo.create_study(config=str(file), storage="other.db", study="t", progress=False).budget == 4
    with pytest.raises(StudyError, match=r"got 's', which this database has already.*\(sub/study.toml, line 1\)"):
        hpo.create_study(config=file, progress=False)
