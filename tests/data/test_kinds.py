"""What columns are by their values, what a person corrects, and targets whose words are values."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.cli.errors import CommandLine
from hpo.data.earlier_columns import NOTE
from hpo.data.frames import write_frame
from hpo.data.kinds import MAX_CODES, understand
from hpo.data.source import Source, read_source
from hpo.data.spec import DataSpec
from hpo.data.table import build_table
from hpo.data.texts import Words
from hpo.errors import DataError, written
from hpo.settings import Corrections, EvaluationSpec

ROWS = 60
FILE = Words(as_written=True)


def as_written(values):
    """A column as it stands in a file."""
    return pd.Series([*values] * (ROWS // len(values)), dtype="string[pyarrow]")


def table(corrections=None, evaluation=None, target="label", usual_words=True, **columns):
    """The table of a file of 60 rows with the columns `size` and `label`, and `columns`."""
    base = {"size": [str(i / 7) for i in range(ROWS)], "label": ["no", "yes"], **columns}
    frame = pd.DataFrame({name: as_written(values) for name, values in base.items()})
    return build_table(
        Source("people.csv", frame, "", as_written=True),
        target,
        EvaluationSpec(**evaluation or {}),
        corrections=Corrections(**corrections or {}),
        usual_words=usual_words,
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1.5", "2", "NA"], "number"),
        ([f"{i} CC" for i in range(30)], "number"),
        (["red", "blue", ""], "category"),
        (["yes", "no"], "boolean"),
        (["True", "FALSE"], "boolean"),
        (["2024-01-31", "2024-02-01", "NaN"], "date"),
        ([f"word {i} {'x' * i}" for i in range(60)], "identifier"),
        ([str(i + 1) for i in range(60)][::-1], "identifier"),
        (["x"], "constant"),
        (["", "NA"], "empty"),
    ],
)
def test_faults_27_and_62_kinds_of_columns_in_files(values, kind):
    assert understand(as_written(values), FILE).kind == kind


def test_digits_with_leading_zeros_are_texts_unless_said_to_be_numbers():
    values = {"zip": ["00501", "10115", "", "NA"]}
    found = table(**values)
    assert ("zip", "category") in [(column.name, column.kind) for column in found.columns]
    assert found.frame["zip"].tolist()[:4] == ["00501", "10115", None, None]
    (note,) = found.notes
    assert written(note, CommandLine()).endswith("where they are numbers, use --kind COLUMN=number")
    said = table({"kind": {"zip": "number"}}, **values)
    assert said.frame["zip"].tolist()[:2] == [501, 10115]
    assert understand(as_written(["0", "10", "0.5"]), FILE).kind == "number"


def test_more_texts_than_categories_are_text():
    values = pd.Series([f"w{i % 51}" for i in range(510)], dtype="string[pyarrow]")
    assert understand(values, FILE).kind == "text"
    assert understand(values.where(values != "w50", "w49"), FILE).kind == "category"


@pytest.mark.parametrize(("distinct", "codes"), [(2, False), (3, True), (MAX_CODES, True), (MAX_CODES + 1, False)])
def test_few_whole_numbers_may_be_codes(distinct, codes):
    assert understand(pd.Series(np.arange(210) % distinct), FILE).codes is codes
    assert understand(pd.Series(np.arange(210) % distinct + 0.5), FILE).codes is False


def test_faults_46_and_47_what_a_frame_holds_is_what_a_study_reads(tmp_path):
    """Categories stay categories whatever they are, orders are kept, and what Parquet has no type for is text."""
    frame = pd.DataFrame(
        {
            "cut": pd.cut(np.arange(ROWS), 3),
            "whole": pd.Categorical(np.arange(ROWS) % 3),
            "ranks": pd.Categorical(["S", "M", "L"] * 20, categories=["S", "M", "L", "XL"], ordered=True),
            "mixed": [1, "one", 2.5] * 20,
            "span": pd.arrays.IntervalArray.from_breaks(np.arange(ROWS + 1) // 20),
            "day": pd.period_range("2020-01-01", periods=ROWS, freq="D"),
            "flag": [True, False] * 30,
            "time": pd.date_range("2020", periods=ROWS, tz="Europe/Paris"),
            "class": pd.Categorical(np.arange(ROWS) % 30),
        }
    )
    path = write_frame(frame, tmp_path / "frame.parquet")
    spec = DataSpec(kind="frame", source="frame", target="class", preparation=2)
    result = build_table(read_source(spec, path), "class")
    assert (result.target.task, len(result.target.classes)) == ("classification", 30)
    assert [(column.name, column.kind) for column in result.columns] == [
        ("cut", "ordered"),
        ("whole", "category"),
        ("ranks", "ordered"),
        ("mixed", "category"),
        ("span", "category"),
        ("day", "date"),
        ("flag", "boolean"),
        ("time", "date"),
    ]
    assert result.columns[2].order == ("S", "M", "L")
    assert result.columns[0].order[0] == "(-0.059, 19.667]"
    assert result.frame["time"][0] == pd.Timestamp("2020-01-01")


def test_fault_47_a_column_that_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(DataError, match=r"'bad' holds complex128 \(.*\); convert it, for instance to text, or leave"):
        write_frame(pd.DataFrame({"bad": [1j]}), tmp_path / "frame.parquet")


def test_fault_45_a_class_named_none_is_a_class():
    result = table(label=["None", "a", "NA", "b"])
    assert result.target.classes == ("NA", "None", "a", "b")
    assert [written(note, CommandLine()) for note in result.notes] == [
        "the target 'label': 'None' is a value, in 15 rows; where it means none, use --missing None",
        "the target 'label': 'NA' is a value, in 15 rows; where it means none, use --missing NA",
    ]
    fewer = table(label=["None", "a", "NA", "b"], corrections={"missing": "None,NA"})
    assert (fewer.target.classes, fewer.notes) == (("a", "b"), ("30 rows have no target and are not used",))


def test_fault_45_groups_and_weights_have_words_of_their_own():
    groups = table(evaluation={"group": "who"}, who=["NA", "x", "y"]).groups
    assert len(set(groups.tolist())) == 3
    numbered = {"evaluation": {"group": "who"}, "who": ["NA", "1", "2"]}
    with pytest.raises(DataError, match="column 'who' has none in 20 rows"):
        table(**numbered)
    with pytest.raises(DataError, match="59 of 60 values of 'w' are numbers, row 7 is 'unknown'"):
        table(evaluation={"weight": "w"}, w=[*"123456", "unknown", *["5"] * 53])
    assert table(evaluation={"weight": "w"}, w=["$1", "$3"]).weights.tolist() == [0.5, 1.5] * 30


PRICES = [f"${i * 37.5:,.2f}" for i in range(30, 90)]


def test_fault_52_a_quantity_with_a_word_names_the_row_and_a_remedy_that_works():
    assert table(label=PRICES).target.task == "regression"
    unknown = [*PRICES[:6], "unknown", *PRICES[7:]]
    for evaluation in ({}, {"task": "regression"}, {"loss": "gaussian"}):
        with pytest.raises(DataError) as refused:
            table(label=unknown, evaluation=evaluation)
        assert str(refused.value) == (
            "59 of 60 values of 'label' are numbers, row 7 is 'unknown'; "
            "use missing='unknown' where that means none, or correct the table"
        )
    result = table(label=unknown, corrections={"missing": "unknown"})
    assert (result.target.task, len(result.target.values)) == ("regression", 59)
    assert len(table(label=unknown, evaluation={"task": "classification"}).target.classes) == 60


def test_classes_that_are_numbers_and_a_word_are_classes():
    assert table(label=["0", "1", "unknown"]).target.classes == ("0", "1", "unknown")


def test_fault_53_decimal_commas_are_read_whatever_the_separator(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("x\ty\n" + "".join(f"{i},25\t{'ab'[i % 2]}\n" for i in range(40)))
    spec = DataSpec(kind="file", source=str(path), target="y", preparation=2)
    result = build_table(read_source(spec), "y")
    assert result.frame["x"].tolist()[:2] == [0.25, 1.25]
    assert result.notes == ("fields are separated by tabs", "column 'x': numbers with decimal commas")


def test_fault_55_blanks_around_values_mean_nothing_and_cases_are_noted():
    result = table(label=["yes ", "yes", " no", "no"], color=["red", "red ", "Red"])
    assert result.target.classes == ("no", "yes")
    assert result.frame["color"].unique().tolist() == ["red", "Red"]
    assert result.notes == (
        "the target 'label': values that differ in blanks around them are one",
        "column 'color': values that differ in blanks around them are one",
        "column 'color': values that differ in case only: 'red' and 'Red'",
    )


def test_fault_62_words_among_numbers_are_noted_once_for_all_columns():
    result = table(x=["?", *map(str, range(1, 30))], y=["?", *map(str, range(1, 30))], z=["5 kg", "7 kg"])
    assert result.notes == (
        "columns 'x', 'y': '?' read as missing, in 2 rows",
        "column 'z': numbers with 'kg'",
    )
    assert result.frame["x"].isna().sum() == 2
    assert result.columns[1].note == "'?' read as missing, in 2 rows"


@pytest.mark.parametrize("text", ["None", "NA", "null"])
def test_fault_28_words_can_be_values(text):
    assert table(color=[text, "red", "blue"]).frame["color"].isna().sum() == 20
    assert table(color=[text, "red", "blue"], usual_words=False).frame["color"].isna().sum() == 0
    assert table(color=[text, "1.5", "2"], usual_words=False).columns[1].kind == "category"


@pytest.mark.parametrize(
    ("kind", "values", "expected", "first"),
    [
        ("category", ["11", "12"], "category", "11"),
        ("text", ["11", "12"], "text", "11"),
        ("number", ["1", "none", "x1"][:2], "number", 1.0),
        ("number:,", ["1,234", "5,678"], "number", 1.234),
        ("date:%d.%m.%y", ["31.01.24", "01.02.24"], "date", pd.Timestamp("2024-01-31")),
        ("ordered:low,high", ["high", "low"], "ordered", "high"),
        ("ordered", ["10", "9"], "ordered", "10"),
        ("boolean", ["on", "off"], "boolean", "on"),
    ],
)
def test_a_kind_that_is_asked_for_holds(kind, values, expected, first):
    result = table(corrections={"kind": {"x": kind}}, x=values)
    assert (result.columns[1].kind, result.frame["x"][0]) == (expected, first)


def test_orders_are_as_given_or_those_of_numbers():
    assert table({"kind": {"x": "ordered:low,high"}}, x=["high", "low"]).columns[1].order == ("low", "high")
    assert table({"kind": {"x": "ordered"}}, x=["10", "9"]).columns[1].order == ("9", "10")


@pytest.mark.parametrize(
    ("corrections", "message"),
    [
        ({"kind": {"colour": "text"}}, r"got 'colour'; did you mean 'color'\? Use kind=\{'color': 'text'\}"),
        ({"drop": "colour"}, r"column to leave out must be a column of people.csv, got 'colour'; did you mean 'color'"),
        ({"drop": "label"}, "the column to leave out must not be the target"),
        ({"kind": {"mostly": "number"}}, "58 of 60 values of 'mostly' are numbers, row 3 is 'x1'; use missing='x1'"),
        ({"kind": {"color": "number"}}, r"0 of 60 values .* use kind=\{'color': 'category'\}|use missing="),
        ({"kind": {"color": "boolean"}}, "must have 2 values, 'color' has 3"),
        ({"kind": {"color": "date"}}, "0 of 60 values of 'color' are dates"),
        ({"kind": {"color": "ordered"}}, "the order of 'color' must be given"),
        ({"kind": {"color": "ordered:red,blue"}}, "40 of 60 values of 'color' are in the order .*, row 3 is 'green'"),
    ],
)
def test_corrections_that_cannot_be_are_refused_with_the_remedy(corrections, message):
    mostly = [*["1.5", "2"] * 15]
    mostly[2] = "x1"
    with pytest.raises(DataError, match=message):
        table(corrections, color=["red", "blue", "green"], mostly=mostly)


def test_dropped_columns_are_no_inputs():
    result = table({"drop": ["a", "b,c"]}, **{"a": ["1.5", "2"], "b,c": ["3", "4.5"]})
    assert [column.name for column in result.columns] == ["size"]


def test_numbers_of_rows_are_left_out_unless_there_is_nothing_else():
    rows = [str(i) for i in range(ROWS)]
    assert [column.name for column in table(row=rows).columns] == ["size"]
    assert [column.name for column in table({"drop": "size"}, row=rows).columns] == ["row"]
    assert [column.name for column in table({"kind": {"row": "number"}}, row=rows).columns] == ["size", "row"]


def test_a_study_of_an_earlier_version_is_read_as_it_was(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("n,x,y\n" + "".join(f"{i},{i} kg,{'ab'[i % 2]}\n" for i in range(19)))
    spec = DataSpec(kind="file", source=str(path), target="y")
    result = build_table(read_source(spec), "y", preparation=spec.preparation)
    assert [(column.name, column.kind) for column in result.columns] == [("n", "numeric"), ("x", "text")]
    assert result.notes == (NOTE,)


@given(st.lists(st.none() | st.text(max_size=4), min_size=1, max_size=40))
def test_any_texts_have_a_kind_and_values_that_go_with_it(values):
    found = understand(pd.Series(values, dtype="string[pyarrow]"), FILE)
    dtypes = {"number": "float64", "date": "datetime64[s]"}
    if found.is_input:
        assert str(found.values.dtype) == dtypes.get(found.kind, "object")
    assert len(found.values) == len(values)


def test_rows_keep_their_numbers_in_messages():
    """Two rows without a target come before the one that is told."""
    columns = {"x": ["1", "2", *(f"oops {i}" for i in range(4)), *["4"] * 54], "label": ["", "", *["no", "yes"] * 29]}
    with pytest.raises(DataError, match="54 of 58 values of 'x' are numbers, row 3 is 'oops 0'"):
        table({"kind": {"x": "number"}}, **columns)


def test_further_words_are_missing_in_columns_of_any_type():
    frame = pd.DataFrame({"x": [-999.0, 1.5, 2.5] * 20, "label": [-999, 1, 2] * 20})
    for kind in ({}, {"x": "number"}):
        corrections = Corrections(missing="-999", kind=kind)
        found = build_table(Source("t", frame, ""), "label", EvaluationSpec(), corrections=corrections)
        assert found.target.classes == ("1", "2")
        assert found.frame["x"].min() == 1.5
    assert table({"missing": "-999"}, x=["-999.0", "1.5", "2.5"]).frame["x"].min() == 1.5


def test_groups_and_classes_in_digits_are_names():
    ids = [f"123456789012345678{i}" for i in range(3)]
    assert len(set(table(evaluation={"group": "who"}, who=ids).groups)) == 3
    assert table(label=["01", "1", "02"]).target.classes == ("01", "02", "1")
    assert table(label=["1", "2", "3"]).target.classes == ("1", "2", "3")
    padded = [f"{i:03}" for i in range(60)]
    assert table(label=padded).target.task == "regression"


def test_a_word_among_many_different_numbers_is_found_at_once():
    values = pd.Series([*(f"{i / 7}" for i in range(100_000)), "oops"], dtype="string[pyarrow]")
    frame = pd.DataFrame({"x": values.sample(frac=1, random_state=0).to_numpy(), "label": values})
    started = time.process_time()
    with pytest.raises(DataError, match=r"100,000 of 100,001 values of 'label' are numbers, row 100,001 is 'oops'"):
        build_table(Source("t", frame, "", as_written=True), "label")
    assert time.process_time() - started < 15


def test_numbers_with_a_frequent_word_are_noted():
    found = table(x=["1", "2.5", "3", "oops"])
    assert found.frame["x"].dtype == object
    (note,) = found.notes
    assert "45 of 60 values are numbers; where the others mean none, use --missing oops" in written(note, CommandLine())


def test_times_are_read_as_a_person_says():
    forward = {"time": "when", "method": "forward"}
    times = [f"{i % 28 + 1:02}.01.2024" for i in range(60)]
    found = table({"kind": {"when": "date:%d.%m.%Y"}}, forward, when=times)
    assert found.times is not None
    assert len(set(found.times.ranks)) == 28
    with pytest.raises(DataError, match="column 'when' has none in 1 row"):
        table({"missing": "soon"}, forward, when=["2024-01-01", *["2024-01-02"] * 58, "soon"])


def test_ordered_numbers_keep_an_order_that_is_not_theirs(tmp_path):
    sizes = pd.Categorical([3, 1, 2] * 20, categories=[3, 1, 2], ordered=True)
    frame = pd.DataFrame({"size": sizes, "label": ["no", "yes"] * 30})
    path = write_frame(frame, tmp_path / "frame.parquet")
    source = read_source(DataSpec(kind="frame", source="frame", target="label", preparation=2), path)
    (column,) = build_table(source, "label").columns
    assert (column.kind, column.order) == ("ordered", ("3", "1", "2"))
