"""Results on disk until they are told: kept, replayed, refused, damaged, and a disk that is full."""

import errno
import os

import pytest
from hpo_spaces import Float, SearchSpace
from hpo_storage import slots
from hpo_storage.database import connect
from hpo_storage.slots import claim, release
from hpo_storage.studies import create_study, find_study, read_study
from hpo_storage.workers import start_worker
from optuna.distributions import FloatDistribution

from hpo.errors import StorageAwayError
from hpo.search.advisor import Advisor
from hpo.search.incumbent import Leaderboard
from hpo.settings import SearchSpec
from hpo.worker.progress import SilentView
from hpo.worker.results import Outbox, Settled, Spool
from tests.helpers.databases import upgraded_file
from tests.helpers.records import make_outcome, make_replicate

REPLICATE = make_replicate(loss=0.1 + 0.2, stop_loss=0.25, curve=(1.5, 0.25), predictions=b"\x00\xff\x00\x80")
OUTCOME = make_outcome(0.1 + 0.2, standard_error=1e-17, info={"widths": [3]}, replicates=(REPLICATE,))


class Hearing(SilentView):
    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


@pytest.fixture
def database(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = connect(upgraded_file(tmp_path / "hpo.db"))
    yield there
    there.close()


@pytest.fixture
def claims(database):
    """Two claims of a study of three."""
    study_id = create_study(database, "s", {}, {"replicates": 1}, {}, 3)
    worker_id = start_worker(database, study_id, host="h", pid=1)
    space = {"x": FloatDistribution(0.0, 1.0)}
    return [claim(database, study_id, worker_id, lambda offer: {"x": 0.5}, space) for _ in range(2)]


def read(database):
    return read_study(database, "s")


def test_a_result_comes_back_as_it_was_kept(database, claims):
    spool = Spool(database)
    for one in claims:
        spool.keep(one, OUTCOME)
    assert len(list(spool.folder.iterdir())) == 2
    assert Spool(database).replay(database) == 2
    assert [trial.value for trial in read(database).trials] == [OUTCOME.value] * 2
    assert read(database).finished == 2
    assert not list(spool.folder.iterdir())
    assert spool.replay(database) == 0
    spool.drop(claims[0])  # gone already


def test_results_of_others_are_dropped_and_damaged_ones_set_aside(database, claims, caplog):
    spool = Spool(database)
    for one in claims:
        spool.keep(one, OUTCOME)
    release(database, claims[0], counts=False)
    (spool.folder / "0.json").write_text('{"claim": {"slot"')
    (spool.folder / "1.json").write_text('{"claim": {}, "outcome": {}}')
    assert spool.replay(database) == 1
    assert sorted(path.name for path in spool.folder.iterdir()) == ["0.bad", "1.bad"]
    assert caplog.text.count("is not used") == 1
    assert caplog.text.count("cannot be told") == 2
    assert read(database).finished == 1


def test_a_spool_belongs_to_a_database_however_it_is_named(database, tmp_path):
    other = connect("sqlite:///hpo.db")
    another = connect(f"sqlite:///{tmp_path}/other.db")
    assert Spool(database).folder == Spool(other).folder != Spool(another).folder
    other.close()
    another.close()


def test_fault_33_the_folder_does_not_depend_on_a_password(monkeypatch, tmp_path):
    from hpo_storage.database import Database
    from hpo_storage.engine import make_engine, parse_url

    urls = [f"postgresql://u:{word}@h/db?sslpassword={word}" for word in ("one", "two")]
    folders = {Spool(Database(make_engine(parse_url(url)))).folder for url in urls}
    assert len(folders) == 1


def test_databases_that_differ_in_an_option_have_spools_of_their_own(database):
    from hpo_storage.database import Database
    from hpo_storage.engine import make_engine, parse_url

    sockets = [f"postgresql:///db?host=/sock/{name}" for name in ("one", "two")]
    others = ["mysql://h/db", "postgresql://h/db", "postgresql://h:5433/db", "postgresql://h/other"]
    folders = {Spool(Database(make_engine(parse_url(url)))).folder for url in (*sockets, *others)}
    assert len(folders) == 6


def test_a_result_that_cannot_be_told_is_set_aside(database, claims, monkeypatch, caplog):
    spool = Spool(database)
    for one in claims:
        spool.keep(one, OUTCOME)
    finish = slots.finish

    def picky(database, claim, outcome):
        if claim == claims[0]:
            raise ValueError("not a number")
        finish(database, claim, outcome)

    monkeypatch.setattr(slots, "finish", picky)
    assert spool.replay(database) == 1
    assert [path.name for path in spool.folder.iterdir()] == [f"{claims[0].token}.bad"]
    assert "cannot be told (ValueError: not a number); it is in" in caplog.text
    assert spool.replay(database) == 0


def test_what_a_killed_process_was_writing_is_removed_in_time(database, claims):
    spool = Spool(database)
    spool.keep(claims[0], OUTCOME)
    old, young = spool.folder / "old.new", spool.folder / "young.new"
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    spool.replay(database)
    assert list(spool.folder.iterdir()) == [young]


def test_fault_15_a_full_disk_is_said_and_the_result_told_directly(database, claims, monkeypatch):
    view, spool = Hearing(), Spool(database)
    study_id, space = find_study(database, "s").id, SearchSpace(name="line", dimensions=(Float("x", 0.0, 1.0),))
    advisor = Advisor(database, study_id, "w", space, SearchSpec(), Leaderboard())

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    def gone(*_):
        raise StorageAwayError("gone")

    monkeypatch.setattr(os, "fsync", full)
    outbox = Outbox(advisor, spool, view)
    outbox.add(Settled(claims[0], OUTCOME, seconds=1.0))
    assert "results cannot be kept on this machine until they are told: [Errno 28]" in view.messages[0]
    assert not list(spool.folder.iterdir())
    monkeypatch.setattr(slots, "finish", gone)
    outbox.close()
    assert view.messages[1:] == ["neither told nor kept, so to be trained again: 1 result"]
    monkeypatch.undo()
    assert outbox.tell().settled.outcome is OUTCOME
    assert not outbox
    assert read(database).finished == 1
