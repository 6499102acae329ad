"""Machines that break every trial, trainers that hang, trials that get new attempts, and why a study waits."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.helpers.fleet import Fleet, Process, synthetic
from tests.helpers.invariants import invariants
from tests.helpers.processes import trainers

pytestmark = pytest.mark.slow

SICK_HOST = 3
DIES = """
import os, sys

class Deadly:
    def __init__(self, stream):
        self.stream = stream
    def __iter__(self):
        for line in self.stream:
            if '"train"' in line and os.environ.get("BROKEN") == "with each trial":
                print("no such device", file=sys.stderr, flush=True)
                os._exit(7)
            yield line

if "hpo.trainer.synthetic" in sys.orig_argv:
    if os.environ.get("BROKEN") == "at the start":
        print("ImportError: libdevice.so.1: cannot open shared object file", file=sys.stderr, flush=True)
        os._exit(1)  # what is raised here stops nobody
    sys.stdin = Deadly(sys.stdin)
"""


def kill_trainers_of(worker: Process, over: threading.Event) -> None:
    while not over.wait(0.5):
        for trainer in trainers(worker.pid):
            os.kill(trainer, signal.SIGKILL)


@pytest.mark.parametrize("fleet", ["sqlite", "postgresql"], indirect=True)
def test_fault_68_a_sick_worker_beside_a_healthy_one(fleet: Fleet):
    """All trials complete, and the sick one ends by itself."""
    fleet.create("s", 40, 0.6)
    sick, healthy = (fleet.start("worker", "--trainers", count) for count in (1, 3))
    fleet.wait_for(lambda: any(trial.worker.endswith(f":{sick.pid}") for trial in fleet.read("s").trials))
    over = threading.Event()
    killer = threading.Thread(target=kill_trainers_of, args=(sick, over))
    killer.start()
    try:
        assert sick.wait(90) == SICK_HOST
    finally:
        over.set()
        killer.join()
    assert "trainers must work on" in sick.output
    assert "hpo retry" in sick.output
    assert "Traceback" not in sick.output
    record = fleet.finish("s", healthy)
    ended = [trial for trial in record.trials if trial.state == "complete"]
    assert (record.finished, len(ended)) == (40, 40)
    broken = [trial for trial in record.trials if trial.state == "failed"]
    assert len({trial.slot for trial in broken}) == len(broken), "no slot goes twice to the sick one"


@pytest.mark.parametrize("fleet", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("when", ["with each trial", "at the start"])
def test_fault_68_a_broken_environment_fails_nothing_for_good(fleet: Fleet, when: str):
    words = ("run", "--study", "s", *synthetic(0.05, 10), "--no-report", "--trainers", 2)
    sabotage = fleet.sabotage(DIES)
    broken = fleet.start(*words, **sabotage, BROKEN=when)
    assert broken.wait() == SICK_HOST, broken.output
    last = "no such device" if when == "with each trial" else "libdevice.so.1: cannot open shared object file"
    assert last in broken.output.partition("error: ")[2]
    assert (fleet.progress("s").finished, fleet.progress("s").claimed) == (0, 0)
    said = fleet.start("status", "--study", "s", "--json")
    assert said.wait() == 0
    waiting = json.loads(said.output)["waiting"]
    assert waiting["cause"] == "no worker"
    assert "hpo worker --study s" in waiting["text"]
    assert last in waiting["text"]
    mended = fleet.start(*words, **sabotage)
    assert mended.wait() == 0, mended.output
    record = invariants(fleet.url, "s")
    assert [trial.state for trial in record.trials].count("complete") == 10


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_68_a_machine_that_falls_ill_late_charges_nothing_either(fleet: Fleet):
    """Started again and again where the rest of a study cannot be trained any more."""
    words = ("run", "--study", "s", *synthetic(0.05, 6), "--no-report", "--trainers", 1)
    sabotage = fleet.sabotage(DIES)
    assert fleet.start(*words[:-2], "--trainers", 1, HPO_FAILPOINT="after_tell:kill:3").wait() == -signal.SIGKILL
    for _ in range(2):
        assert fleet.start(*words, **sabotage, BROKEN="with each trial").wait() == SICK_HOST
    assert fleet.progress("s").failed == 0
    assert fleet.start(*words).wait() == 0
    assert [trial.state for trial in invariants(fleet.url, "s").trials].count("complete") == 6


def retried(fleet: Fleet, *words: object) -> tuple[int, str]:
    command = fleet.start("retry", "--study", "s", *words)
    return command.wait(), command.output


def test_fault_68_what_has_failed_gets_new_attempts(fleet: Fleet):
    words = ("run", "--study", "s", *synthetic(1, 3), "--no-report", "--trainers", 3)
    assert fleet.start(*words, "--trial-timeout", 0.1).wait() == 1
    assert invariants(fleet.url, "s").finished == 3
    code, said = retried(fleet, "--reason", "no such reason")
    assert (code, "3 × stopped at its time limit" in said) == (1, True)
    assert fleet.progress("s").failed == 3
    code, said = retried(fleet, "--reason", "TIME limit", "--json")
    assert (code, json.loads(said)) == (0, {"study": "s", "retried": 3, "finished": 0, "budget": 3})
    again = fleet.start(*words, "--trial-timeout", "none")
    assert again.wait() == 0, again.output
    record = invariants(fleet.url, "s")
    assert [(trial.attempt, trial.state) for trial in record.trials] == [(1, "failed")] * 3 + [(2, "complete")] * 3
    assert retried(fleet)[0] == 1


@pytest.mark.parametrize("fleet", ["sqlite", "postgresql"], indirect=True)
def test_fault_70_a_trainer_that_hangs_is_warned_of_and_replaced(fleet: Fleet):
    fleet.create("s", 8, 0.5)
    worker = fleet.start("worker", "--trainers", 1, HPO_SILENCE_SECONDS="6")
    fleet.wait_for_trials("s", 2)
    fleet.wait_for_trials("s", 1, running=True)
    [trainer] = worker.trainers
    os.kill(trainer, signal.SIGSTOP)
    fleet.wait_for(lambda: f"(process {trainer}) is silent for" in worker.output)
    record = fleet.finish("s", worker)
    [hung] = [trial for trial in record.trials if trial.state == "failed"]
    assert hung.reason.startswith("silent for ")
    assert "so it hangs" in hung.reason
    assert [trial.state for trial in record.trials].count("complete") == 8
    assert not Path(f"/proc/{trainer}").exists()


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_70_a_trainer_that_hangs_with_its_first_trial(fleet: Fleet):
    fleet.create("s", 3, 2)
    worker = fleet.start("worker", "--trainers", 1, HPO_SILENCE_SECONDS="3")
    fleet.wait_for_trials("s", 1, running=True)
    os.kill(worker.trainers[0], signal.SIGSTOP)
    record = fleet.finish("s", worker)
    assert [trial.state for trial in record.trials].count("complete") == 3
    assert [trial.state for trial in record.trials].count("failed") == 1


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_70_a_worker_that_was_paused_with_its_trainers_blames_none(fleet: Fleet):
    fleet.create("s", 3, 2)
    worker = fleet.start("worker", "--trainers", 1, HPO_SILENCE_SECONDS="3", HPO_LEASE_SECONDS="60")
    fleet.wait_for_trials("s", 1, running=True)
    everybody = [worker.pid, *worker.trainers]
    for process in everybody:
        os.kill(process, signal.SIGSTOP)
    threading.Event().wait(5)
    for process in everybody:
        os.kill(process, signal.SIGCONT)
    record = fleet.finish("s", worker)
    assert {trial.state for trial in record.trials} == {"complete"}


def cause(fleet: Fleet, name: str = "s") -> str | None:
    """Why the study waits, as `hpo status` says."""
    said = fleet.start("status", "--study", name, "--json")
    assert said.wait() == 0
    waiting = json.loads(said.output)["waiting"]
    return waiting and waiting["cause"]


@pytest.mark.parametrize("fleet", ["sqlite", "mariadb"], indirect=True)
def test_fault_68_status_says_why_a_study_waits(fleet: Fleet):
    fleet.create("s", 2, 2)
    assert cause(fleet) == "no worker"
    worker = fleet.start("worker", "--trainers", 2)
    fleet.wait_for_trials("s", 2, running=True)
    assert cause(fleet) in ("all is claimed", None)
    fleet.finish("s", worker)
    assert cause(fleet) is None
    limited = fleet.start("run", "--study", "t", *synthetic(0.2, 50), "--no-report", "--time-limit", 0.5)
    limited.wait()
    assert cause(fleet, "t") == "limit"
