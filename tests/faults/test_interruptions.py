"""Requests to stop, in all forms, and code of users that ends, prints, or never returns."""

import json
import os
import signal
import subprocess

import pytest
from hpo_storage.workers import list_workers

from hpo.cli.main import main
from tests.helpers.databases import opened
from tests.helpers.fleet import CLI, synthetic
from tests.helpers.processes import command_line, trainers

pytestmark = pytest.mark.slow

IGNORANT = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
"""As `nohup` starts a program."""
HANGING = """
import os, time
from hpo.objectives.base import Objective

def loop():
    while True:
        pass

def deaf():
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            continue

class Hanging(Objective):
    trainer = "hpo.trainer.synthetic"

    def order(self, spec, space, slot, params, rules):
        if slot == 2 and "HOW" in os.environ:
            print("it hangs", flush=True)
            globals()[os.environ["HOW"]]()
        vector = space.encode(params).tolist()
        return {"slot": slot, "seed": 1, "vector": vector, "replicates": 2, "seconds": float(os.environ["SECONDS"])}

HANGING = Hanging()
"""
UNRULY = """
import os, signal, sys, threading, time, warnings
from hpo_storage.records import Outcome
from hpo.objectives.base import Objective
from hpo.trainer.messages import serve

print("NOISE")
os.write(1, b"NOISE")

def recurse():
    recurse()

class Unruly(Objective):
    trainer = "unruly"

    def order(self, spec, space, slot, params, rules):
        print("NOISE")
        os.write(1, b"NOISE")
        os.chdir("/")
        warnings.simplefilter("error")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.stdout = None
        threading.Thread(target=time.sleep, args=(1000,)).start()
        match slot:
            case 1: sys.exit(0)
            case 2: os._exit(0)
            case 3: raise KeyboardInterrupt
            case 4: return None
            case 5: return {"slot": slot, "what": object()}
            case 6: recurse()
        return {"slot": slot}

def evaluate(order, on_epoch):
    print("NOISE")
    match order["slot"]:
        case 7: exit(0)
        case 8: return None
        case 9: return Outcome(state="complete", value=float("nan"))
    return Outcome(state="complete", value=1.0)

UNRULY = Unruly()
if __name__ == "__main__":
    serve(evaluate)
"""
ENDING = """
import os, sys
from hpo.objectives.base import Objective
if os.environ["WHERE"] == "import":
    WHAT

class Ending(Objective):
    trainer = "hpo.trainer.synthetic"

    def define(self, request, before, *, works, has_copy):
        if os.environ["WHERE"] == "define":
            WHAT
        return {}

    def prepare(self, spec, folder, copy, run):
        WHAT

ENDING = Ending()
"""


def private_folder(fleet):
    """The environment with a temporary folder of its own, and the folder."""
    folder = fleet.folder / "temporary"
    folder.mkdir()
    return {"TMPDIR": str(folder)}, folder


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", ["run", "worker", "watcher"])
def test_fault_61_a_terminal_that_closes(fleet, command):
    environment, temporary = private_folder(fleet)
    words = ("--study", "s", *synthetic(1.5, 4), "--no-report")
    if command == "run":
        process = fleet.start("run", *words, "--trainers", 2, **environment)
        fleet.wait_for(lambda: fleet.exists("s"))
    else:
        watcher = fleet.start("run", *words, "--workers", 0)
        fleet.wait_for(lambda: fleet.exists("s"))
        worker = fleet.start("worker", "--trainers", 2, **environment)
        process = worker if command == "worker" else watcher
    fleet.wait_for_trials("s", 2, running=True)
    process.send(signal.SIGHUP)
    process.send(signal.SIGHUP)  # by the shell, and by the system
    assert process.wait() == (0 if command == "worker" else 130), process.output
    assert "Traceback" not in process.output
    if command != "watcher":
        assert "finishing the trials that run" in process.output
        assert {trial.state for trial in fleet.read("s").trials} == {"complete"}
        assert fleet.progress("s").finished == 2
        assert list(temporary.iterdir()) == []
    fleet.finish("s", worker if command == "watcher" else fleet.start("worker", "--trainers", 2))


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_61_a_terminal_that_closes_is_nothing_to_nohup(fleet):
    run = fleet.start("run", "--study", "s", *synthetic(0.5, 6), "--no-report", **fleet.sabotage(IGNORANT))
    fleet.wait_for(lambda: fleet.exists("s"))
    fleet.wait_for_trials("s", running=True)
    run.send(signal.SIGHUP)
    assert run.wait() == 0, run.output
    fleet.finish("s")


@pytest.mark.parametrize("fleet", ["sqlite", "postgresql"], indirect=True)
def test_fault_69_interruptions_use_up_no_attempts(fleet):
    """Three times a worker is asked to stop, and killed while it drains, as `docker stop` does it."""
    (fleet.folder / "hanging.py").write_text(HANGING)
    words = ("run", "--study", "s", "--objective", "hanging:HANGING", "--trials", 2, "--workers", 0, "--no-report")
    watcher = fleet.start(*words)
    fleet.wait_for(lambda: fleet.exists("s"))
    watcher.end()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        doomed = fleet.start("worker", "--trainers", 2, SECONDS="60")
        fleet.wait_for(lambda: [worker.running for worker in workers_of(fleet)] == [2])
        doomed.send(number)
        fleet.wait_for(lambda: workers_of(fleet)[0].stopped)
        doomed.send(signal.SIGKILL)
        doomed.wait()
        fleet.wait_for(lambda: not workers_of(fleet))
    record = fleet.finish("s", fleet.start("worker", "--trainers", 2, SECONDS="0.1"))
    assert [trial.state for trial in record.trials].count("failed") == 0
    assert [trial.state for trial in record.trials].count("interrupted") == 6


def workers_of(fleet):
    with opened(fleet.url) as database:
        return list_workers(database)


@pytest.mark.parametrize("how", ["loop", "deaf"])
@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_76_user_code_that_never_returns(fleet, how):
    environment, temporary = private_folder(fleet)
    (fleet.folder / "hanging.py").write_text(HANGING)
    words = ("run", "--study", "s", "--objective", "hanging:HANGING", "--trials", 4, "--trainers", 3, "--no-report")
    run = fleet.start(*words, HOW=how, SECONDS="60", **environment)
    fleet.wait_for(lambda: "it hangs" in run.output)
    children = trainers(run.pid)
    assert len(children) == 3
    run.send(signal.SIGINT)
    fleet.wait_for(lambda: any(worker.stopped for worker in workers_of(fleet)))
    run.send(signal.SIGINT)
    assert run.wait(20) == 130
    assert "ended by force" in run.output
    assert list(temporary.iterdir()) == []
    fleet.wait_for(lambda: not any(command_line(child) for child in children))
    assert fleet.start(*words, SECONDS="0.1").wait() == 0, fleet.outputs
    record = fleet.finish("s")
    assert {trial.state for trial in record.trials if trial.attempt == 1} <= {"interrupted", "complete"}


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_76_user_code_that_ends_prints_and_meddles(fleet):
    (fleet.folder / "unruly.py").write_text(UNRULY)
    words = ("--study", "s", "--objective", "unruly:UNRULY", "--trials", 11, "--trainers", 1, "--no-report", "--json")
    environment = {**os.environ, "HPO_STORAGE": "sqlite:///hpo.db", "XDG_STATE_HOME": str(fleet.folder / "state")}
    done = subprocess.run(
        [*CLI, "run", *map(str, words)],
        cwd=fleet.folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["failed"] == 9
    assert "NOISE" in done.stderr
    reasons = {trial.slot: trial.reason for trial in fleet.finish("s").trials if trial.state == "failed"}
    wanted = ["SystemExit: 0", "os._exit(0)", "KeyboardInterrupt", "got None", "not JSON", "RecursionError"]
    wanted += ["SystemExit: 0", "must return an Outcome, got None", "must be finite"]
    assert sorted(reasons) == list(range(1, 10))
    assert [words for slot, words in enumerate(wanted, 1) if words not in reasons[slot]] == []
    assert f" of {fleet.folder}/unruly.py, in order" in reasons[1]


@pytest.mark.parametrize(
    ("where", "what", "words"),
    [
        ("import", "sys.exit(0)", "which raised SystemExit: 0 (line 5 of "),
        ("import", "os._exit(0)", "which raised os._exit(0) (line 5 of "),
        ("define", "raise ValueError('no')", "define must work, got ValueError: no (line 12 of "),
        ("define", "return None", "define must work, got TypeError: a dict must be returned, got None"),
        ("prepare", "raise KeyboardInterrupt", "prepare must work, got KeyboardInterrupt (line 16 of "),
        ("prepare", "return {'replicates': float('nan')}", "prepare must work, got ValueError: "),
    ],
)
def test_fault_76_a_study_whose_code_ends_at_once(tmp_path, monkeypatch, capfd, where, what, words):
    name = f"ending_{abs(hash((where, what)))}"
    # A module cannot return; there nothing is to be seen.
    source = ENDING.replace("WHAT", what, 1) if where == "import" else ENDING.replace("    WHAT", "    pass", 1)
    (tmp_path / f"{name}.py").write_text(source.replace("WHAT", "pass" if where == "import" else what))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHERE", where)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    given = ["run", "--study", "s", "--objective", f"{name}:ENDING", "--trials", "1", "--trainers", "1", "--no-report"]
    assert main(given) == 2
    errors = capfd.readouterr().err
    assert words in errors
    assert "Traceback" not in errors
