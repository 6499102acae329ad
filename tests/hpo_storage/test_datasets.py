"""Data sets and predictions: bytes that come back as they were stored."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hpo_storage.database import Database
from hpo_storage.datasets import fetch_dataset, store_dataset
from hpo_storage.predictions import read_predictions
from hpo_storage.records import Outcome
from hpo_storage.slots import finish
from hpo_storage.studies import create_study, delete_study, find_study, read_study
from hpo_storage.tables import CHUNK_BYTES, DATASET_CHUNKS, DATASETS, PREDICTIONS, in_chunks
from hpo_storage.workers import stop_worker

from hpo.errors import StorageError, StudyError

MakeOutcome = Callable[..., Outcome]


def count(db: Database, table: sa.Table) -> int:
    with db.begin_read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table))


def make_file(folder: Path, size: int) -> Path:
    path = folder / "table.parquet"
    path.write_bytes(np.random.default_rng(size).bytes(size))
    return path


@pytest.mark.parametrize("size", [0, 100, CHUNK_BYTES, 2 * CHUNK_BYTES + 1])
def test_a_data_set_comes_back(db: Database, tmp_path: Path, size: int):
    path = make_file(tmp_path, size)
    stored = store_dataset(db, path)
    assert stored == hashlib.sha256(path.read_bytes()).hexdigest()
    target = tmp_path / "there" / "copy.parquet"
    target.parent.mkdir()
    fetch_dataset(db, stored, target)
    assert target.read_bytes() == path.read_bytes()
    assert [p.name for p in target.parent.iterdir()] == ["copy.parquet"]


def test_the_same_content_is_stored_once(db: Database, tmp_path: Path):
    path = make_file(tmp_path, 100)
    assert store_dataset(db, path) == store_dataset(db, path.rename(tmp_path / "other.parquet"))
    assert (count(db, DATASETS), count(db, DATASET_CHUNKS)) == (1, 1)


def test_a_large_data_set_is_refused_with_advice(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = make_file(tmp_path, 2 * CHUNK_BYTES)
    monkeypatch.setenv("HPO_DATASET_MEGABYTES", "1")
    with pytest.raises(StorageError, match=r"at most 1 MiB, got 2 MiB; raise .*, or use store_data=False"):
        store_dataset(db, path)
    monkeypatch.setenv("HPO_DATASET_MEGABYTES", "much")
    with pytest.raises(StorageError, match="must be a number, got 'much'; use 256"):
        store_dataset(db, path)
    assert count(db, DATASETS) == 0


def test_a_damaged_data_set_is_not_handed_out(db: Database, tmp_path: Path):
    stored = store_dataset(db, make_file(tmp_path, 100))
    with db.begin_write() as connection:
        connection.execute(DATASET_CHUNKS.update().values(content=b"other"))
    target = tmp_path / "copy.parquet"
    with pytest.raises(StorageError, match="must have the content it was stored with"):
        fetch_dataset(db, stored, target)
    assert not target.exists()
    with pytest.raises(StorageError, match="must be in the database to be fetched, got 000000000000"):
        fetch_dataset(db, "0" * 64, target)
    with db.begin_write() as connection:
        connection.execute(DATASET_CHUNKS.update().values(chunk=1))
    with pytest.raises(StorageError, match=r"must have all its pieces, got .* without piece 0"):
        fetch_dataset(db, stored, target)
    assert sorted(p.name for p in tmp_path.iterdir() if "parquet" in p.name) == ["table.parquet"]


def test_a_data_set_goes_with_the_last_study_that_uses_it(db: Database, tmp_path: Path):
    dataset = store_dataset(db, make_file(tmp_path, 100))
    first, second = (create_study(db, name, {}, {}, {}, 1, dataset=dataset) for name in "ab")
    header = find_study(db, "a")
    assert header is not None
    assert header.dataset == read_study_dataset(db) == dataset
    delete_study(db, first)
    assert count(db, DATASETS) == 1
    delete_study(db, second)
    assert (count(db, DATASETS), count(db, DATASET_CHUNKS)) == (0, 0)


def test_a_data_set_goes_when_its_study_cannot_be_made(db: Database, tmp_path: Path):
    dataset = store_dataset(db, make_file(tmp_path, 100))
    create_study(db, "a", {}, {}, {}, 1)
    with pytest.raises(StudyError, match="needs a name of its own"):
        create_study(db, "a", {}, {}, {}, 1, dataset=dataset)
    assert (count(db, DATASETS), count(db, DATASET_CHUNKS)) == (0, 0)
    create_study(db, "b", {}, {}, {}, 1, dataset=store_dataset(db, tmp_path / "table.parquet"))
    with pytest.raises(StudyError, match="needs a name of its own"):
        create_study(db, "a", {}, {}, {}, 1, dataset=dataset)
    assert (count(db, DATASETS), count(db, DATASET_CHUNKS)) == (1, 1)


def read_study_dataset(db: Database) -> str | None:
    with db.begin_write() as connection:
        connection.exec_driver_sql("UPDATE hpo_studies SET facts = '{}' WHERE name = 'b'")
    return read_study(db, "b").dataset


def test_a_study_needs_its_data_set(db: Database):
    with pytest.raises(StorageError, match="got 000000000000, which was deleted meanwhile"):
        create_study(db, "a", {}, {}, {}, 1, dataset="0" * 64)
    assert find_study(db, "a") is None


def test_predictions_come_back_by_replicate(bench, outcome: MakeOutcome):
    full = outcome()
    scores = np.random.default_rng(0).random((CHUNK_BYTES // 4, 2), dtype=np.float32)
    contents = [scores.astype("<f4").tobytes(), b""]
    told = tuple(replace(r, predictions=content) for r, content in zip(full.replicates, contents, strict=True))
    claimed, other = bench.claim(), bench.claim()
    finish(bench.db, claimed, outcome(replicates=told))
    finish(bench.db, other, full)
    assert read_predictions(bench.db, claimed.trial_id) == dict(enumerate(contents))
    assert read_predictions(bench.db, other.trial_id) == {}
    assert read_study(bench.db, "churn").trials[0].replicates == full.replicates
    stop_worker(bench.db, bench.worker_id)
    delete_study(bench.db, bench.study_id)
    assert count(bench.db, PREDICTIONS) == 0


def test_an_outcome_goes_through_json(outcome: MakeOutcome):
    full = outcome()
    told = (replace(full.replicates[0], predictions=b"\x00\xff\x80"), full.replicates[1])
    for given in (full, outcome(replicates=told)):
        assert Outcome.from_json(json.loads(json.dumps(given.to_json()))) == given


def test_pieces():
    assert in_chunks(b"") == [b""]
    assert [len(piece) for piece in in_chunks(bytes(CHUNK_BYTES + 1))] == [CHUNK_BYTES, 1]
