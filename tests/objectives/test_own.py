"""An objective that hpo knows nothing of runs whole studies: trained by workers, or asked for and told by others."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hpo_storage.checks import broken_rules
from hpo_storage.database import connect
from hpo_storage.studies import read_study

OWN = Path(__file__).with_name("parabola.py")
CLI = [sys.executable, "-m", "hpo.cli.main"]
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
def folder(tmp_path, monkeypatch):
    shutil.copy(OWN, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*words):
    return subprocess.Popen([*CLI, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def create(objective, trials):
    """A study of the objective, stored and not worked on."""
    code = f"import hpo; hpo.create_study(study='own', objective='parabola:{objective}', space='parabola:SPACE', "
    code += f"trials={trials}, progress=False, storage='hpo.db')"
    subprocess.run([sys.executable, "-c", code], check=True)


def assert_exact(trials):
    database = connect("sqlite:///hpo.db", create=False)
    study = read_study(database, "own")
    assert broken_rules(database) == []
    database.close()
    assert study.finished == study.budget == trials == len({trial.slot for trial in study.trials})
    assert min(trial.value for trial in study.trials) < 0.01
    return study


def test_it_is_thirty_lines():
    assert len(OWN.read_text("utf-8").splitlines()) <= 30


def test_two_workers_train_it(folder):
    create("TRAINED", 24)
    workers = [start("worker", "--study", "own", "--once", "--trainers", 1) for _ in range(2)]
    ends = [(worker.communicate(timeout=120)[0], worker.returncode) for worker in workers]
    assert [code for _, code in ends] == [0, 0], ends
    study = assert_exact(24)
    assert {trial.state for trial in study.trials} == {"complete"}
    assert subprocess.run([*CLI, "report", "--study", "own"], capture_output=True, check=True)


def test_two_programs_ask_for_its_points_and_tell_what_they_found(folder):
    create("ASKED", 30)
    askers = [
        subprocess.Popen(
            [sys.executable, "-c", ASKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
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
    assert_exact(30)


def test_a_worker_leaves_what_others_evaluate_to_them(folder):
    create("ASKED", 2)
    done = subprocess.run([*CLI, "worker", "--study", "own", "--once"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "others ask for its points and tell what they found" in done.stderr
    status = subprocess.run([*CLI, "status", "--study", "own", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(status.stdout)["finished"] == 0
