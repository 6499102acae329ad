"""`hpo run`: what it refuses before it works, what it says at the end, how it is interrupted and resumed."""

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import optuna
import pytest
from hpo_spaces import load_space

from hpo.data.fingerprint import file_sha256
from hpo.data.spec import DataSpec
from hpo.study.spec import SpaceSpec
from hpo.study.standing import winner
from tests.helpers.fleet import CLI
from tests.helpers.tables import csv_text

SPACE = """
from hpo.network.architecture import Architecture
from hpo_spaces import Categorical, Float, Integer, LogFloat, MlpSpace, Ordered

def build(params):
    return Architecture(
        widths=(8,), activation="relu", initializer="he_normal", dropout=0.0,
        learning_rate=float(params.get("learning_rate", 0.01)), batch_size=32,
    )

SPACE = MlpSpace(name="mine", dimensions=({dimensions},), architecture=build)
"""


def write_space(folder: Path, module: str, dimensions: str) -> str:
    (folder / f"{module}.py").write_text(SPACE.format(dimensions=dimensions))
    return f"{module}:SPACE"


def test_a_finished_study_says_so_and_changes_nothing(bench, hpo):
    bench.add("wine", ["complete", "raced out", "failed"])
    before, files = bench.read("wine"), set(bench.folder.glob("*.html"))
    ended = hpo("run", "--study", "wine")
    assert ended.code == 0
    assert "wine is already finished; nothing was done\ntrials\t3 of 3: " in ended.out
    assert "next: hpo run --study wine --trials 6" in ended.out
    assert bench.read("wine") == before
    assert set(bench.folder.glob("*.html")) == files


def test_a_finished_study_needs_no_backend(bench, hpo, monkeypatch):
    """A Keras user may have set the variable for another purpose."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    bench.add("wine", ["complete"])
    assert hpo("run", "--study", "wine").code == 0
    ended = hpo("run", "--study", "wine", "--trials", "9")
    assert ended.code == 2
    assert "the backend must be one of" in ended.err


def test_ray_takes_no_device(bench, hpo):
    ended = hpo("run", "--study", "new", "--data", "wine", "--executor", "ray", "--device", "0")
    assert ended.code == 2
    assert "got --device 0; leave it out" in ended.err


def test_fault_59_sources_that_cannot_be_read_are_told_in_the_words_of_the_command_line(bench, hpo):
    for source, reason in (
        ("sql:SELECT 1", "a query needs a database that answers it; give --data-url sqlite:///FILE"),
        ("https://example.org/a.csv", "got the address https://example.org/a.csv; download it first"),
        ("xor:row=3", "the options of xor are rows, noise, seed, got 'row=3'; did you mean rows=...?"),
    ):
        ended = hpo("run", "--study", "new", "--data", source, "--target", "y")
        assert ended.code == 2
        assert reason in ended.err


def test_a_finished_study_as_json(bench, hpo):
    bench.add("wine", ["complete"])
    ended = hpo("run", "--study", "wine", "--json")
    shown = json.loads(ended.out)
    assert ended.code == 0
    assert shown["already_finished"]
    assert not shown["interrupted"]
    assert shown["best"]["value"] == winner(bench.read("wine")).value
    assert shown["report"] is None


def test_next_commands_name_the_database(bench, hpo):
    bench.add("wine", ["complete"])
    Path("hpo.db").rename("my studies.db")
    ended = hpo("run", "--study", "wine", "--storage", "my studies.db")
    assert "next: hpo run --study wine --trials 2 --storage 'my studies.db'" in ended.out


def file_spec(path: Path) -> DataSpec:
    return DataSpec(kind="file", source=path.name, target="y", sha256=file_sha256(path))


def test_a_finished_study_needs_its_data_no_more(bench, hpo):
    path = bench.folder / "data.csv"
    path.write_text(table("aabb" * 10))
    bench.add("churn", ["complete", "failed"], data=file_spec(path))
    before = bench.read("churn")
    moved = path.rename("moved.csv")
    for more in ([], ["--trials", "2"], ["--target", "y", "--seed", "0"], ["--data", str(moved)]):
        ended = hpo("run", "--study", "churn", *more)
        assert (ended.code, ended.err) == (0, "")
        assert "churn is already finished; nothing was done" in ended.out
    moved.write_text(table("abab" * 10))
    for more, named in (
        (["--trials", "3"], "there is no data.csv"),
        (
            ["--data", "moved.csv"],
            "--data: stored 'data.csv', now 'moved.csv' with other content; resume it without --data",
        ),
        (["--data", "data.csv"], "there is no data.csv"),
        (["--data", "wine"], "--data: stored 'data.csv', now 'wine'; resume it without --data"),
        (["--target", "x"], "--target: stored 'y', now 'x'"),
        (["--encoding", "cp1252"], "--encoding: stored 'utf-8', now 'cp1252'"),
        (["--no-missing-words"], "--missing-words: stored True, now False"),
        (["--seed", "1"], "--seed: stored 0, now 1; resume it without --seed, or choose"),
    ):
        ended = hpo("run", "--study", "churn", *more)
        assert ended.code == 2
        assert named in ended.err
    assert bench.read("churn") == before


def test_a_finished_study_needs_its_space_no_more(bench, hpo):
    space = SpaceSpec(reference="gone_space:SPACE", description=load_space("mlp").describe())
    bench.add("own", ["complete"], space=space)
    assert "own is already finished" in hpo("run", "--study", "own").out
    for more in (["--trials", "2"], ["--space", "gone_space:SPACE"]):
        ended = hpo("run", "--study", "own", *more)
        assert ended.code == 2
        assert "'gone_space'" in ended.err


def test_an_unfinished_study_needs_its_data(bench, hpo):
    path = bench.folder / "data.csv"
    path.write_text(table("aabb" * 10))
    bench.add("churn", ["complete"], 2, data=file_spec(path))
    before = bench.read("churn")
    path.unlink()
    for more in ([], ["--trials", "5"]):
        ended = hpo("run", "--study", "churn", *more)
        assert ended.code == 2
        assert "there is no data.csv" in ended.err
    assert bench.read("churn") == before


def test_a_study_whose_trials_all_failed_says_why(bench, hpo):
    bench.add("doomed", ["failed"] * 3)
    ended = hpo("run", "--study", "doomed")
    assert ended.code == 1
    assert "all its 3 trials failed" in ended.err
    assert "3 × loss was not finite at epoch 3 of replicate 0\\x1b[31m" in ended.err
    assert "\x1b" not in ended.err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--seed", "7"], "--seed: stored 0, now 7"),
        (["--replicates", "4"], "--replicates: stored 3, now 4"),
        (["--no-racing"], "--racing: stored True, now False"),
        (["--no-pruning"], "--pruner: stored 'curve', now 'none'"),
        (["--data", "iris"], "--data: stored 'wine', now 'iris'"),
        (["--target", "x"], "--target: stored 'target', now 'x'"),
        (["--trials", "1"], "can only grow"),
    ],
)
def test_other_settings_are_refused_naming_the_difference(bench, hpo, options, named):
    bench.add("wine", ["complete"] * 2, 4)
    before = bench.read("wine")
    ended = hpo("run", "--study", "wine", *options)
    assert ended.code == 2
    assert named in ended.err
    assert bench.read("wine") == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--trials", "0"], "--trials 1"),
        (["--trials", "-3"], "-3"),
        (["--trainers", "0"], "--trainers 1"),
        (["--population", "0"], "--population 1"),
        (["--replicates", "0"], "replicates"),
        (["--patience", "0"], "patience"),
        (["--max-epochs", "0"], "use --max-epochs 1 or more"),
        (["--seed", "-1"], "seed"),
        (["--report", "nowhere/report.html"], "'nowhere/report.html'"),
        (["--report", "report.pdf"], "'report.pdf'"),
        (["--space", "nonsense"], "nonsense"),
        (["--data", "nowhere.csv", "--target", "y"], "nowhere.csv"),
        (["--data", "."], "--target"),
        (["--task", "guess"], "--task must be one of auto, classification, multilabel, regression, got 'guess'"),
        (["--loss", "mse"], "--loss must be one of auto, log_loss, squared_error, gaussian, got 'mse'"),
        (["--task", "regression"], "regression needs numbers, the target 'target'"),
        (["--loss", "gaussian", "--task", "classification"], "use --loss log_loss"),
        (["--weight", "target"], "the weight column must not be the target"),
        (["--no-pruning", "--pruner", "halving"], "got --no-pruning and --pruner halving; use one of them"),
        (["--pruner", "median"], "--pruner must be one of curve, halving, hyperband, none, got 'median'"),
        (["--weight", "nowhere"], "the weight must be a column of wine, got 'nowhere'"),
        (["--workers", "0", "--device", "cpu"], "nothing trains here with --workers 0, got --device cpu"),
        (["--workers", "0", "--trainers", "2"], "got --trainers 2; give it to hpo worker"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_stored(bench, hpo, options, named):
    data = [] if "--data" in options else ["--data", "wine"]
    ended = hpo("run", "--study", "new", *data, *options)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert named in ended.err
    assert list(bench.folder.iterdir()) == []


@pytest.mark.parametrize("content", ["", "optuna"])
def test_a_refused_study_leaves_a_database_without_tables_as_it_is(bench, hpo, content):
    path = bench.folder / "hpo.db"
    path.touch()
    if content:
        optuna.create_study(storage=bench.url, study_name="theirs")
    before = path.read_bytes()
    assert hpo("run", "--study", "new", "--data", "nowhere.csv", "--target", "y").code == 2
    assert list(bench.folder.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_new_study_needs_data(bench, hpo):
    ended = hpo("run", "--study", "new")
    assert ended.code == 2
    assert "--data FILE --target COLUMN" in ended.err


@pytest.mark.parametrize(
    ("dimension", "rule"),
    [
        ('Float("width", 1.0, 0.5)', "low"),
        ('Float("width", 0.0, float("inf"))', "finite"),
        ('Float("width", float("nan"), 1.0)', "finite"),
        ('LogFloat("width", 0.0, 1.0)', "positive"),
        ('Integer("width", 5, 4)', "low"),
        ('Categorical("width", ())', "choice"),
        ('Ordered("width", ())', "choice"),
    ],
)
def test_fault_32_search_spaces(bench, hpo, request, dimension, rule):
    number = request.node.callspec.indices["dimension"]
    reference = write_space(bench.folder, f"bad_space_{number}", dimension)
    ended = hpo("run", "--study", "new", "--data", "wine", "--space", reference)
    assert ended.code == 2
    assert "'width'" in ended.err
    assert rule in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_fault_32_choices_changed_mid_study(bench):
    reference = write_space(bench.folder, "changing_space", 'Categorical("mood", ("a", "b"))')
    words = [
        *CLI,
        "run",
        "--study",
        "new",
        "--data",
        "iris",
        "--no-report",
        "--max-epochs",
        "2",
        "--trainers",
        "1",
    ]
    subprocess.run([*words, "--trials", "1", "--space", reference], check=True, capture_output=True)
    write_space(bench.folder, "changing_space", 'Categorical("mood", ("a", "b", "c"))')
    done = subprocess.run([*words, "--trials", "2"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "mood" in done.stderr
    assert bench.read("new").finished == 1


def table(rows: str) -> str:
    return csv_text("x,y", enumerate(rows))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "target", "named"),
    [
        (table("aabb" * 10), "z", "'z'"),
        (table(" " * 40).replace(" ", ""), "y", "'y'"),
        (table("a" * 40), "y", "class"),
        (table("a" * 40 + "b"), "y", "'b'"),
        ("x,y\n1,a\n2,b\n3,a,7\n", "y", "line 4"),
        ('x,y\n1,"a\n2,b\n3,a\n', "y", "line"),
        ("x,y\n1,a\n2,\x00\n3,a\n", "y", "line 3"),
    ],
    ids=["target missing", "all missing", "one class", "class of one row", "long row", "open quote", "nul"],
)
def test_faults_21_24_and_26_are_refused_before_any_trial(bench, hpo, content, target, named):
    (bench.folder / "data.csv").write_text(content)
    ended = hpo("run", "--study", "new", "--data", "data.csv", "--target", target, "--trainers", "1")
    assert ended.code == 2
    assert named in ended.err
    assert "Traceback" not in ended.err
    assert [path.name for path in bench.folder.iterdir()] == ["data.csv"]


@pytest.mark.slow
def test_faults_22_and_28_can_be_answered(bench, hpo):
    text = "x,y\n" + "".join(f"{index},{('None', 'grün')[index % 2]}\n" for index in range(40))
    (bench.folder / "data.csv").write_bytes(text.encode("cp1252"))
    words = ["run", "--study", "new", "--data", "data.csv", "--target", "y", "--trainers", "1", "--no-report"]
    words += ["--trials", "1", "--replicates", "2", "--max-epochs", "2"]
    ended = hpo(*words)
    assert ended.code == 2
    assert "line 3: byte 0xfc is not UTF-8" in ended.err
    ended = hpo(*words, "--encoding", "cp1252", "--missing", "None")
    assert ended.code == 2
    assert "column 'y' holds only 'grün'" in ended.err
    assert [path.name for path in bench.folder.iterdir()] == ["data.csv"]
    ended = hpo(*words, "--encoding", "cp1252")
    assert (ended.code, "where it means none, use --missing None" in ended.out) == (0, True)
    assert bench.read("new").facts["classes"] == ["None", "grün"]
    assert hpo("run", "--study", "new", "--trials", "2", "--trainers", "1", "--no-report").code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "shown", "most"),
    [
        (["--target", "price"], "mean squared error\t", 0.9),
        (["--target", "price", "--loss", "gaussian", "--weight", "w"], "Gaussian NLL\t", 1.3),
        (["--target", "big,old"], "log loss\t", 0.6),
        (["--target", "big", "--class-weights", "balanced"], "log loss\t", 0.6),
    ],
)
def test_each_task_is_learned_and_its_loss_is_called_by_its_name(bench, hpo, options, shown, most):
    random = np.random.default_rng(0)
    size, age = random.uniform(-1, 1, (2, 300))
    rows = [(x, y, 100 + 20 * x + 9 * y, int(x > 0), int(y > 0.2)) for x, y in zip(size, age, strict=True)]
    weighted = ((*row, number % 4) for number, row in enumerate(rows))
    (bench.folder / "data.csv").write_text(csv_text("x,y,price,big,old,w", weighted))
    words = ["--data", "data.csv", "--trials", "2", "--trainers", "1", "--replicates", "2", "--max-epochs", "15"]
    ended = hpo("run", "--study", "new", "--no-report", *words, *options)
    assert (ended.code, ended.err) == (0, "")
    assert f"\n{shown}" in ended.out
    assert ("so the task is regression" in ended.out) == (options == ["--target", "price"])
    best = json.loads(hpo("best", "--study", "new", "--json").out)
    assert (best["value"] < most, best["loss"]) == (True, shown.strip())
    more = ["--trials", "3"] * ("--weight" in options)  # the others are known again without training
    assert hpo("run", "--study", "new", *more, "--trainers", "1", "--no-report", *options).code == 0


@pytest.mark.slow
def test_rows_in_time_are_trained_on_before_they_are_scored(bench, hpo):
    """Replicates differ in their rows, so each is trained in a stack of its own; the race compares them in pairs."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, 200)
    rows = ((f"2024-{1 + i // 20:02}-{1 + i % 20:02}", x[i], "ab"[int(x[i] > 0)]) for i in random.permutation(200))
    (bench.folder / "data.csv").write_text(csv_text("day,x,y", rows))
    words = ["--data", "data.csv", "--target", "y", "--trials", "3", "--trainers", "1", "--replicates", "4"]
    ended = hpo("run", "--study", "new", "--max-epochs", "10", *words, "--time", "day")
    assert (ended.code, ended.err) == (0, "")
    assert "rows are divided by 'day': 4 blocks from 2024-06-01 on are scored, each after" in ended.out
    facts = bench.read("new").facts
    assert (facts["train_rows"], facts["most_train_rows"], facts["features"]) == (90, 157, 1)
    assert "forward in time by 'day', 4 replicates" in hpo("status", "--study", "new").out
    (report,) = bench.folder.glob("*.html")
    assert "90 to 157" in report.read_text("utf-8")


@pytest.mark.slow
def test_a_study_that_runs_is_left_alone(bench, hpo):
    bench.add("wine", ["complete"], 4, running=True)
    before = bench.read("wine")
    ended = hpo("run", "--study", "wine")
    assert ended.code == 2
    assert f"process {os.getpid()}" in ended.err
    assert bench.read("wine") == before


@pytest.mark.slow
def test_fault_18_losses_that_are_not_finite(bench):
    reference = write_space(bench.folder, "wild_space", 'Float("learning_rate", 1e36, 1e37)')
    words = ["run", "--study", "wild", "--data", "wine", "--space", reference, "--trials", "2", "--json"]
    words += ["--trainers", "1"]
    done = subprocess.run([*CLI, *words, "--replicates", "2"], check=False, capture_output=True, text=True)
    shown = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))
    assert done.returncode == 1
    assert (shown["failed"], shown["best"]) == (2, None)
    assert "not finite" in done.stderr
    assert "Traceback" not in done.stderr
    assert Path(shown["report"]).stat().st_size > 1000


@pytest.mark.slow
def test_interrupted_resumed_and_extended(bench, hpo):
    words = ["run", "--study", "wine", "--trainers", "1"]
    settings = ["--data", "wine", "--trials", "12", "--replicates", "2", "--max-epochs", "5"]
    process = subprocess.Popen([*CLI, *words, *settings], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("2/12"):
            process.send_signal(signal.SIGINT)
            break
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "next: hpo run --study wine\n" in rest
    first = bench.read("wine")
    assert 2 <= first.finished < 12
    assert not first.running
    assert all(trial.state != "running" for trial in first.trials)
    assert "\x1b" not in "".join(seen) + rest
    ended = hpo(*words, "--json")
    shown = json.loads(ended.out)
    assert ended.code == 0
    assert shown["finished"] == 12
    assert "12/12 trial" in ended.err
    assert shown["report"] == str(bench.folder / "report-wine.html")
    second = bench.read("wine")
    assert second.trials[: first.finished] == first.trials[: first.finished]
    assert hpo("run", "--study", "wine", "--trials", "13", "--no-report").code == 0
    assert bench.read("wine").finished == 13
