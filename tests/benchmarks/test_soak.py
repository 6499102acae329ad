"""What the soak finds: answers that contradict one another, and processes that are left."""

import subprocess
import sys

import pytest

ANSWER = {"budget": 9, "finished": 3, "best": 0.5}


@pytest.fixture
def found(load):
    return load("soak_pollers").Found()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, None),
        ({"finished": 9, "best": 0.25}, None),
        ({"finished": 10}, "10 of 9 are finished"),
        ({"finished": 2}, "2 are finished, 3 were before"),
        ({"best": 0.75}, "the best is 0.75, it was 0.5"),
        ({"best": None}, "the best is None, it was 0.5"),
    ],
)
def test_answers_that_contradict_the_one_before(found, change, rule):
    found.take("status", **ANSWER)
    found.take("list", **ANSWER | change)
    assert [rule is not None and rule in line for line in found.wrong] == ([True] if rule else [])


def test_the_best_of_one_command_holds_for_the_others(found):
    found.take_best(None)
    found.take_best({"value": 0.5})
    found.take("status", **ANSWER)
    found.take_best({"value": 0.6})
    assert found.wrong == ["best: 0.6, it was 0.5"]


def test_a_process_that_is_left_is_found_by_its_mark(load):
    fleet = load("soak_fleet")
    code = "import sys; sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env={fleet.MARK: "of-this-test"})
    assert [line for line in fleet.marked_processes("of-this-test") if str(child.pid) in line]
    child.communicate()
    assert fleet.marked_processes("of-this-test") == []
