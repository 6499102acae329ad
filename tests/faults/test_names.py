"""Files of a user's that are named like modules of ours stand in nobody's way."""

import importlib.util
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import hpo
from tests.helpers.databases import ROOT, read

HOMES = (ROOT / "hpo", ROOT / "search_spaces", ROOT / "storage")
ANYBODYS = {"storage", "search_spaces", "training", "settings", "engine", "report"}
"""Names that any project may have, whatever our modules are called."""
SCRIPT = """
import hpo
study = hpo.tune("iris", "target", study="mine", trials=2, replicates=2, max_epochs=2, trainers=1, progress=False)
print(hpo.__file__, study.finished)
"""
# What a notebook's kernel has and a script has not: no file, the folder as "" on the path, and a loop that runs. The
# kernel itself would bring a dozen packages and change none of it.
CELL = f"""
import asyncio

async def cell():
    exec({SCRIPT!r}, globals())

asyncio.run(cell())
"""
TEST = f"""
def test_mine(capsys):
    exec({SCRIPT!r}, globals())
    with capsys.disabled():
        print(capsys.readouterr().out)
"""


def our_names() -> set[str]:
    """Of all modules and packages within ours, but for those that a library has, too."""
    found = {
        part for home in HOMES for path in home.rglob("*.py") for part in path.relative_to(home).with_suffix("").parts
    }
    libraries = {name for name in found if name in sys.stdlib_module_names or importlib.util.find_spec(name)}
    return (found - libraries - {"__init__"}) | ANYBODYS


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a module and a package of each name, which leave a mark where they are imported."""
    for name in our_names():
        (tmp_path / name).mkdir()
        for path in (tmp_path / f"{name}.py", tmp_path / name / "__init__.py"):
            path.write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write({str(path)!r} + '\\n')\n")
    with closing(sqlite3.connect(tmp_path / "hpo.db")) as theirs:
        theirs.execute("CREATE TABLE theirs AS SELECT 7 AS x")
    return tmp_path


def test_the_names_are_those_that_hurt():
    assert {"storage", "search_spaces", "settings", "engine", "report", "trainer", "worker"} <= our_names()
    assert not {"hpo", "jax", "statistics"} & our_names()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "words", "entered"),
    [
        ("script.py", ["script.py"], ""),
        ("cell.py", ["-i", "-q"], CELL),
        ("test_mine.py", ["-m", "pytest", "-q", "-p", "no:cacheprovider"], ""),
    ],
    ids=["script", "notebook", "pytest"],
)
def test_fault_49_names_that_others_have_too(project, way, words, entered):
    (project / way).write_text({"script.py": SCRIPT, "cell.py": CELL, "test_mine.py": TEST}[way])
    environment = {name: value for name, value in os.environ.items() if name != "HPO_STORAGE"}
    done = subprocess.run(
        [sys.executable, *words],
        input=entered,
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{hpo.__file__} 2" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    marks = project / "imported"
    assert not marks.exists(), marks.read_text()
    assert read(f"sqlite:///{project}/hpo.db", "mine").finished == 2
    with closing(sqlite3.connect(project / "hpo.db")) as theirs:
        assert theirs.execute("SELECT x FROM theirs").fetchall() == [(7,)]
