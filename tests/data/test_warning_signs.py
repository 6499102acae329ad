"""What is said of tables that deceive, and nothing of those that do not."""

import numpy as np
import pandas as pd
import pytest

from hpo.data.source import Source, read_source
from hpo.data.spec import DataSpec
from hpo.data.table import build_table
from hpo.data.warning_signs import copies, error_left, halves, runs_with_rows, warnings_about
from hpo.settings import EvaluationSpec

STREAM = np.random.default_rng(0)
ROWS = 400


def table(columns, target="y", **evaluation):
    return build_table(Source("t", pd.DataFrame(columns), ""), target, EvaluationSpec(**evaluation))


def noise(rows=ROWS):
    return {"a": STREAM.normal(size=rows), "b": STREAM.choice(list("pqr"), rows)}


def classes(rows=ROWS):
    return STREAM.choice(["no", "yes"], rows)


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "iris"])
def test_honest_tables_get_no_warning(name):
    built = build_table(read_source(DataSpec(kind="builtin", source=name, target="target")), "target")
    assert warnings_about(built) == ()


@pytest.mark.parametrize(
    ("values", "runs"),
    [
        (np.arange(30), True),
        (np.arange(30)[::-1], True),
        (np.arange(30) // 2, True),
        (np.arange(30) // 10, False),
        (np.arange(19), False),
        (np.r_[np.arange(28), 5, 40], False),
        (np.r_[np.arange(28.0), np.nan, 40], False),
        (np.arange(30).astype("datetime64[D]").astype("datetime64[s]"), True),
    ],
)
def test_columns_that_run_with_the_rows(values, runs):
    assert runs_with_rows(values) is runs


def test_a_counter_is_told():
    (said,) = warnings_about(table({**noise(), "n": np.arange(ROWS) + 5, "y": classes()}))
    assert said.startswith("column 'n' runs with the row number")


@pytest.mark.parametrize(
    "leak",
    [
        lambda y: np.where(y == "yes", "paid back", "open"),
        lambda y: (y == "yes") * 5 + STREAM.random(len(y)),
        lambda y: np.where(y == "yes", np.nan, STREAM.normal(size=len(y))),
        lambda y: np.where(y == "yes", STREAM.choice([1, 3, 7], len(y)), STREAM.choice([2, 5], len(y))),
    ],
)
def test_a_column_that_gives_the_classes_away_is_told(leak):
    y = classes()
    (said,) = warnings_about(table({**noise(), "leak": leak(y), "y": y}))
    assert said.startswith("column 'leak' alone nearly gives the target away")


def test_a_column_that_gives_a_quantity_or_a_label_away_is_told():
    y = STREAM.normal(size=ROWS)
    (said,) = warnings_about(table({**noise(), "taxed": 1.19 * y + 3, "y": y}))
    assert said.startswith("column 'taxed' alone")
    (said,) = warnings_about(table({**noise(), "x": (s := classes()), "p": s, "q": classes()}, "p,q"))
    assert said.startswith("column 'x' alone nearly gives the label 'p' away")


def test_a_good_column_gives_nothing_away():
    y = classes()
    good = np.where(STREAM.random(ROWS) < 0.1, classes(), y)
    assert warnings_about(table({**noise(), "good": good, "y": y})) == ()


def test_few_errors_prove_nothing():
    one = np.r_[np.ones(3), np.zeros(97)]
    assert error_left(one, one, one, one, classes=True) is None
    assert error_left(one, one, one, one, classes=False) == 0


def test_groups_are_not_split():
    groups = np.arange(ROWS) // 8
    fitted, tried = halves(ROWS, groups)
    assert len(fitted) + len(tried) == ROWS
    assert not {*groups[fitted]} & {*groups[tried]}
    y = np.repeat(STREAM.choice(["no", "yes"], ROWS // 8), 8)
    person = {"size": np.repeat(STREAM.normal(size=ROWS // 8), 8), "g": groups, **noise(), "y": y}
    assert warnings_about(table(person, group="g")) == ()


def test_copies_are_counted_by_inputs_and_target():
    y = classes()
    columns = {
        **noise(),
        "c": STREAM.normal(size=ROWS),
        "when": pd.date_range("2020", periods=ROWS).astype(str),
        "y": y,
    }
    frame = pd.DataFrame({**columns, "a": np.where(STREAM.random(ROWS) < 0.1, np.nan, columns["a"])})
    twice = pd.concat([frame, frame[:40]], ignore_index=True)
    found = build_table(Source("t", twice, ""), "y")
    assert copies(found) == 40
    assert warnings_about(found)[-1].startswith("40 of 440 rows (9%) are exact copies of others")
    other = twice.assign(y=[*y, *np.where(y[:40] == "yes", "no", "yes")])
    assert copies(build_table(Source("t", other, ""), "y")) == 0
    assert not any("copies" in said for said in warnings_about(build_table(Source("t", twice[:402], ""), "y")))


def test_rare_classes_are_told():
    y = np.r_[["c"] * 3, classes(ROWS - 3)]
    (said,) = warnings_about(table({**noise(), "y": y}))
    assert said == "few rows (3) of the class 'c': how well it is predicted cannot be judged"
    y = np.r_[["c"] * 3, ["d"] * 9, classes(ROWS - 12)]
    (said,) = warnings_about(table({**noise(), "y": y}))
    assert said == "few rows (at most 9) of the classes 'c', 'd': how well they are predicted cannot be judged"
