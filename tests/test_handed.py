"""Standard input and queries: read once, and kept with the study."""

import io
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import hpo
from hpo.data.fingerprint import file_sha256
from hpo.data.source import read_source
from hpo.errors import DataError, StudyError
from hpo.handed import with_copy
from hpo.objectives.mlp import MLP, MlpPart, _given_data
from hpo.study.resolve import request
from hpo.study.spec import StudySpec

CSV = "x,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(40))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPO_DATA_URL", raising=False)
    return tmp_path


@pytest.fixture
def shop(folder):
    with sqlite3.connect(folder / "shop-of-secrets.db") as database:
        database.execute("CREATE TABLE sales (x REAL, label TEXT)")
        database.executemany("INSERT INTO sales VALUES (?, ?)", [(i, "ab"[i % 2]) for i in range(40)])
    return "sqlite:///shop-of-secrets.db"


def data_of(study):
    return MlpPart.of(StudySpec.from_json(study._record.spec)).data


def test_a_query_and_its_database_go_together(tmp_path):
    with pytest.raises(StudyError, match="a query needs a database that answers it; give data_url="):
        with_copy(request("s", data="sql:SELECT 1", target="y"), tmp_path)
    with pytest.raises(StudyError, match="a database is asked with a query, got data_url without one"):
        with_copy(request("s", data="a.csv", data_url="sqlite:///a.db", target="y"), tmp_path)


def test_standard_input_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n1,2\n")))
    assert with_copy(request("s", data="-", target="b"), tmp_path).frame.read_bytes() == b"a,b\n1,2\n"
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="standard input, which is closed"):
        with_copy(request("s", data="-", target="b"), tmp_path)


def test_fault_59_the_answer_to_a_query_is_stored_and_its_database_is_not(shop, monkeypatch):
    sql = "sql:SELECT * FROM sales"
    study = hpo.create_study(sql, "label", data_url=shop, storage="team.db", progress=False, replicates=1)
    assert study._record.facts["rows"] == 40
    assert study._record.dataset
    assert data_of(study).source == sql
    assert b"shop-of-secrets" not in Path("team.db").read_bytes()


def test_a_query_is_asked_of_the_database_that_the_environment_names(shop, folder, monkeypatch):
    monkeypatch.setenv("HPO_DATA_URL", shop)
    asked = []
    monkeypatch.setattr("hpo.handed.run_child", lambda on_wait, module, request: asked.append((module, request)))
    found = with_copy(request("s", data="SQL:SELECT 1", target="y"), folder)
    assert asked == [("hpo.data.query", {"sql": "SELECT 1", "url": shop, "path": str(found.frame)})]


def test_fault_59_standard_input_is_stored_as_it_came(folder, monkeypatch):
    text = CSV.encode("utf-16")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    asked_for = with_copy(request("s", data="-", target="label", encoding="utf-16"), folder)
    data = MlpPart.from_json(MLP.define(asked_for, None, works=True, has_copy=False)).data
    assert (data.kind, data.source, data.sha256) == ("frame", "-", file_sha256(asked_for.frame))
    source = read_source(data, asked_for.frame)
    assert source.name == "standard input"
    again = replace(asked_for, given={"data": "-"})
    assert _given_data(again, data) == data
    assert source.frame["label"].tolist() == ["a", "b"] * 20


def test_fault_59_an_address_is_told_to_be_downloaded():
    for address in ("https://example.org/a.csv?x=1", "s3://bucket/a.parquet"):
        with pytest.raises(DataError) as refusal:
            hpo.create_study(address, "label", storage="team.db", progress=False)
        assert f"got the address {address}; download it first" in str(refusal.value)


def test_generated_sets_are_stored_under_their_full_name():
    asked_for = request("s", data="xor:rows=50")
    data = MlpPart.from_json(MLP.define(asked_for, None, works=True, has_copy=False)).data
    assert (data.kind, data.source, data.target) == ("builtin", "xor:rows=50,noise=0.1,seed=0", "target")
    assert len(read_source(data).frame) == 50
    with pytest.raises(DataError, match="did you mean rows="):
        MLP.define(request("s", data="xor:row=50"), None, works=True, has_copy=False)


def test_how_tables_are_read_is_said_of_files_only():
    with pytest.raises(StudyError, match="are for files, got them for xor"):
        hpo.create_study("xor", header=False, storage="team.db", progress=False)
