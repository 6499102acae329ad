"""Targets that can be learned, columns that are used, and what is dropped with a note."""

import numpy as np
import pandas as pd
import pytest

from hpo.data import earlier_columns
from hpo.data.source import Source
from hpo.data.table import build_table
from hpo.errors import DataError
from hpo.settings import EvaluationSpec
from hpo.study.facts import InputColumn

ROWS = 60


def table(target="label", group=None, weight=None, **columns):
    """The table of 60 rows with the columns `size` (numbers), `label` (no, yes) and `columns`."""
    base = {"size": np.arange(ROWS) / 2, "label": ["no", "yes"] * (ROWS // 2)}
    source = Source("people.csv", pd.DataFrame({**base, **columns}), "")
    return build_table(source, target, EvaluationSpec(group=group, weight=weight))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "ü"] * 20, ("a", "b", "ü")),
        ([10, 9, 2] * 20, ("2", "9", "10")),
        ([1.0, 0.5, 2.0] * 20, ("0.5", "1", "2")),
        ([True, False] * 30, ("False", "True")),
        (pd.Categorical(["x", "y"] * 30, categories=["unused", "y", "x"]), ("x", "y")),
        (pd.array([1, 0] * 30, dtype="Int64"), ("0", "1")),
        ([1, "one"] * 30, ("1", "one")),
    ],
)
def test_classes_are_numbered_in_the_order_of_numbers_or_names(labels, classes):
    result = table(label=labels)
    target = result.target
    assert (target.task, target.classes, target.strata.dtype) == ("classification", classes, np.int32)
    names = [str(int(x)) if isinstance(x, float) and x == int(x) else str(x) for x in labels]
    assert [classes[code] for code in target.strata] == names


def test_rows_without_a_target_are_left_out_with_a_note():
    result = table(label=[None, None, None, *["no", "yes", "maybe"] * 19])
    assert len(result.frame) == len(result.target.values) == 57
    assert result.frame["size"].tolist()[:2] == [1.5, 2.0]
    assert result.notes == ("3 rows have no target and are not used",)


@pytest.mark.parametrize(
    ("labels", "regression"),
    [
        (np.arange(11) + 0.5, True),  # over 10 numbers with fractions
        (np.arange(10) + 0.5, False),
        (np.arange(21), True),  # over 20 integers that are more than 5% of the rows
        (np.arange(20), False),
    ],
)
def test_a_target_that_looks_like_a_quantity_makes_a_regression_with_a_note(labels, regression):
    frame = pd.DataFrame({"x": np.arange(220.0), "price": np.resize(labels, 220)})
    result = build_table(Source("t", frame, ""), "price")
    if regression:
        assert result.target.task == "regression"
        assert result.notes == (
            f"the target 'price' looks like a quantity ({len(labels)} different numbers in 220 rows), so the task is "
            "regression; classification would take each number for a class",
        )
    else:
        assert (result.target.task, len(result.target.classes), result.notes) == ("classification", len(labels), ())
    asked = build_table(Source("t", frame, ""), "price", EvaluationSpec(task="classification"))
    assert (len(asked.target.classes), asked.notes) == (len(labels), ())


def test_many_integer_classes_are_allowed_where_each_has_many_rows():
    frame = pd.DataFrame({"x": np.arange(2000.0), "digit": np.arange(2000) % 100})
    assert len(build_table(Source("t", frame, ""), "digit").target.classes) == 100
    frame = pd.DataFrame({"x": np.arange(4000.0), "digit": np.arange(4000) % 101})
    assert build_table(Source("t", frame, ""), "digit").target.task == "regression"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("labell", r"must be a column of people\.csv, got 'labell'; did you mean 'label'\? Use target='label'"),
        ("LABEL", r"did you mean 'label'"),
        ("zzz", r"use target with one of: 'size', 'label'$"),
    ],
)
def test_a_missing_target_column_is_refused_with_names_to_use(target, message):
    with pytest.raises(DataError, match=message):
        table(target)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([None] * ROWS, r"'label' is empty in all rows; use another target"),
        (["no"] * ROWS, r"at least 2 classes, column 'label' holds only 'no'"),
        ([0.0, np.inf] * 30, r"must not be infinite or beyond 1e\+100, column 'label'"),
        (pd.date_range("2020", periods=ROWS), r"numbers or text, 'label' holds datetime64"),
    ],
)
def test_targets_without_classes_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        table(label=labels)


def test_columns_have_kinds_by_their_values():
    result = table(
        whole=pd.array([None, *range(ROWS - 1)], dtype="Int64"),
        flag=[True, None] * 30,
        kind=pd.Categorical(["x", "y"] * 30),
        mixed=[1, "one"] * 30,
    )
    kinds = ["number", "number", "boolean", "category", "category"]
    names = ["size", "whole", "flag", "kind", "mixed"]
    assert result.columns == tuple(InputColumn(name=n, kind=k) for n, k in zip(names, kinds, strict=True))
    assert result.frame["size"].dtype == result.frame["whole"].dtype == np.float64
    assert np.isnan(result.frame["whole"][0])
    assert result.frame["flag"].tolist()[:2] == ["True", None]
    assert result.frame["mixed"].tolist()[:2] == ["1", "one"]
    assert result.notes == ()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([None] * ROWS, "empty in all rows"),
        ([np.nan] * ROWS, "empty in all rows"),
        (["same"] * ROWS, "the same value in all rows"),
        ([3.5] * ROWS, "the same value in all rows"),
        ([f"id{i}" for i in range(ROWS)], "texts that are nearly all different, like names or identifiers"),
        (np.arange(ROWS)[::-1], "whole numbers that count the rows"),
        ([1j] * ROWS, "neither numbers nor text but complex128"),
        ([["a", "list"]] * ROWS, "neither numbers nor text but object"),
    ],
)
def test_useless_columns_are_dropped_with_a_note(values, reason):
    """Fault 27."""
    result = table(useless=values)
    assert [column.name for column in result.columns] == ["size"]
    assert result.notes == (f"not used, {reason}: 'useless'",)


@pytest.mark.parametrize("infinite", [np.inf, -np.inf, 1e300])
def test_infinite_and_huge_numbers_are_read_as_missing_with_a_note(infinite):
    """Fault 27."""
    result = table(x=[infinite, *range(ROWS - 1)])
    assert result.notes == ("column 'x': 1 infinite or huge numbers are read as missing",)
    assert result.frame["x"].isna().tolist() == [True] + [False] * (ROWS - 1)
    everywhere = table(x=[infinite] * ROWS)
    assert everywhere.notes[1] == "not used, empty in all rows: 'x'"


def test_one_value_and_gaps_are_used_because_gaps_can_tell():
    assert [column.name for column in table(ticked=["yes", None] * 30).columns] == ["size", "ticked"]


def test_a_table_of_useless_columns_is_refused_with_the_reasons():
    with pytest.raises(DataError, match=r"none is left \(not used, the same value in all rows: 'size'\)"):
        table(size=1)
    with pytest.raises(DataError, match=r"none is left \(there is only the target\)"):
        build_table(Source("t", pd.DataFrame({"label": ["a", "b"]}), ""), "label")


def test_the_group_column_is_no_feature():
    result = table(group="who", who=[f"p{i // 4}" for i in range(ROWS)])
    assert [column.name for column in result.columns] == ["size"]
    assert result.groups.tolist() == [i // 4 for i in range(ROWS)]


@pytest.mark.parametrize(
    ("group", "values", "message"),
    [
        ("label", 0, r"group column must not be the target, got 'label'; use another group"),
        ("whom", 0, r"the group must be a column of people\.csv, got 'whom'; did you mean 'who'"),
        ("who", [None, None, *range(ROWS - 2)], r"column 'who' has none in 2 rows; fill these in"),
    ],
)
def test_group_columns_that_cannot_be_used_are_refused(group, values, message):
    with pytest.raises(DataError, match=message):
        table(group=group, who=values)


def test_fault_50_absurd_numbers_are_noted_with_their_row():
    columns = {"x": np.where(np.arange(ROWS) == 16, -3.4e38, np.arange(ROWS) % 7)}
    frame = pd.DataFrame({**columns, "label": ["no", "yes"] * (ROWS // 2)})
    note = "column 'x': {} -3.4e+38, 10^38 times the usual; inputs are clipped"
    assert build_table(Source("t", frame, ""), "label", preparation=2).notes == (note.format("row 17 has"),)
    frame.loc[3, "label"] = None
    assert build_table(Source("t", frame, ""), "label", preparation=2).notes[1:] == (note.format("a row has"),)
    earlier = build_table(Source("t", frame, ""), "label", preparation=1)
    assert earlier.notes[1:] == (earlier_columns.NOTE,)  # inputs are not clipped there
