"""Tables that are there once: frames of other libraries, lists, the answer to a query."""

import sqlite3

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
from scipy import sparse

from hpo.data.frames import as_frame, with_target, write_frame
from hpo.data.query import query
from hpo.data.target_names import divided
from hpo.errors import DataError

FRAME = pd.DataFrame({"x": [1.5, 2.5, None], "y": ["a", "b", "a"]})


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sales (price REAL, item TEXT, photo BLOB)")
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", [(1.5, "a", b"x"), (None, "b", None)])
    return f"sqlite:///{path}"


class Arrow:
    """As polars' frames are."""

    def __arrow_c_stream__(self, schema=None):
        return pa.table(FRAME).__arrow_c_stream__(schema)


class Polars:
    def to_arrow(self):
        return pa.table(FRAME)


@pytest.mark.parametrize("data", [FRAME, Arrow(), Polars(), FRAME.to_dict("list"), FRAME.to_dict("records")])
def test_fault_59_tables_of_other_libraries_are_frames(data):
    pd.testing.assert_frame_equal(as_frame(data), FRAME, check_dtype=False)


def test_fault_59_polars(tmp_path):
    frame = polars.DataFrame({"x": [1.5, 2.5, None], "y": ["a", "b", "a"]})
    pd.testing.assert_frame_equal(as_frame(frame), FRAME, check_dtype=False)


@pytest.mark.parametrize(
    "data", [[[1, 2], [3, 4], [5, 6]], ((1, 2), (3, 4), (5, 6)), np.array([[1, 2], [3, 4], [5, 6]])]
)
@pytest.mark.parametrize(
    "target", [["a", "b", "a"], ("a", "b", "a"), np.array(["a", "b", "a"]), pd.Series(list("aba"))]
)
def test_lists_and_arrays_of_inputs_and_targets_are_joined(data, target):
    frame, name = with_target(as_frame(data), target)
    assert name == ["target"]
    assert frame["x1"].tolist() == [2, 4, 6]
    assert frame["target"].tolist() == ["a", "b", "a"]


def test_fault_59_sparse_columns_and_matrices_are_read(tmp_path):
    frame = pd.DataFrame({"x": pd.arrays.SparseArray([0, 0, 3]), "y": list("aba")})
    assert pd.read_parquet(write_frame(frame, tmp_path / "a.parquet"))["x"].tolist() == [0, 0, 3]
    joined, _ = with_target(as_frame(sparse.csr_matrix([[0.0, 1], [2, 0], [0, 0]])), ["a", "b", "a"])
    assert joined["x0"].tolist() == [0, 2, 0]


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(DataError, match="rows or columns must be of one length, got some of 1 and 2 values"):
        as_frame([[1, 2], [3]])
    with pytest.raises(DataError, match="of one length"):
        as_frame({"a": [1, 2], "b": [3]})


def test_columns_without_names_are_found_by_number():
    """Fault 60."""
    columns = ["column_1", "column_2", "column_3"]
    assert [divided(text, columns) for text in ("2", "-1", "column_3", "1,-1")] == [
        ("column_2",),
        ("column_3",),
        ("column_3",),
        ("column_1", "column_3"),
    ]
    assert divided("4", columns) == ("4",)
    assert divided("-4", columns) == ("-4",)
    assert divided("1", [*columns, "y"]) == ("1",)
    assert divided("1", ["1", "2"]) == ("1",)


def test_a_query_is_answered_with_numbers_and_texts(database, tmp_path):
    path = tmp_path / "answer.parquet"
    assert query({"sql": "SELECT * FROM sales", "url": database, "path": str(path)}) == {"rows": 2}
    frame = pd.read_parquet(path)
    assert frame["item"].tolist() == ["a", "b"]
    assert frame["price"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT * FROM shops", r"it does not \(no such table: shops\); check data and data_url"),
        ("SELECT 1 AS a, 2 AS a", "the answer to the query: column names must differ, 'a'"),
        ("SELECT * FROM sales WHERE price > 9", "must hold rows, it has none"),
        ("CREATE TABLE t (x)", "use a SELECT"),
    ],
)
def test_wrong_queries_are_refused(database, tmp_path, sql, reason):
    with pytest.raises(DataError, match=reason):
        query({"sql": sql, "url": database, "path": str(tmp_path / "answer.parquet")})


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////nowhere/shop.db", "there is no file /nowhere/shop.db; check data_url"),
        ("shop", "a database is given as a URL, such as sqlite"),
        ("oracle://me:secretword@host/x", "No module named"),
        ("postgresql://me:secretword@127.0.0.1:9/x?connect_timeout=2", "the database must answer the query"),
    ],
)
def test_databases_that_do_not_answer_are_named_without_their_password(tmp_path, url, reason):
    with pytest.raises(DataError, match=reason) as refusal:
        query({"sql": "SELECT 1", "url": url, "path": str(tmp_path / "answer.parquet")})
    assert "secretword" not in str(refusal.value)
