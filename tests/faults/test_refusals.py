"""What a worker cannot work on, for a while or at all: studies, databases and files that are wrong, refused or gone."""

import json
import os

import pytest
import sqlalchemy as sa
from hpo_storage.database import connect
from hpo_storage.studies import create_study
from hpo_storage.workers import list_workers

from hpo.worker.results import Spool
from tests.faults.test_storage import disk
from tests.helpers.databases import KINDS, opened
from tests.helpers.fleet import synthetic
from tests.helpers.invariants import invariants

__all__ = ["disk"]
pytestmark = pytest.mark.slow

SPACE = "from hpo_spaces.mlp import MLP\nSPACE = MLP\n"
OURS = ("hpo_predictions", "hpo_replicates", "hpo_trials", "hpo_slots", "hpo_studies")
OPTUNAS = (
    *("trial_user_attributes", "trial_params", "trial_values", "trial_intermediate_values", "trials"),
    *("study_directions", "studies"),
)
GONE = {"whole": (*OURS, *OPTUNAS), "Optuna's": OPTUNAS, "ours and workers": (*OURS, "hpo_workers")}


def delete_rows(fleet, tables):
    """As another program does it, which knows nothing of who works."""

    def done():
        with opened(fleet.url) as database:
            try:
                with database.engine.begin() as connection:
                    connection.exec_driver_sql("UPDATE hpo_workers SET study_id = NULL")
                    for table in tables:
                        connection.exec_driver_sql(f"DELETE FROM {table}")
            except sa.exc.DBAPIError:  # a worker has written meanwhile
                return False
        return True

    fleet.wait_for(done)


@pytest.mark.parametrize(
    ("fleet", "what"),
    [*((kind, "whole") for kind in KINDS), ("sqlite", "Optuna's"), ("sqlite", "ours and workers")],
    indirect=["fleet"],
)
def test_fault_66_a_study_that_disappears(fleet, what):
    fleet.create("s", 40, 0.5).end()
    worker = fleet.start("worker", "--trainers", 2)
    fleet.wait_for_trials("s", 1)
    fleet.wait_for_trials("s", 2, running=True)
    delete_rows(fleet, GONE[what])
    fleet.wait_for(lambda: "'s' is gone: it, or part of it, was deleted meanwhile" in worker.output)
    fleet.create("t", 3)
    record = fleet.finish("t", worker)
    assert {trial.state for trial in record.trials} == {"complete"}
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_66_a_run_whose_study_disappears(fleet):
    run = fleet.start("run", "--study", "s", *synthetic(0.5, 40), "--no-report", "--trainers", 2)
    fleet.wait_for(lambda: fleet.exists("s"))
    fleet.wait_for_trials("s", 2, running=True)
    delete_rows(fleet, OPTUNAS)
    assert run.wait() == 2, run.output
    assert "'s' is gone: it, or part of it, was deleted meanwhile" in run.output
    assert "Traceback" not in run.output
    assert fleet.spooled == []
    again = fleet.start("run", "--study", "new", *synthetic(0.05, 3), "--no-report")  # gets the same id
    assert again.wait() == 0, again.output
    invariants(fleet.url, "new")


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_71_a_module_that_comes_later(fleet):
    module = fleet.folder / "here_only.py"
    module.write_text(SPACE)
    fleet.create("s", 3, 0.05, "--space", "here_only:SPACE")
    module.write_text("raise RuntimeError('half written')")
    worker = fleet.start("worker", "--trainers", 1, "--study", "s")
    fleet.wait_for(lambda: "this worker leaves s to others" in worker.output)
    with opened(fleet.url) as database:
        fleet.wait_for(lambda: "half written" in (list_workers(database)[0].note or ""))
    module.write_text(SPACE)
    record = fleet.finish("s", worker)
    assert {trial.state for trial in record.trials} == {"complete"}
    assert worker.output.count("leaves s to others") == worker.output.count("can work on s now") == 1
    with opened(fleet.url) as database:
        assert [record.note for record in list_workers(database, alive_only=False) if record.role == "worker"] == [None]


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_71_a_worker_that_serves_once_names_what_it_leaves(fleet):
    fleet.create("good", 2)
    with opened(fleet.url) as database:
        create_study(database, "bad", {}, {"replicates": 1}, {}, 2)
    worker = fleet.start("worker", "--trainers", 1, "--once")
    assert worker.wait() == 1, worker.output
    assert "left undone, as this worker cannot work on it: bad" in worker.output
    invariants(fleet.url, "good")


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_71_a_database_that_refuses_for_a_while(fleet, disk):
    url = f"sqlite:///{disk.folder}/hpo.db"
    fleet.url = url
    fleet.create("s", 8, 0.3).end()
    worker = fleet.start("worker", "--trainers", 2, HPO_STORAGE=url)
    fleet.wait_for_trials("s", 2)
    disk.fill()
    fleet.wait_for(lambda: "; waiting for it" in worker.output)
    disk.grow(50_000)
    record = fleet.finish("s", worker)
    assert "the database answers again" in worker.output
    assert {trial.state for trial in record.trials} == {"complete"}


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_78_files_in_the_spool_that_are_no_results(fleet, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(fleet.folder / "state"))
    database = connect(fleet.url)
    folder = Spool(database).folder
    database.close()
    folder.mkdir(parents=True)
    claim = {"slot": 0, "attempt": 1, "token": "../../x", "trial_id": 1, "number": 0, "params": {}}
    result = {"state": "complete", "value": 1.0, "standard_error": None, "reason": None, "info": {}, "replicates": []}
    contents = {
        "binary": b"\xff\x00",
        "empty": b"",
        "list": b"[]",
        "deep": b"[" * 100_000,
        "cut": b'{"claim": {"slot"',
        "types": json.dumps({"claim": {**claim, "trial_id": "one"}, "outcome": result}).encode(),
        "fields": json.dumps({"claim": {**claim, "more": 1}, "outcome": result}).encode(),
        "number": json.dumps({"claim": claim, "outcome": {**result, "value": float("nan")}}).encode(),
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_bytes(content)
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    run = fleet.start("run", "--study", "s", *synthetic(0.05, 2), "--no-report")
    assert run.wait() == 0, run.output
    invariants(fleet.url, "s")
    assert "Traceback" not in run.output
    names = {*contents, "folder", "pipe"}
    assert {path.name for path in folder.iterdir()} == {f"{name}.bad" for name in names}
    assert [name for name in names if f"{name}.bad" not in run.output] == []


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
@pytest.mark.parametrize("place", ["a file", "/tmp/" + 300 * "x"])
def test_fault_78_a_place_for_results_that_is_none(fleet, place):
    if place == "a file":
        place = str(fleet.folder / "file")
        (fleet.folder / "file").write_text("")
    worker = fleet.start("run", "--study", "s", *synthetic(0.05, 2), "--no-report", XDG_STATE_HOME=place)
    assert worker.wait() == 0, worker.output
    assert worker.output.count("results cannot be kept on this machine until they are told") == 1
    assert "Traceback" not in worker.output
    invariants(fleet.url, "s")
