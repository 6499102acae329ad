"""Processes that are killed, run out of memory, hang, or have a clock that is wrong."""

import os
import signal

import pytest

from tests.helpers.databases import KINDS
from tests.helpers.fleet import synthetic

pytestmark = pytest.mark.slow

POISON = """
import os, resource, signal, sys

def take_all_memory():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(1 << 31)

def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)

class Poisoned:
    def __init__(self, stream):
        self.stream = stream
    def __iter__(self):
        for line in self.stream:
            if '"slot": 1,' in line:
                WHAT()
            yield line

if "hpo.trainer.synthetic" in sys.orig_argv:
    sys.stdin = Poisoned(sys.stdin)
"""
CLOCK = """
import itertools, os, time
real, passage = time.time, itertools.count()
time.time = lambda: real() + float(os.environ["OFFSET"]) - float(os.environ["STEP"]) * next(passage)
"""


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)  # on each database fault 10 kills trainers
def test_fault_01_a_killed_trainer(fleet):
    fleet.create("s", 6, 0.5)
    worker = fleet.start("worker", "--trainers", 2)
    fleet.wait_for_trials("s", 2, running=True)
    os.kill(worker.trainers[0], signal.SIGKILL)
    record = fleet.finish("s", worker)
    [broken] = [trial for trial in record.trials if trial.state != "complete"]
    assert (broken.state, broken.attempt, broken.reason) == ("failed", 1, "trainer died: killed by SIGKILL")
    assert [(t.state, t.params) for t in record.trials if (t.slot, t.attempt) == (broken.slot, 2)] == [
        ("complete", broken.params)
    ]


def test_fault_02_a_worker_killed_while_it_tells(fleet):
    fleet.create("s", 5).end()  # a watcher may take what has expired before the next worker is up
    doomed = fleet.start("worker", "--trainers", 2, HPO_FAILPOINT="mid_tell:kill:3")
    assert doomed.wait() == -signal.SIGKILL
    next_one = fleet.start("worker", "--trainers", 2)
    record = fleet.finish("s", next_one)
    assert len([trial for trial in record.trials if trial.state == "complete"]) == 5
    assert "kept on this machine from before, and told now" in next_one.output
    assert fleet.spooled == []


@pytest.mark.parametrize("point", ["after_claim", "after_ask", "before_spool", "after_spool", "mid_tell", "after_tell"])
@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_02_a_run_killed_and_resumed(fleet, point):
    words = ("run", "--study", "s", *synthetic(0.05, 4), "--no-report", "--trainers", 1)
    doomed = fleet.start(*words, HPO_FAILPOINT=f"{point}:kill:2")
    assert doomed.wait() == -signal.SIGKILL
    again = fleet.start(*words)
    assert again.wait() == 0, again.output
    record = fleet.finish("s")
    assert len([trial for trial in record.trials if trial.state == "complete"]) == 4
    assert fleet.spooled == []


@pytest.mark.parametrize("fleet", ["postgresql", "mariadb"], indirect=True)
def test_fault_08_a_second_signal(fleet):
    fleet.create("s", 4, 2)
    worker = fleet.start("worker", "--trainers", 2)
    fleet.wait_for_trials("s", 2, running=True)
    worker.send(signal.SIGTERM)
    fleet.wait_for(lambda: "finishing the trials that run" in worker.output)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert (fleet.progress("s").open, fleet.progress("s").claimed) == (4, 0)
    record = fleet.finish("s", fleet.start("worker", "--trainers", 4))
    assert [trial.state for trial in record.trials if trial.attempt == 1].count("interrupted") == 2


def test_fault_09_a_worker_killed_while_it_takes_what_has_expired(fleet):
    fleet.create("s", 4, 1).end()  # a watcher would take what has expired too
    reaper = fleet.start("worker", "--study", "none-yet", HPO_FAILPOINT="mid_sweep:kill")
    fleet.wait_for(lambda: "waiting for study" in reaper.output)
    doomed = fleet.start("worker", "--trainers", 2)
    fleet.wait_for_trials("s", 2, running=True)
    doomed.send(signal.SIGKILL)
    assert reaper.wait() == -signal.SIGKILL
    assert [trial.state for trial in fleet.read("s").trials].count("failed") == 0
    record = fleet.finish("s", fleet.start("worker", "--trainers", 2))
    assert sorted(trial.attempt for trial in record.trials) == [1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("fleet", "what", "reason"),
    [
        *((database, "kill_itself", "killed by SIGKILL") for database in KINDS),
        ("sqlite", "take_all_memory", "exit code 1"),
    ],
    indirect=["fleet"],
)
def test_faults_10_and_19_a_trial_that_ends_its_trainer_each_time(fleet, what, reason):
    fleet.create("s", 5)
    worker = fleet.start("worker", "--trainers", 2, **fleet.sabotage(POISON.replace("WHAT", what)))
    record = fleet.finish("s", worker)
    poisoned = [(t.attempt, t.state, t.reason) for t in record.trials if t.slot == 1]
    assert poisoned == [(attempt, "failed", f"trainer died: {reason}") for attempt in (1, 2, 3)]
    assert {trial.state for trial in record.trials if trial.slot != 1} == {"complete"}
    assert worker.output.count("; trying again") == 2
    assert worker.output.count("; given up") == 1
    if what == "take_all_memory":
        assert "MemoryError" in worker.output


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_10_a_trial_that_ends_its_worker_each_time(fleet):
    """The first of its workers has had results; those after it on the same host can have none."""
    fleet.create("s", 2)
    bystander = fleet.start("worker", "--study", "none-yet")
    fleet.wait_for(lambda: "waiting for study" in bystander.output)
    for failures, point in ((1, "after_claim:kill:2"), (2, "after_claim:kill"), (3, "after_claim:kill")):
        doomed = fleet.start("worker", "--trainers", 1, HPO_FAILPOINT=point)
        assert doomed.wait() == -signal.SIGKILL
        fleet.wait_for(lambda expected=failures: len(fleet.ended("s")) == 1 + expected)
    record = fleet.finish("s", bystander)
    poisoned = [(t.attempt, t.state, t.reason) for t in record.trials if t.slot == 1]
    assert [state for _, state, _ in poisoned] == ["failed"] * 3
    assert all(reason.startswith("lease expired: no sign of life from ") for _, _, reason in poisoned)
    assert [trial.state for trial in record.trials if trial.slot == 0] == ["complete"]


@pytest.mark.parametrize(
    ("fleet", "step"),
    [*((database, 0) for database in KINDS), ("sqlite", 3600)],
    ids=[*(f"{database}-off by hours" for database in KINDS), "sqlite-stepping back"],
    indirect=["fleet"],
)
def test_fault_14_clocks_that_are_wrong(fleet, step):
    wrong = fleet.sabotage(CLOCK)
    fleet.create("s", 12, 0.3)
    clocks = ("1", "1") if step else ("18000", "-18000")
    workers = [fleet.start("worker", "--trainers", 1, **wrong, OFFSET=o, STEP=str(step)) for o in clocks]
    record = fleet.finish("s", *workers)
    assert [trial.state for trial in record.trials] == ["complete"] * 12, "nothing has expired"
    assert len({trial.worker for trial in record.trials}) == 2
    for trial in record.trials:
        assert 0.2 < (trial.finished - trial.started).total_seconds() < 60
        assert 0 < (trial.finished - record.created).total_seconds() < 120


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_20_a_trainer_that_hangs(fleet):
    fleet.create("s", 3, 0.5, "--trial-timeout", 2)
    worker = fleet.start("worker", "--trainers", 1)
    fleet.wait_for_trials("s", 1, running=True)
    [trainer] = worker.trainers
    os.kill(trainer, signal.SIGSTOP)
    record = fleet.finish("s", worker)
    states = [(trial.state, trial.reason) for trial in record.trials]
    assert states.count(("failed", "stopped at its time limit, 2.0 s")) == 1
    assert states.count(("complete", None)) == 2
