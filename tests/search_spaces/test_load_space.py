import re
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from hpo.errors import SpaceError
from hpo.network.architecture import Architecture
from search_spaces import SPACES, load_space
from search_spaces.mlp import MLP

DOCS = Path(__file__).parents[2] / "docs"
MODULE_NAMES = (f"user_space_{number}" for number in count())
HEADER = """
from search_spaces import Float, SearchSpace
from search_spaces.mlp import MLP
def build(params):
    return MLP.architecture(MLP.decode([params["x"]] * MLP.size))
"""


@pytest.fixture(autouse=True)
def _restored_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of a fresh name into a fresh current folder; returns the function that does."""

    def write(source):
        monkeypatch.chdir(tmp_path)
        name = next(MODULE_NAMES)
        (tmp_path / f"{name}.py").write_text(HEADER + source, encoding="utf-8")
        return name

    return write


def test_registry_names_load():
    assert load_space("mlp") is MLP
    assert all(load_space(name).name == name for name in SPACES)


def test_a_module_of_the_current_folder_loads(module):
    name = module("SPACE = SearchSpace(name='mine', dimensions=[Float('x', 0, 1)], architecture=build)")
    assert load_space(f"{name}:SPACE").name == "mine"


def test_a_module_in_a_package_of_the_current_folder_loads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_package").mkdir()
    (tmp_path / "user_package" / "inner.py").write_text("from search_spaces.mlp import MLP as SPACE")
    assert load_space("user_package.inner:SPACE") is MLP


@pytest.mark.parametrize("reference", ["", "no-such", "mlp:", ":MLP", "a.b", "a..b:C", "a:b:c", "../a:B", "a:B.c"])
def test_what_is_no_reference_is_refused(reference):
    with pytest.raises(SpaceError, match=f"one of mlp, or package.module:NAME, got {re.escape(repr(reference))}"):
        load_space(reference)


@pytest.mark.parametrize(
    ("reference", "missing"), [("not_there:SPACE", "not_there"), ("hpo.errors.deep:SPACE", "hpo.errors.deep")]
)
def test_a_missing_module_is_named(reference, missing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceError, match=f"{missing!r} was not found in {re.escape(str(tmp_path))}"):
        load_space(reference)


def test_a_missing_name_is_told_with_the_spaces_there_are(module):
    name = module("OTHER = SearchSpace(name='o', dimensions=[Float('x', 0, 1)], architecture=build)")
    with pytest.raises(SpaceError, match=rf"'SPACE', which is not in .*{name}.py; use one of MLP, OTHER"):
        load_space(f"{name}:SPACE")


def test_what_is_not_a_space_is_refused(module):
    name = module("SPACE = lambda: None")
    with pytest.raises(SpaceError, match=r"must be a SearchSpace, got function; write SPACE = SearchSpace"):
        load_space(f"{name}:SPACE")


@pytest.mark.parametrize(
    ("source", "cause", "words"),
    [
        ("raise RuntimeError('boom')", RuntimeError, "RuntimeError from .*boom"),
        ("import not_installed_anywhere", ModuleNotFoundError, "No module named 'not_installed_anywhere'"),
        ("def broken(:", SyntaxError, "SyntaxError"),
        ("raise SystemExit(3)", SystemExit, "SystemExit"),
    ],
)
def test_a_module_that_raises_keeps_its_cause(module, source, cause, words):
    with pytest.raises(SpaceError, match=words) as caught:
        load_space(f"{module(source)}:SPACE")
    assert type(caught.value.__cause__) is cause


def test_a_bad_dimension_in_a_module_is_named(module):
    """Fault 32."""
    with pytest.raises(SpaceError, match=r"^dimension 'x': low must not be above high"):
        load_space(module("X = Float('x', 2, 1)") + ":SPACE")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("lambda p: p['y']", "architecture must accept every point, got KeyError"),
        ("lambda p: None", "must return an Architecture, got None"),
        (
            "lambda p: MLP.architecture({**MLP.decode([0.5] * MLP.size), 'dropout': p['x']})",
            "dropout must be",
        ),
    ],
)
def test_the_function_is_tried_before_any_trial(module, function, words):
    name = module(f"SPACE = SearchSpace(name='s', dimensions=[Float('x', 0, 1)], architecture={function})")
    with pytest.raises(SpaceError, match=words):
        load_space(f"{name}:SPACE")


def test_the_documented_example_works(monkeypatch):
    monkeypatch.chdir(DOCS / "examples")
    space = load_space("my_space:SPACE")
    random = np.random.default_rng(0)
    for vector in random.random((200, space.size)):
        params = space.decode(vector)
        assert space.decode(space.encode(params)).keys() == params.keys()
        assert isinstance(space.architecture(params), Architecture)


def test_the_guide_shows_the_example_in_full():
    guide = (DOCS / "search-spaces.md").read_text(encoding="utf-8")
    example = (DOCS / "examples" / "my_space.py").read_text(encoding="utf-8")
    assert f"```python\n{example}```" in guide
    assert len([line for line in example.splitlines() if line]) <= 20


def test_the_guide_s_trial_run_works(monkeypatch, capsys):
    monkeypatch.chdir(DOCS / "examples")
    guide = (DOCS / "search-spaces.md").read_text(encoding="utf-8")
    exec(guide.split("```python\n")[-1].split("```")[0], {})
    assert "Architecture(" in capsys.readouterr().out


def test_importing_spaces_loads_nothing_heavy():
    heavy = "{'optuna', 'pandas', 'sklearn', 'sqlalchemy', 'keras', 'tensorflow', 'plotly'}"
    code = f"import sys, search_spaces.mlp; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
