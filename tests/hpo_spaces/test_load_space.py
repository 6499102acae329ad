import re
import sys
from dataclasses import fields
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hpo_spaces import SPACES, MlpSpace, load_space
from hpo_spaces.mlp import MLP

from hpo.errors import SpaceError
from hpo.network.architecture import (
    ACTIVATION_NAMES,
    EMBEDDING_NAMES,
    INITIALIZER_NAMES,
    NORMALIZATION_NAMES,
    OPTIMIZER_NAMES,
    SCHEDULE_NAMES,
    Architecture,
)
from hpo.objectives.mlp import MLP as OBJECTIVE
from tests.helpers.processes import run_python

DOCS = Path(__file__).parents[2] / "docs"
ARCHITECTURE_NAMES = {
    "activation": ACTIVATION_NAMES,
    "initializer": INITIALIZER_NAMES,
    "optimizer": OPTIMIZER_NAMES,
    "schedule": SCHEDULE_NAMES,
    "normalization": NORMALIZATION_NAMES,
    "embedding": EMBEDDING_NAMES,
}
MODULE_NAMES = (f"user_space_{number}" for number in count())
HEADER = """
from hpo_spaces import Float, MlpSpace, SearchSpace
from hpo_spaces.mlp import MLP
from tests.helpers.processes import run_python
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
    name = module("SPACE = MlpSpace(name='mine', dimensions=[Float('x', 0, 1)], architecture=build)")
    assert load_space(f"{name}:SPACE").name == "mine"


def test_a_module_in_a_package_of_the_current_folder_loads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_package").mkdir()
    (tmp_path / "user_package" / "inner.py").write_text("from hpo_spaces.mlp import MLP as SPACE")
    assert load_space("user_package.inner:SPACE") is MLP


@pytest.mark.parametrize("reference", ["", "no-such", "mlp:", ":MLP", "a.b", "a..b:C", "a:b:c", "../a:B", "a:B.c"])
def test_what_is_no_reference_is_refused(reference):
    with pytest.raises(SpaceError, match=f"one of mlp, .* or package.module:NAME, got {re.escape(repr(reference))}"):
        load_space(reference)


@pytest.mark.parametrize(
    ("reference", "remedy"),
    [
        ("mlp_wid", r"did you mean 'mlp_wide'\?"),
        ("mine.py", "write space='mine:NAME'"),
        ("mine", "space='mine:NAME'"),
        ("spaces/own.py", "write space='spaces.own:NAME'"),
        ("mlp.py", "write space='mlp:NAME'"),  # one's own file, not the space of that name
        ("my-space.py", "; correct space"),  # no module's name
        ("x" * 300, "; correct space"),  # no file's name
    ],
)
def test_a_slip_in_a_reference_is_named(tmp_path, monkeypatch, reference, remedy):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spaces").mkdir()
    for file in ("mine.py", "mlp.py", "my-space.py", "spaces/own.py"):
        (tmp_path / file).touch()
    with pytest.raises(SpaceError, match=remedy):
        load_space(reference)


@pytest.mark.parametrize(
    ("reference", "missing"), [("not_there:SPACE", "not_there"), ("hpo.errors.deep:SPACE", "hpo.errors.deep")]
)
def test_a_missing_module_is_named(reference, missing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceError, match=f"{missing!r} was not found in {re.escape(str(tmp_path))}"):
        load_space(reference)


def test_a_missing_name_is_told_with_the_spaces_there_are(module):
    name = module("OTHER = MlpSpace(name='o', dimensions=[Float('x', 0, 1)], architecture=build)")
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
    name = module(f"SPACE = MlpSpace(name='s', dimensions=[Float('x', 0, 1)], architecture={function})")
    with pytest.raises(SpaceError, match=words):
        OBJECTIVE.check_space(load_space(f"{name}:SPACE"))


def test_a_space_of_an_mlp_must_make_networks(module):
    name = module("SPACE = SearchSpace(name='s', dimensions=[Float('x', 0, 1)])")
    with pytest.raises(SpaceError, match="make a network of each point, 's' has no architecture; write MlpSpace"):
        OBJECTIVE.check_space(load_space(f"{name}:SPACE"))


ARCHITECTURE = (
    "Architecture(widths=(4,), {0}activation={1}, initializer={2}, dropout=0.0, learning_rate=0.1, batch_size=8)"
)


def network(extra="", activation="'relu'", initializer="'he_normal'"):
    """Source of a space's function."""
    fields = ARCHITECTURE.format(extra, activation, initializer)
    return f"from hpo.network.architecture import Architecture\ndef build(p): return {fields}\n"


def searched(*dimensions, starts="()"):
    """Source of a space over these dimensions."""
    imports = "from hpo_spaces import Categorical, Integer, Ordered\n"
    listed = ", ".join(dimensions)
    return f"{imports}SPACE = MlpSpace(name='s', dimensions=[{listed}], architecture=build, starts={starts})"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            network(activation="p['act']")
            + searched("Float('x', 0, 1)", "Categorical('act', ('relu', 'elu', 'tahn'))"),
            "activation must be .*got 'tahn'; did you mean 'tanh'",
        ),
        (
            network(initializer="p['start']") + searched("Ordered('start', ('he_normal', 'he', 'orthogonal'))"),
            "initializer must be .*got 'he'",
        ),
        (
            network(extra="optimizer=p.get('kind', 'adam'), ")
            + searched("Categorical('own', (0, 1, 2))", "Categorical('kind', ('sgd', 'sdg'), when=('own', (1,)))"),
            "optimizer must be .*got 'sdg'; did you mean 'sgd'",
        ),
        (
            network(extra="momentum=p.get('momentum', 0), ")
            + searched("Categorical('own', (0, 1))", "Float('momentum', 0, 1, when=('own', (1,)))"),
            r"momentum must be in \[0, 1\), got 1.0",
        ),
        (
            network(extra="schedule='cosine' if p['x'] != 0.3 else 'cosin', ")
            + searched("Float('x', 0, 1)", starts="({'x': 0.3},)"),
            "schedule must be .*got 'cosin'; did you mean 'cosine'",
        ),
        (
            "import numpy as np\n" + network(extra="skip=np.bool_(p['x'] > 0), ") + searched("Float('x', 0, 1)"),
            "plain values that JSON can store, .* is not JSON serializable; correct the function",
        ),
    ],
)
def test_each_choice_each_end_and_each_start_is_tried(module, source, words):
    """What only some trials would meet is refused before the first."""
    space = load_space(f"{module(source)}:SPACE")
    with pytest.raises(SpaceError, match=f"space 's': architecture must .*{words}"):
        OBJECTIVE.check_space(space)


def test_a_space_that_works_everywhere_is_accepted(module):
    source = network(extra="momentum=p.get('m', 0), ") + searched(
        "Integer('n', 1, 3)",
        "Ordered('own', (0, 1))",
        "Float('m', 0, 0.9, when=('own', (1,)))",
        starts="({'n': 2, 'own': 0},)",
    )
    space = load_space(f"{module(source)}:SPACE")
    OBJECTIVE.check_space(space)
    assert len(space.dimensions) == 3


@pytest.mark.parametrize("name", SPACES)
def test_the_spaces_that_come_with_hpo_work_everywhere(name):
    OBJECTIVE.check_space(load_space(name))


def test_a_reference_of_a_former_version_is_followed():
    """Studies may have stored it."""
    assert load_space("search_spaces.mlp:MLP") is MLP


@pytest.mark.parametrize("line", ["from search_spaces.mlp import MLP as OLD", "from search_spaces import Float"])
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_module_that_imports_the_former_package_is_told_the_new_one(module, tmp_path, line, is_folder):
    if is_folder:  # as in a checkout of hpo's
        (tmp_path / "search_spaces").mkdir()
    name = module(line)
    with pytest.raises(SpaceError, match=r"import from hpo\.spaces instead"):
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


def test_the_guide_s_conditional_dimensions_work():
    guide = (DOCS / "search-spaces.md").read_text(encoding="utf-8")
    names: dict = {}
    exec(guide.split("### Conditional dimensions")[1].split("```python\n")[1].split("```")[0], names)
    space = MlpSpace(name="guide", dimensions=names["DIMENSIONS"], architecture=MLP.architecture)
    settings = [names["optimizer_settings"](space.decode(v)) for v in np.random.default_rng(0).random((99, space.size))]
    assert {"momentum": 0.0, "nesterov": False} in settings
    assert any(given["nesterov"] for given in settings)


def test_the_guide_names_every_field_and_every_choice_of_an_architecture():
    table = (DOCS / "search-spaces.md").read_text(encoding="utf-8").split("### The function")[1].split("It has to")[0]
    rows = {line.split("|")[1]: line for line in table.splitlines() if line.startswith("| `")}
    listed = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert listed == {field.name for field in fields(Architecture)}
    for field, choices in ARCHITECTURE_NAMES.items():
        (row,) = (line for cell, line in rows.items() if f"`{field}`" in cell)
        assert set(re.findall(r"`(\w+)`", row)) == {field, *choices}


@pytest.mark.parametrize("name", SPACES)
def test_the_guide_describes_every_dimension_of_a_space(name):
    guide = (DOCS / "search-spaces.md").read_text(encoding="utf-8")
    space, section = load_space(name), guide.split(f"## The space `{name}`\n")[1].split("\n## ")[0]
    own = space.dimensions[len(MLP.dimensions) :] if name == "mlp_wide" else space.dimensions
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert [n for row in rows for n in re.findall(r"`(\w+)`", row.split("|")[1])] == [d.name for d in own]
    for dimension in own:
        for choice in (c for c in getattr(dimension, "choices", ()) if isinstance(c, str)):
            assert f"`{choice}`" in section
    assert f"| `{name}`{' (default)' if name == 'mlp' else ''} | {len(space.dimensions)} |" in guide


def test_importing_spaces_loads_nothing_heavy():
    heavy = "{'optuna', 'pandas', 'sklearn', 'sqlalchemy', 'keras', 'tensorflow', 'plotly'}"
    code = f"import sys, hpo_spaces.mlp_strong, hpo_spaces.mlp_wide; print(sorted({heavy} & sys.modules.keys()))"
    done = run_python(code, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_called_as_the_package_once_was_holds_spaces_of_ones_own(tmp_path, monkeypatch):
    """Fault 49; what studies have stored of the spaces that come with hpo still opens."""
    monkeypatch.chdir(tmp_path)
    assert load_space("search_spaces.mlp:MLP") is MLP
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "mine.py").write_text("from hpo_spaces.mlp_wide import MLP_WIDE as SPACE")
    assert load_space("search_spaces.mine:SPACE").name == "mlp_wide"
    assert load_space("search_spaces.mlp:MLP") is MLP
    (tmp_path / "search_spaces" / "mlp.py").write_text("from hpo_spaces.mlp_wide import MLP_WIDE as MLP")
    assert load_space("search_spaces.mlp:MLP").name == "mlp_wide"
    with pytest.raises(SpaceError, match=r"'search_spaces\.none'"):
        load_space("search_spaces.none:SPACE")
