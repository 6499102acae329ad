"""Fault 58: messages for cases that nobody thought of. Each reads as a sentence, with none, one or many of anything."""

import re

import pytest

import hpo as package
from hpo.cli.main import main
from hpo.errors import StudyError
from tests.cli.conftest import Bench, bench  # noqa: F401 - a fixture
from tests.helpers.fleet import Fleet, synthetic
from tests.helpers.processes import run_python

CASES = {
    "none": ([], 3),
    "one open": (["running"], 3),
    "one interrupted": (["interrupted"], 3),
    "one failed": (["failed"], 1),
    "all failed": (["failed"] * 4, 4),
    "first failed": (["failed"], 3),
    "all raced out": (["raced out"] * 2, 2),
    "all pruned": (["pruned"] * 3, 3),
    "pruned and failed": (["pruned", "failed"], 2),
    "one complete": (["complete"], 1),
    "mixed": (["complete", "failed", "raced out", "pruned", "interrupted"], 9),
}
SAID = {
    "none": "no trial has begun",
    "one interrupted": "no trial has ended",
    "one failed": "its one trial failed",
    "all failed": "all its 4 trials failed",
    "all raced out": "no trial has all its replicates (2 raced out)",
    "pruned and failed": "no trial has all its replicates (1 pruned, 1 failed)",
}
BROKEN = {
    "nothing after a colon": r": *[;,.]|:\s*$",
    "a separator alone": r"^\s*[;,] |[;,]\s*[;,]|[;,]\s*$",
    "a dangling word": r"\b(and|or|of|as|its|the)\s*[;,.:)]|\b(and|or|as|its)\s*$",
    "of nothing": r"\b(none|any|all|one) of (its )?0\b|(?<!\w)\(\)|\[\]|\{\}",
    "Python's nothing": r"\bNone\b|\bnan\b",
    "one of many": r"(?<![\d.,])1 (trials|replicates|attempts|rows|workers|trainers|reasons)\b",
}
MAY_END_IN_COLON = r"(failed\)?|the study|how far it is|See why):\s*$"
"""Reasons or a command follow on the next line."""


def assert_sentences(text: str) -> None:
    for line in re.sub(r"<[^>]*>", " ", text).splitlines():
        for name, pattern in BROKEN.items():
            found = re.search(pattern, line)
            if found and not re.search(MAY_END_IN_COLON, line):
                raise AssertionError(f"{name}: {found.group()!r} in {line!r}")


def page_texts(page: str) -> str:
    """The text of a report, without its scripts and styles."""
    return re.sub(r"(?s)<(script|style)\b.*?</\1>", " ", page)


@pytest.mark.parametrize("case", CASES)
def test_fault_58_a_study_in_any_state_is_described_in_sentences(bench, capfd, case):  # noqa: F811
    states, budget = CASES[case]
    bench.add("s", states, budget)
    for words in (["status"], ["best"], ["report"], ["plot", "importances"], ["plot", "history"], ["plot", "slice"]):
        main([*words, "--study", "s"])
    main(["list"])
    shown = "".join(capfd.readouterr())
    assert SAID.get(case, "") in shown
    assert_sentences(shown)
    assert_sentences(page_texts((bench.folder / "report-s.html").read_text("utf-8")))
    study = package.open_study("s")
    assert len(study.trials_frame()) == len(states)
    if "complete" not in states:
        with pytest.raises(StudyError) as caught:
            _ = study.best
        assert_sentences(str(caught.value))


@pytest.mark.parametrize("case", ["one failed", "all failed", "all raced out", "pruned and failed"])
def test_fault_58_a_run_without_a_result_says_why(bench: Bench, capfd, case):  # noqa: F811
    bench.add("s", *CASES[case])
    assert main(["run", "--study", "s"]) == 1
    said = capfd.readouterr().err
    assert f"error: s has no result: {SAID[case]}" in said
    assert_sentences(said)


@pytest.mark.slow
@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_58_a_limit_before_the_first_result(fleet: Fleet):
    words = ("run", "--study", "s", *synthetic(60, 3), "--trainers", 1, "--no-report")
    run = fleet.start(*words, "--time-limit", 1)
    assert run.wait() == 1
    assert "error: s has no result: no trial ended within 1 s\n" in run.output
    assert_sentences(run.output)
    assert fleet.start(*words, "--time-limit", 1).wait() == 1  # nothing is to be done
    code = "import hpo; hpo.open_study('s', 'hpo.db').best"
    assert "no trial ended within 1 s" in run_python(code, cwd=fleet.folder, check=False, capture_output=True).stderr
