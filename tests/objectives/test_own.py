"""An objective that hpo knows nothing of runs whole studies: trained by workers, or asked for and told by others."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.fleet import Fleet
from tests.helpers.invariants import invariants
from tests.helpers.processes import run_python

OWN = Path(__file__).with_name("parabola.py")
ASKER = """
import os, socket, sys
from hpo.objectives.registry import load_objective
from hpo.search.advisor import Advisor
from hpo.study.resolve import reopen
from hpo.study.spec import StudySpec
from hpo_storage.database import connect
from hpo_storage.studies import find_study
from hpo_storage.workers import start_worker, stop_worker
from parabola import evaluate

database = connect("sqlite:///hpo.db", create=False)
header = find_study(database, "own")
study = reopen(StudySpec.from_json(header.spec))
me = start_worker(database, header.id, host=socket.gethostname(), pid=os.getpid(), role="worker")
advisor = Advisor(database, header.id, me, study.space, study.spec.search, study.leaderboard())
claim, told = advisor.ask(), 0
print("ready", flush=True)
sys.stdin.readline()
while claim:
    rules = advisor.history.rules(claim.slot)
    order = study.objective.order(study.spec, study.space, claim.slot, claim.params, rules)
    advisor.tell(claim, evaluate(order))
    claim, told = advisor.ask(), told + 1
stop_worker(database, me)
print(told)
"""


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    shutil.copy(OWN, tmp_path)
    monkeypatch.chdir(tmp_path)
    fleet = Fleet(f"sqlite:///{tmp_path}/hpo.db", tmp_path)
    yield fleet
    fleet.end()


def create(objective, trials):
    """A study of the objective, stored and not worked on."""
    code = f"import hpo; hpo.create_study(study='own', objective='parabola:{objective}', space='parabola:SPACE', "
    code += f"trials={trials}, progress=False, storage='hpo.db')"
    run_python(code, check=True)


def assert_exact(fleet, trials):
    study = invariants(fleet.url, "own", trials)
    assert min(trial.value for trial in study.trials) < 0.01
    return study


def test_it_is_thirty_lines():
    assert len(OWN.read_text("utf-8").splitlines()) <= 30


@pytest.mark.slow
def test_two_workers_train_it(fleet):
    create("TRAINED", 24)
    workers = [fleet.start("worker", "--study", "own", "--once", "--trainers", 1) for _ in range(2)]
    assert [worker.wait(120) for worker in workers] == [0, 0], fleet.outputs
    study = assert_exact(fleet, 24)
    assert {trial.state for trial in study.trials} == {"complete"}
    assert fleet.start("report", "--study", "own").wait() == 0


@pytest.mark.slow
def test_two_programs_ask_for_its_points_and_tell_what_they_found(fleet):
    create("ASKED", 30)
    askers = [
        subprocess.Popen(
            [sys.executable, "-c", ASKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=fleet.folder
        )
        for _ in range(2)
    ]
    for asker in askers:
        assert asker.stdout.readline() == "ready\n"
    for asker in askers:
        asker.stdin.write("go\n")
        asker.stdin.flush()
    told = [int(asker.communicate(timeout=120)[0]) for asker in askers]
    assert sum(told) == 30
    assert min(told) > 0
    assert_exact(fleet, 30)


@pytest.mark.slow
def test_a_worker_leaves_what_others_evaluate_to_them(fleet):
    create("ASKED", 2)
    worker = fleet.start("worker", "--study", "own", "--once")
    assert worker.wait() == 2
    assert "others ask for its points and tell what they found" in worker.output
    status = fleet.start("status", "--study", "own", "--json")
    assert status.wait() == 0
    assert json.loads(status.output)["finished"] == 0


@pytest.mark.slow
def test_a_run_of_what_others_evaluate_says_so_and_watches(fleet):
    create("ASKED", 2)
    run = fleet.start("run", "--study", "own")
    fleet.wait_for(lambda: "watching its workers" in run.output)
    assert "nothing trains own: a program of yours asks for its trials and tells what came out" in run.output
    run.send(signal.SIGINT)
    assert run.wait() == 130


@pytest.mark.slow
@pytest.mark.parametrize("words", [("worker", "--study", "own", "--once"), ("worker", "--once")])
def test_a_worker_in_another_folder_says_which_module_of_which_study_it_lacks(fleet, tmp_path, words):
    create("TRAINED", 2)
    (tmp_path / "parabola.py").unlink()
    worker = fleet.start(*words)
    fleet.wait_for(lambda: "must be importable" in worker.output)
    worker.send(signal.SIGTERM)
    worker.wait()
    said = "the space of study 'own' must be importable where the study is worked on, its module 'parabola' is not in "
    assert f"{said}{tmp_path} or among the installed packages; start in the folder that holds it" in worker.output


LOSSY = """
import sys
from hpo_storage.records import Outcome
from hpo.objectives.base import Objective
from hpo.trainer.messages import serve

class Lossy(Objective):
    trainer = "lossy"

    def prepare(self, spec, folder, copy, run):
        return {"replicates": 1, "notes": [], "loss_name": "distance <b>"}

LOSSY = Lossy()
VALUES = [float("nan"), float("inf"), float("-inf"), 0.5]

def evaluate(order, on_epoch):
    return Outcome(state="complete", value=VALUES[order["slot"]])

if __name__ == "__main__":
    serve(evaluate)
"""


@pytest.mark.slow
def test_fault_18_what_an_own_trainer_tells_fails_where_it_is_no_number(fleet):
    (fleet.folder / "lossy.py").write_text(LOSSY)
    words = ("run", "--study", "own", "--objective", "lossy:LOSSY", "--space", "parabola:SPACE", "--trials", 4)
    run = fleet.start(*words, "--trainers", 1)
    assert run.wait(120) == 0, run.output
    study = invariants(fleet.url, "own", 4)
    assert [trial.state for trial in study.trials] == ["failed", "failed", "failed", "complete"]
    assert all("value must be finite" in trial.reason for trial in study.trials[:3])
    status = fleet.start("status", "--study", "own")
    assert status.wait() == 0
    assert "distance <b>" in status.output
    assert "class frequencies" not in status.output


@pytest.mark.slow
def test_a_trainer_lies_where_its_objective_does(fleet):
    """A script is run from another folder than its own."""
    (fleet.folder / "elsewhere").mkdir()
    code = "import hpo; study = hpo.tune(study='own', objective='parabola:TRAINED', space='parabola:SPACE', trials=2, "
    (fleet.folder / "script.py").write_text(
        f"{code}trainers=1, progress=False, storage='hpo.db'); print(study.finished)"
    )
    done = subprocess.run(
        [sys.executable, "../script.py"], cwd=fleet.folder / "elsewhere", capture_output=True, text=True, check=True
    )
    assert done.stdout == "2\n"


@pytest.mark.parametrize("trainer", ["'nosuch'", "'no such.thing'", "5"])
def test_a_trainer_that_is_nowhere_is_refused(fleet, trainer):
    (fleet.folder / "parabola.py").write_text(OWN.read_text().replace('"parabola"', trainer))
    run = fleet.start("run", "--study", "own", "--objective", "parabola:TRAINED", "--space", "parabola:SPACE")
    assert run.wait() == 2
    assert f"must be a module that can be imported here, {trainer} of 'parabola:TRAINED' cannot" in run.output


def test_what_is_no_objective_is_refused(fleet):
    run = fleet.start("run", "--study", "own", "--objective", "parabola:Parabola", "--space", "parabola:SPACE")
    assert run.wait() == 2
    assert "an instance of a class that derives from hpo.objectives.base.Objective" in run.output
