"""Forks that work until they have grown."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hpo_storage.workers import process_start

from hpo.worker.child import Child, wait_for_output
from tests.helpers.processes import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux do forks train")

PARENT = """
import json, os, sys
from hpo.trainer.forks import Forks
from hpo.trainer.messages import output_aside

sys.stdout = output_aside()
held = [b""]


def start():
    started = len(held)
    if os.environ.get("HPO_TEST_START"):
        raise ValueError("no start")

    def work(line):
        message = json.loads(line)
        if message == "grow":
            held.append(b"x" * 3_000_000)
        if message == "shrink":
            held.append(b"x" * 3_000_000)
            held.pop()
        if message == "die":
            os.kill(os.getpid(), 9)
        if message == "fail":
            raise ValueError("no such work")
        print(json.dumps({"fork": os.getpid(), "held": len(held), "started": started}), flush=True)

    return work


forks = Forks(start, most_growth=1_000_000)
for line in sys.stdin:
    if json.loads(line) == "renew":
        held.append(b"")
        forks.renew()
    elif json.loads(line) == "done?":
        print("{}", flush=True)
    else:
        forks.work(line)
"""


@pytest.fixture
def parent(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "parent.py").write_text(PARENT)
    child = Child("parent")
    yield child
    child.kill()


def answer(parent, message):
    """What a fork says to a message; None where it has ended."""
    parent.send(message)
    said = []

    def has_answered():
        wait_for_output([parent], 1)
        said.extend(parent.messages())
        return said or parent.closed

    wait_until(has_answered, 20, pause=0)
    return said[0] if said else None


def test_a_fork_works_until_it_has_grown(parent):
    first, second, grown, fresh, last = (answer(parent, what) for what in ("", "", "grow", "", ""))
    assert first["fork"] == second["fork"] == grown["fork"]
    assert grown["held"] == 2
    assert fresh["fork"] not in (first["fork"], parent.process_id)
    assert fresh["held"] == 1
    assert last == fresh


def test_what_the_first_message_takes_and_what_is_freed_is_no_growth(parent):
    forks = [answer(parent, what)["fork"] for what in ("grow", "", "shrink", "")]
    assert len(set(forks)) == 1


def test_a_renewed_fork_has_what_its_parent_has_now(parent):
    before = answer(parent, "")
    parent.send("renew")
    after = answer(parent, "")
    assert (before["held"], before["started"]) == (1, 1)
    assert (after["held"], after["started"]) == (2, 2)
    assert process_start(before["fork"]) is None


@pytest.mark.parametrize(
    ("message", "ending", "error"), [("die", "killed by SIGKILL", ""), ("fail", "exit code 1", "no such work")]
)
def test_the_process_ends_as_its_fork(parent, message, ending, error):
    assert answer(parent, message) is None
    assert parent.ending() == ending
    assert error in parent.errors()


def test_a_fork_that_was_killed_between_messages_is_replaced(parent):
    before = answer(parent, "")["fork"]
    assert answer(parent, "done?") == {}
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: ") Z " in Path(f"/proc/{before}/stat").read_text("ascii"), 10, pause=0.01)
    assert answer(parent, "")["fork"] != before


def test_a_process_whose_forks_cannot_start_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HPO_TEST_START", "fails")
    (tmp_path / "parent.py").write_text(PARENT)
    child = Child("parent")

    def has_ended():
        wait_for_output([child], 1)
        child.messages()
        return child.closed

    wait_until(has_ended, 20, pause=0)
    assert child.ending() == "exit code 1"
    assert "ValueError: no start" in child.errors()
    child.kill()


def test_a_fork_ends_with_its_killed_parent(parent):
    fork = answer(parent, "")["fork"]
    os.kill(fork, signal.SIGSTOP)
    parent.kill()
    wait_until(lambda: process_start(fork) is None, 10)
