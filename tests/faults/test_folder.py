"""What lies in the current folder: modules named like installed ones, of which none is ever run."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.fleet import synthetic
from tests.helpers.invariants import invariants

pytestmark = pytest.mark.slow

BEFORE_US = {"collections", "contextlib", "functools", "importlib", "keyword", "operator", "reprlib", "types"}
BEFORE_US.add("warnings")  # all that `python -m` imports by itself, before anything of ours
OURS = {"hpo", "hpo_spaces", "hpo_storage", "tests", "benchmarks", "search_spaces", "storage"}
MAY_BE_INSTALLED = {"numexpr", "bottleneck", "torch", "ray", "matplotlib", "psutil", "cupy", "readline", "colorama"}
OWN = {
    "helper": "LOW = 0.1\n",
    "later": "VALUE = 0.25\n",
    "mine": """
import random
from helper import LOW
from hpo.objectives.base import Objective
from hpo.spaces import Float, SearchSpace
from hpo.trainer.messages import serve
from hpo_storage.records import Outcome

SPACE = SearchSpace(name="mine", dimensions=(Float("x", LOW, random.choice([1.0])),))

class Mine(Objective):
    trainer = "mine"

def evaluate(order, on_epoch):
    from later import VALUE
    return Outcome(state="complete", value=VALUE)

MINE = Mine()
if __name__ == "__main__":
    serve(evaluate)
""",
}
"""Modules of a user's, of which one imports others: at once, and when it is called."""


def installed() -> set[str]:
    """The names of all that Python could import."""
    packages = {name for name in importlib.metadata.packages_distributions() if name.isidentifier()}
    return (packages | set(sys.stdlib_module_names) | MAY_BE_INSTALLED) - OURS - BEFORE_US


@pytest.fixture
def sprung(fleet) -> Path:
    """A file that lists the modules of the folder that were run: it holds one of each installed name."""
    marks = fleet.folder / "marks.txt"
    for name in installed():
        text = f"open({str(marks)!r}, 'a').write({name!r} + '\\n')\nraise ImportError('a trap: {name}')\n"
        (fleet.folder / f"{name}.py").write_text(text)
    (fleet.folder / "table.csv").write_text("size,color,label\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(90)))
    return marks


def assert_safe(sprung: Path, *processes) -> None:
    """All went well, and no trap was sprung."""
    outputs = "\n".join(process.output for process in processes)
    assert [process.wait(240) for process in processes] == [0] * len(processes), outputs
    assert not sprung.exists(), sprung.read_text()


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_72_no_module_of_the_folder_is_run(fleet, sprung):
    words = ("--data", "table.csv", "--target", "label", "--trials", 1, "--replicates", 2, "--max-epochs", 1)
    assert_safe(sprung, fleet.start("run", "--study", "s", *words, "--trainers", 1, "--report", "s.html"))
    invariants(fleet.url, "s")
    commands = (
        ("status", "--study", "s"),
        ("trials", "--study", "s", "--json"),
        ("report", "--study", "s", "--output", "r.html"),
        ("plot", "history", "--study", "s", "--output", "p.html"),
        ("worker", "--once"),
    )
    for command in commands:
        assert_safe(sprung, fleet.start(*command))
    completed = fleet.start(_HPO_COMPLETE="complete_bash", COMP_WORDS="hpo status --study ", COMP_CWORD="3")
    completed.wait()
    assert not sprung.exists(), sprung.read_text()


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_72_nor_beside_modules_of_the_users_own(fleet, sprung):
    for name, text in OWN.items():
        (fleet.folder / f"{name}.py").write_text(text)
    words = ("--objective", "mine:MINE", "--space", "mine:SPACE", "--trials", 3, "--trainers", 1, "--no-report")
    assert_safe(sprung, fleet.start("run", "--study", "s", *words))
    assert {trial.value for trial in invariants(fleet.url, "s").trials} == {0.25}
    assert_safe(sprung, fleet.start("report", "--study", "s", "--output", "r.html"))


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
def test_fault_72_nor_for_a_script_of_another_folder(fleet, sprung, tmp_path_factory):
    script = tmp_path_factory.mktemp("elsewhere") / "script.py"
    call = "study='s', objective='synthetic', trials=2, trainers=1, progress=False, storage='hpo.db'"
    script.write_text(f"import hpo\nhpo.tune({call}).report('r.html')\n")
    done = subprocess.run([sys.executable, script], cwd=fleet.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not sprung.exists(), sprung.read_text()
    invariants(fleet.url, "s")


@pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["statistics", "plotly"])
def test_fault_72_a_space_named_like_an_installed_module(fleet, sprung, name):
    run = fleet.start("run", "--study", "s", *synthetic(0, 1), "--space", f"{name}:random", "--no-report")
    assert run.wait() == 2, run.output
    assert f"{name!r} is an installed module, so that {name}.py here is not read: give that another name" in run.output
    assert not sprung.exists(), sprung.read_text()
