"""The data process: real files in, arrays and facts out, or the reason why not."""

import io
import json
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpo.data import arrays, earlier, earlier_columns
from hpo.data import prepare as preparing
from hpo.data.earlier import encode
from hpo.data.features import FeatureState
from hpo.data.prepare import Teller, prepare
from hpo.data.prepared import FEATURES, PARTS, open_prepared, open_replicate
from hpo.data.resampling import resamples
from hpo.data.source import Source
from hpo.data.table import build_table
from hpo.settings import EvaluationSpec
from hpo.study.facts import InputColumn
from tests.helpers.processes import wait_until

COLORS = ("red", "blue", "green")
GOOD = "size,color,label\n" + "".join(f"{i},{COLORS[i % 3]},{('yes', 'no')[i % 2]}\n" for i in range(60))


def request(folder, source, target="label", kind="file", copy=None, **evaluation):
    return {
        "data": {"kind": kind, "source": str(source), "target": target, "sha256": ""},
        "evaluation": evaluation,
        "seed": 0,
        "folder": str(folder),
        "copy": copy and str(copy),
    }


def child(question):
    """Asks `python -m hpo.data.prepare`; returns its finished process."""
    return subprocess.run(
        [sys.executable, "-m", "hpo.data.prepare"],
        input=json.dumps(question) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
    )


def answer_of(done):
    """What a child answered, after what it may have told of its steps."""
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def folder(tmp_path):
    """The folder that takes the arrays."""
    path = tmp_path / "prepared"
    path.mkdir()
    return path


@pytest.fixture
def prepared(tmp_path, folder):
    """Prepares a file of the given text and returns the facts; keywords are settings of the evaluation."""

    def prepared(text, target="label", **evaluation):
        (tmp_path / "table.csv").write_text(text)
        return prepare(request(folder, tmp_path / "table.csv", target, **evaluation))

    return prepared


def test_the_child_answers_with_facts_and_writes_the_arrays(tmp_path, folder):
    (tmp_path / "table.csv").write_text(GOOD)
    done = child(request(folder, tmp_path / "table.csv"))
    assert (done.returncode, done.stderr) == (0, "")
    facts = open_prepared(folder)
    assert answer_of(done)["facts"] == facts.to_json()
    assert facts.columns == (InputColumn(name="size", kind="numeric"), InputColumn(name="color", kind="text"))
    assert (facts.classes, facts.class_counts) == (("no", "yes"), (30, 30))
    assert facts.prior_loss == pytest.approx(np.log(2))
    assert (facts.rows, facts.features, facts.replicates, facts.train_rows) == (60, 4, 5, 54)
    assert len(list(folder.iterdir())) == 5 * 6 + 1
    data = open_replicate(folder, 4)
    assert data.train_x.shape == (54, 4)
    assert (facts.task, facts.head, facts.outputs) == ("classification", "sigmoid", 1)
    assert (data.train_x.dtype, data.train_y.dtype, data.train_y.shape) == (np.float32, np.float32, (54, 1))
    assert data.stop_x.shape == (6, 4)
    assert len(data.score_x) == len(data.score_y)


REFUSED = {
    "fault 21: open quote": (GOOD + '1,"red,yes\n', "label", "line 62: a quote is opened and never closed"),
    "fault 21: NUL byte": (GOOD.replace("\n2,green", "\n2,gre\0n"), "label", "line 4: a NUL byte"),
    "fault 21: truncated": (GOOD[:-9], "label", "line 61: 2 fields where the header has 3"),
    "fault 26: no such target": (GOOD, "lable", "got 'lable'; did you mean 'label'"),
    "fault 26: all missing": (
        GOOD.replace("yes", "").replace("no", ""),
        "label",
        "'label' is empty in all rows",
    ),
    "fault 26: one class": (GOOD.replace("yes", "no"), "label", "'label' holds only 'no'"),
    "fault 26: a class with one row": (GOOD + "1,red,maybe\n", "label", "class 'maybe' has 1"),
    "no labels": (GOOD, "color,label", "column 'color' has 3 ('blue', 'green', 'red')"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_child_refuses_damaged_files_and_targets_with_the_reason(tmp_path, folder, case):
    text, target, reason = REFUSED[case]
    (tmp_path / "table.csv").write_text(text)
    done = child(request(folder, tmp_path / "table.csv", target))
    assert (done.returncode, done.stderr) == (0, "")
    answer = answer_of(done)
    assert (answer["ok"], answer["kind"]) == (False, "DataError")
    assert reason in answer["message"]
    assert answer["setting"] == ("data" if "line" in reason else "target")
    assert list(folder.iterdir()) == []


def test_the_child_answers_with_a_traceback_where_it_fails_unexpectedly(tmp_path, folder):
    (tmp_path / "table.csv").write_text(GOOD)
    done = child({**request(folder, tmp_path / "table.csv"), "folder": None})
    answer = answer_of(done)
    assert (answer["ok"], answer["kind"]) == (False, None)
    assert "TypeError" in answer["message"]


def test_a_folder_that_is_gone_is_named(tmp_path, folder):
    (tmp_path / "table.csv").write_text(GOOD)
    answer = answer_of(child(request(folder / "none", tmp_path / "table.csv")))
    assert answer["kind"] == "ResourceError"
    assert f"{folder}/none does not (No such file or directory)" in answer["message"]


def test_what_is_done_is_told_where_it_takes_long(monkeypatch, capsys):
    with Teller() as tell:
        tell("reading", None)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(preparing, "SILENT_SECONDS", 0.01)
    monkeypatch.setattr(preparing, "TELL_SECONDS", 0.01)
    told = []
    with Teller() as tell:
        for now in ({"step": "reading", "share": None}, {"step": "writing", "share": 0.25}):
            tell(**now)
            wait_until(lambda: told.extend(capsys.readouterr().out.splitlines()) or len(told) == 1, 10, pause=0.01)
            assert json.loads(told.pop()) == now


def test_arrays_are_written_a_part_at_a_time_and_shares_are_told(tmp_path, folder, monkeypatch):
    (tmp_path / "table.csv").write_text(GOOD.replace("\n7,blue", "\n7,rare"))
    question = request(folder, tmp_path / "table.csv", replicates=3)
    contents, shares = [], []
    for rows in (arrays.ROWS_AT_ONCE, 7):
        monkeypatch.setattr(arrays, "ROWS_AT_ONCE", rows)
        prepare(question, lambda step, share: shares.append(share))
        contents.append({path.name: path.read_bytes() for path in folder.glob("*.npy")})
    assert contents[0] == contents[1]
    assert not list(folder.glob("*.new"))
    known = [share for share in shares if share is not None]
    assert len(known) == 3 + 3 + 3 + 3 * 9
    assert sorted(known[6:]) == known[6:]
    assert (known[6], known[-1]) == (0, 1)


def test_arrays_hold_the_resampled_rows_in_order(prepared, folder):
    """`size` is the row number, so that standardized sizes tell which rows an array holds."""
    prepared(GOOD, replicates=2)
    labels = np.array([1, 0] * 30)
    for number, part in enumerate(resamples(labels, EvaluationSpec(replicates=2), 0)):
        data = open_replicate(folder, number)
        mean, deviation = part.train.mean(), part.train.std()
        for name in ("train", "stop", "score"):
            rows = getattr(part, name)
            assert getattr(data, f"{name}_x")[:, 0] == pytest.approx((rows - mean) / deviation, abs=1e-5)
            assert np.array_equal(getattr(data, f"{name}_y")[:, 0], labels[rows])


def test_score_and_stop_rows_do_not_leak_into_the_encoding(prepared, folder):
    prepared(GOOD, replicates=1)
    before = np.array(open_replicate(folder, 0).train_x)
    part = resamples(np.array([1, 0] * 30), EvaluationSpec(replicates=1), 0)[0]
    lines = GOOD.splitlines()
    for row in (*part.stop, *part.score):
        lines[row + 1] = f"{1e6 + row},unseen,{lines[row + 1].rsplit(',', 1)[1]}"
    prepared("\n".join(lines), replicates=1)
    after = open_replicate(folder, 0)
    assert np.array_equal(before, after.train_x)
    assert after.score_x[:, 0].min() > 1000


def test_replicates_have_the_same_width_where_a_category_is_missing_in_some(prepared, folder):
    facts = prepared(GOOD.replace("\n7,blue", "\n7,rare"), replicates=5)
    widths = [open_replicate(folder, replicate).train_x.any(axis=0).sum() for replicate in range(5)]
    assert set(widths) == {4, 5}  # only some replicates have drawn the row with the rare color
    assert {open_replicate(folder, replicate).score_x.shape[1] for replicate in range(5)} == {5}
    assert facts.features == 5


def test_one_replicate_is_held_at_a_time(prepared, monkeypatch):
    """Encoded arrays are the largest there are: those of the replicate before are gone."""
    alive = []

    def watched(*arguments):
        assert not [array for array in alive if array() is not None]
        array = encode(*arguments)
        alive.append(weakref.ref(array))
        return array

    monkeypatch.setattr(earlier, "encode", watched)
    prepared(GOOD.replace("\n7,blue", "\n7,rare"), replicates=5)
    assert len(alive) == 5


def test_narrower_replicates_are_padded_behind_their_inputs(prepared, folder):
    text = GOOD.replace("\n7,blue", "\n7,rare")
    width = prepared(text, replicates=5).features
    table = build_table(Source("", pd.read_csv(io.StringIO(text)), ""), "label", preparation=1)
    for number, part in enumerate(resamples(table.target.strata, EvaluationSpec(replicates=5), 0)):
        encoded = encode(table.frame, table.columns, part.train)
        data = open_replicate(folder, number)
        for name in ("train", "stop", "score"):
            array = getattr(data, f"{name}_x")
            assert array.shape == (len(getattr(part, name)), width)
            assert np.array_equal(array[:, : encoded.shape[1]], encoded[getattr(part, name)])
            assert not array[:, encoded.shape[1] :].any()


def test_missing_values_give_finite_arrays(prepared, folder):
    facts = prepared(GOOD.replace("\n3,", "\n,").replace("red", "").replace("\n8,", "\nnan,"))
    assert facts.notes == (earlier_columns.NOTE,)
    for replicate in range(5):
        data = open_replicate(folder, replicate)
        assert all(np.isfinite(x).all() for x in (data.train_x, data.stop_x, data.score_x))


def test_what_inputs_are_fitted_to_is_kept_with_each_replicate(tmp_path, folder):
    (tmp_path / "table.csv").write_text(GOOD.replace("\n7,blue", "\n7,rare"))
    question = request(folder, tmp_path / "table.csv", replicates=3)
    question["data"]["preparation"] = 2
    facts = prepare(question)
    table = pd.read_csv(tmp_path / "table.csv")
    for number, part in enumerate(resamples(np.array([1, 0] * 30), EvaluationSpec(replicates=3), 0)):
        state, data = FeatureState.load(folder / FEATURES.format(number)), open_replicate(folder, number)
        for name in PARTS:
            encoded = state.transform(table.iloc[getattr(part, name)])
            array = getattr(data, f"{name}_x")
            assert array.shape[1] == facts.features
            assert np.array_equal(array[:, : state.width], encoded)
            assert not array[:, state.width :].any()


def test_scaled_inputs_are_made_once_for_all_trials_and_trainers(tmp_path, folder, monkeypatch):
    (tmp_path / "table.csv").write_text(GOOD.replace("\n16,", "\n1600,"))
    question = request(folder, tmp_path / "table.csv", replicates=1)
    question["data"]["preparation"] = 2
    prepare(question)
    prepared, usage = open_replicate(folder, 0), shutil.disk_usage(folder)
    monkeypatch.setattr("hpo.data.prepared.shutil.disk_usage", lambda path: usage._replace(free=10))
    expected = prepared.scaled("quantile").train_x  # where there is no room, in memory
    assert not list(folder.glob("*quantile*"))
    monkeypatch.undo()
    one, other = prepared.scaled("quantile"), open_replicate(folder, 0).scaled("quantile")
    assert prepared.scaled("quantile") is one
    assert np.array_equal(one.train_x, expected)
    assert np.array_equal(other.train_x, expected)
    assert len(list(folder.glob("*.quantile.npy"))) == len(PARTS)
    monkeypatch.setattr("hpo.data.rescaling.Scales.apply", lambda *_: pytest.fail("made again"))
    assert np.array_equal(open_replicate(folder, 0).scaled("quantile").score_x, one.score_x)


def test_fault_50_an_absurd_number_leaves_the_others_apart_in_all_replicates(tmp_path, folder):
    (tmp_path / "table.csv").write_text(GOOD.replace("\n16,", "\n1e20,"))
    question = request(folder, tmp_path / "table.csv")
    question["data"]["preparation"] = 2
    assert prepare(question).notes == ("column 'size': row 17 has 1e+20, 10^19 times the usual; inputs are clipped",)
    for number in range(5):
        data = open_replicate(folder, number)
        data = data.scaled("robust")
        sizes = np.concatenate([data.train_x[:, 0], data.stop_x[:, 0], data.score_x[:, 0]])
        assert np.abs(sizes).max() <= 3
        assert len(np.unique(sizes)) == 60
        assert np.quantile(sizes, 0.75) - np.quantile(sizes, 0.25) > 0.5


def test_groups_are_never_split(prepared, folder):
    text = "who,x,label\n" + "".join(f"p{i // 4},{i // 4},{'ab'[i // 4 % 2]}\n" for i in range(80))
    facts = prepared(text, group="who")
    assert facts.columns == (InputColumn(name="x", kind="numeric"),)
    for replicate in range(5):
        data = open_replicate(folder, replicate)
        assert data.train_x.shape == (facts.train_rows, 1)
        train, stop, score = (set(x.ravel().tolist()) for x in (data.train_x, data.stop_x, data.score_x))
        assert len(train) + len(stop) + len(score) == len(train | stop | score) == 20


def test_notes_of_reading_and_of_the_table_are_facts(prepared):
    facts = prepared(GOOD.replace(",", ";").replace("red", "blue").replace("green", "blue"))
    assert list(facts.notes[:-1]) == [
        "fields are separated by semicolons",
        "not used, the same value in all rows: 'color'",
        earlier_columns.NOTE,
    ]
    assert facts.notes[-1].startswith("column 'size' runs with the row number")


def test_a_frame_a_parquet_file_and_a_csv_file_give_the_same_arrays(tmp_path, folder):
    csv, parquet = tmp_path / "table.csv", tmp_path / "table.parquet"
    csv.write_text(GOOD)
    pd.read_csv(csv).to_parquet(parquet)
    contents = []
    for question in (
        request(folder, csv),
        request(folder, parquet),
        request(folder, "frame", kind="frame", copy=parquet),
    ):
        prepare(question)
        contents.append({path.name: path.read_bytes() for path in folder.glob("*.npy")})
    assert contents[0] == contents[1] == contents[2]


def test_the_arrays_of_a_regression_are_standardized_over_all_rows(prepared, folder):
    facts = prepared(GOOD, target="size", task="regression", replicates=2)
    assert (facts.task, facts.head, facts.outputs, facts.loss_name) == (
        *("regression", "squared", 1),
        "mean squared error",
    )
    assert (facts.classes, facts.class_counts, facts.prior_loss) == ((), (), 1.0)
    assert (facts.target_mean, facts.target_deviation) == (29.5, pytest.approx(np.arange(60).std()))
    for number, part in enumerate(resamples(np.zeros(60, int), EvaluationSpec(replicates=2), 0)):
        data = open_replicate(folder, number)
        for name in PARTS:
            y = getattr(data, f"{name}_y")
            assert (y.dtype, y.shape) == (np.float32, (len(getattr(part, name)), 1))
            numbers = y[:, 0] * facts.target_deviation + facts.target_mean
            assert numbers == pytest.approx(getattr(part, name), abs=1e-3)


def test_the_arrays_of_labels(prepared, folder):
    text = GOOD.replace("red", "blue")
    facts = prepared(text, target="color, label")
    assert (facts.task, facts.head, facts.outputs) == ("multilabel", "sigmoid", 2)
    assert (facts.classes, facts.class_counts) == (("color", "label"), (20, 30))
    assert facts.columns == (InputColumn(name="size", kind="numeric"),)
    assert open_replicate(folder, 0).score_y.shape[1] == 2


def test_weights_are_those_of_the_rows_and_classes_count_in_training_only(prepared, folder):
    lines = [f"{i},{i % 3},{'yes' if i % 4 == 0 else 'no'},{1 + i % 2}" for i in range(80)]
    text = "\n".join(["size,x,label,w", *lines])
    labels, given = np.arange(80) % 4 == 0, 1.0 + np.arange(80) % 2
    prepared(text)
    assert not list(folder.glob("*_w.*"))

    prepared(text, weight="w")
    rows = open_replicate(folder, 1)
    part = resamples(labels.astype(int), EvaluationSpec(), 0)[1]
    for name in PARTS:
        assert getattr(rows, f"{name}_w") == pytest.approx(given[getattr(part, name)] / 1.5)
    row_weights = np.array(rows.train_w)

    prepared(text, weight="w", class_weights="balanced")
    both = open_replicate(folder, 1)
    assert both.score_w == pytest.approx(rows.score_w)
    assert both.stop_w == pytest.approx(rows.stop_w)
    factors = both.train_w / row_weights
    counts = np.bincount(labels[part.train].astype(int))
    assert factors == pytest.approx(len(part.train) / (2 * counts[labels[part.train].astype(int)]))


def test_class_weights_alone_are_written_for_training_alone(prepared, folder):
    prepared(GOOD, class_weights="balanced", replicates=1)
    assert [path.name for path in folder.glob("*_w.*")] == ["train_w.0.npy"]
    assert open_replicate(folder, 0).score_w is None


@pytest.mark.parametrize("name", ["digits", "iris"])
def test_built_in_sets(folder, name):
    facts = prepare(request(folder, name, "target", kind="builtin", replicates=2))
    assert facts.rows == {"digits": 1797, "iris": 150}[name]
    assert facts.prior_loss == pytest.approx(np.log(len(facts.classes)), abs=1e-3)
    assert facts.sha256 == ""


@pytest.mark.parametrize(
    ("name", "rows", "classes", "columns"),
    [
        ("vehicle", 846, 4, 18),
        ("credit_g", 1000, 2, 20),
        ("segment", 2310, 7, 19),
        ("wine_quality_white", 4898, 7, 11),
        ("churn_modelling", 10_000, 2, 10),
    ],
)
def test_real_tables(folder, tables: Path, name, rows, classes, columns):
    question = request(folder, tables / f"{name}.csv", "target", replicates=3)
    question["data"]["preparation"] = 2
    facts = prepare(question)
    assert (facts.rows, len(facts.classes)) == (rows, classes)
    dropped = sum(note.count("'") // 2 for note in facts.notes if note.startswith("not used"))
    assert len(facts.columns) + dropped == columns
    for replicate in range(3):
        data = open_replicate(folder, replicate)
        for y in (data.train_y, data.stop_y, data.score_y):
            assert set(np.unique(y).tolist()) == set(range(classes))
        for x in (data.train_x, data.stop_x, data.score_x):
            assert np.isfinite(x).all()
            assert x.shape[1] == facts.features


def test_a_real_table_as_a_regression(folder, tables: Path):
    """Scored rows that training never saw: the mean is their best constant prediction but for chance."""
    facts = prepare(request(folder, tables / "wine_quality_white.csv", "target", task="regression", replicates=3))
    assert (facts.rows, facts.task, facts.loss_name) == (4898, "regression", "mean squared error")
    assert facts.target_mean == pytest.approx(5.8779, abs=1e-4)
    for replicate in range(3):
        score = open_replicate(folder, replicate).score_y
        assert np.square(score).mean() == pytest.approx(facts.prior_loss, abs=0.1)
