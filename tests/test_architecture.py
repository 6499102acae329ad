"""Who may import whom, read from the source: the tables below are the rules."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
HOMES = {"hpo": ROOT, "hpo_spaces": ROOT / "search_spaces", "hpo_storage": ROOT / "storage"}
PACKAGES = tuple(HOMES)
FRAMEWORKS = ("keras", "tensorflow", "jax")
SQL = ("sqlalchemy", "alembic", "sqlite3", "optuna", "hpo_storage")
SLOW = ("keras", "tensorflow", "jax", "pandas", "pyarrow", "sklearn", "optuna", "sqlalchemy", "plotly")

LEAVES = (
    "hpo.data.fingerprint",
    "hpo.data.prepared",
    "hpo.data.rescaling",
    "hpo.data.scaling",
    "hpo.data.spec",
    "hpo.declaration",
    "hpo.errors",
    "hpo.losses",
    "hpo.machine",
    "hpo.network.architecture",
    "hpo.processes",
    "hpo.seeds",
    "hpo.settings",
    "hpo.statistics",
    "hpo.study.facts",
    "hpo.study.spec",
    "hpo.study.standing",
    "hpo.usercode",
    "hpo.words",
)

# A module may import from its own line and the lines above; the longest name that fits decides its line.
LAYERS: tuple[tuple[str, ...], ...] = (
    (*LEAVES, "hpo_spaces", "hpo_storage"),
    ("hpo.data", "hpo.network", "hpo.engine", "hpo.search"),
    ("hpo.objectives", "hpo.study", "hpo.evaluation", "hpo.report"),
    ("hpo.trainer", "hpo.worker"),
    ("hpo",),  # the public API, hpo.cli
)

# These may import nothing else of the project, besides themselves.
ONLY: dict[str, tuple[str, ...]] = {
    "hpo.errors": (),
    "hpo.losses": ("hpo.study.facts", "hpo.words"),
    "hpo.seeds": (),
    "hpo.network.architecture": (),
    "hpo.data.prepared": ("hpo.errors", "hpo.study.facts", "hpo.data.rescaling"),
    "hpo.data.rescaling": ("hpo.data.scaling",),
    "hpo.data.scaling": (),
    "hpo.declaration": ("hpo.errors", "hpo.words"),
    "hpo.settings": ("hpo.declaration", "hpo.errors"),
    "hpo.study.facts": (),
    "hpo.study.standing": ("hpo.errors", "hpo.words", "hpo_storage.records"),
    "hpo.study.spec": ("hpo.declaration", "hpo.errors", "hpo.settings", "hpo.words"),
    "hpo.search": (*LEAVES, "hpo_spaces", "hpo_storage"),
    "hpo.usercode": (),
    "hpo_spaces": ("hpo.errors", "hpo.network.architecture", "hpo.usercode"),
    "hpo_storage": ("hpo.errors",),
    "hpo.engine": (*LEAVES, "hpo.network"),
}

# These know no networks: what is tuned is the objective's business.
KNOW_NO_NETWORKS = ("hpo.search", "hpo.study", "hpo_storage", "hpo_spaces.space", "hpo.worker", "hpo.declaration")
NETWORKS = (
    "hpo.network",
    "hpo.engine",
    "hpo.evaluation",
    "hpo.objectives.mlp",
    "hpo_spaces.mlp",
    "hpo_spaces.mlp_space",
)

FRAMEWORK_HOMES = ("hpo.network", "hpo.engine")

# What these must not reach through any chain of imports, those inside functions included.
OUT_OF_REACH: dict[str, tuple[str, ...]] = {
    "hpo.report*": FRAMEWORKS,
    "hpo.worker.run": FRAMEWORKS,
    "hpo.worker.serve": FRAMEWORKS,
    "hpo.trainer.synthetic": FRAMEWORKS,
    "hpo.engine*": SQL,
    "hpo.data.prepared": SLOW,
}

# Rooms and their parts stay small enough to be read. Exceptions say why; one that is needed no longer must go.
MOST_MODULES = {"hpo.worker": 14}
MOST_FILE_LINES = 450
MOST_FUNCTION_LINES = 40
MOST_ATTRIBUTES = 12
LONG_FUNCTIONS: dict[str, str] = {}
LARGE_CLASSES: dict[str, str] = {}

# What must not be loaded when these are imported.
NOT_AT_IMPORT: dict[str, tuple[str, ...]] = {
    "hpo": SLOW,
    "hpo.cli*": SLOW,
    "hpo.losses": (*SLOW, "numpy"),
    "hpo_spaces*": SLOW,
}


class Import(NamedTuple):
    module: str
    lazy: bool
    """Inside a function, or for type checkers only."""


def _module(path: Path, home: Path = ROOT) -> str:
    parts = path.relative_to(home).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_module(path, home): path for name, home in HOMES.items() for path in sorted((home / name).rglob("*.py"))}


def _statements(node: ast.AST, lazy: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, lazy
        else:
            postponed = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            )
            yield from _statements(child, lazy or postponed)


def imports(source: str) -> list[Import]:
    """The modules that `source` imports by absolute names."""
    found = []
    for statement, lazy in _statements(ast.parse(source)):
        if isinstance(statement, ast.Import):
            found += [Import(alias.name, lazy) for alias in statement.names]
        elif statement.level == 0:
            names = [f"{statement.module}.{alias.name}" for alias in statement.names]
            found += [Import(n if n in FILES else str(statement.module), lazy) for n in names]
        else:
            found.append(Import("." * statement.level + (statement.module or ""), lazy))
    return found


def _below(module: str, *prefixes: str) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def _layer(module: str) -> int:
    fitting = [(len(p), layer) for layer, line in enumerate(LAYERS) for p in line if _below(module, p)]
    return max(fitting)[1]


def complaints(module: str, source: str) -> list[str]:
    """The rules on direct imports that `source`, the text of `module`, breaks."""
    found = []
    for other in {entry.module for entry in imports(source)}:
        if other.startswith("."):
            found.append(f"{module} imports {other}: write absolute imports")
        if _below(other, *PACKAGES):
            if _layer(other) > _layer(module):
                found.append(f"{module} imports {other}: upwards")
            for limited, allowed in ONLY.items():
                if _below(module, limited) and not _below(other, limited, *allowed):
                    found.append(f"{module} imports {other}: it may import only {', '.join(allowed) or 'nothing'}")
        if _below(module, *KNOW_NO_NETWORKS) and _below(other, *NETWORKS):
            found.append(f"{module} imports {other}: it must know no networks")
        if _below(other, *FRAMEWORKS) and not _below(module, *FRAMEWORK_HOMES):
            found.append(f"{module} imports {other}: only {', '.join(FRAMEWORK_HOMES)} may")
    return found


def reached(start: str, graph: Mapping[str, list[Import]], *, lazily: bool) -> set[str]:
    """All modules that importing `start` leads to; with `lazily`, also what its functions import."""
    seen, waiting = set[str](), [start]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += [entry.module for entry in graph.get(module, []) if lazily or not entry.lazy]
    return seen


def circles(graph: Mapping[str, list[Import]]) -> list[str]:
    """The modules that lead back to themselves while they are imported."""
    found = []
    for module, entries in graph.items():
        direct = [entry.module for entry in entries if not entry.lazy]
        if any(module in reached(other, graph, lazily=False) for other in direct):
            found.append(module)
    return found


class Part(NamedTuple):
    name: str
    size: int


def functions(module: str, tree: ast.AST) -> Iterator[Part]:
    """Functions and methods with their lines, docstrings and nested functions included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Part(f"{module}.{node.name}", int(node.end_lineno or 0) - node.lineno + 1)
        yield from functions(f"{module}.{node.name}" if isinstance(node, ast.ClassDef) else module, node)


def classes(module: str, tree: ast.AST) -> Iterator[Part]:
    """Classes with the number of attributes that their methods assign to `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            assigned = {
                inner.attr
                for inner in ast.walk(node)
                if isinstance(inner, ast.Attribute)
                and isinstance(inner.ctx, ast.Store)
                and ast.unparse(inner.value) == "self"
            }
            yield Part(f"{module}.{node.name}", len(assigned))


def too_large(parts: Iterable[Part], most: int, excepted: Mapping[str, str]) -> list[str]:
    """What is larger than it may be, and exceptions that nothing needs."""
    large = {part.name: part.size for part in parts if part.size > most}
    found = [f"{name} has {size}, at most {most}" for name, size in large.items() if name not in excepted]
    return found + [f"{name} is no exception any more" for name in excepted if name not in large]


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    return {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in FILES.items()}


@pytest.fixture(scope="module")
def graph() -> dict[str, list[Import]]:
    return {module: imports(path.read_text(encoding="utf-8")) for module, path in FILES.items()}


@pytest.mark.parametrize("module", FILES)
def test_direct_imports(module):
    assert complaints(module, FILES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("pattern", "libraries", "lazily"),
    [(pattern, libraries, True) for pattern, libraries in OUT_OF_REACH.items()]
    + [(pattern, libraries, False) for pattern, libraries in NOT_AT_IMPORT.items()],
)
def test_reached_imports(pattern, libraries, lazily, graph):
    for module in (name for name in graph if fnmatch(name, pattern)):
        bad = sorted(m for m in reached(module, graph, lazily=lazily) if _below(m, *libraries))
        assert not bad, f"{module} reaches {', '.join(bad)}"


def test_no_module_leads_back_to_itself(graph):
    assert circles(graph) == []


def test_rooms_hold_few_modules():
    rooms = [module.rpartition(".")[0] for module, path in FILES.items() if path.name != "__init__.py"]
    assert {room: rooms.count(room) for room, most in MOST_MODULES.items() if rooms.count(room) > most} == {}


def test_files_are_short():
    lines = [Part(module, path.read_text(encoding="utf-8").count("\n")) for module, path in FILES.items()]
    assert too_large(lines, MOST_FILE_LINES, {}) == []


def test_functions_are_short(trees):
    found = [part for module, tree in trees.items() for part in functions(module, tree)]
    assert too_large(found, MOST_FUNCTION_LINES, LONG_FUNCTIONS) == []


def test_classes_hold_few_attributes(trees):
    """Frozen values, dataclasses and models declare their fields and assign none in methods."""
    found = [part for module, tree in trees.items() for part in classes(module, tree)]
    assert too_large(found, MOST_ATTRIBUTES, LARGE_CLASSES) == []


@pytest.mark.parametrize("path", sorted((ROOT / "hpo").glob("*/**/__init__.py")), ids=_module)
def test_package_files_below_hpo_are_empty(path):
    assert path.read_text(encoding="utf-8").strip() == ""


@pytest.mark.parametrize(
    ("module", "source", "rule"),
    [
        ("hpo.data.table", "from hpo.worker.lease import Lease", "upwards"),
        ("hpo.report.page", "def f():\n    import hpo.cli.main", "upwards"),
        ("hpo.statistics", "from hpo.evaluation.trial import evaluate", "upwards"),
        ("hpo.study.spec", "import hpo.losses", "may import only"),
        ("hpo.worker.run", "from hpo import tune", "upwards"),
        ("hpo_spaces.mlp", "from hpo import seeds", "may import only"),
        ("hpo_storage.slots", "from hpo_spaces import SPACES", "may import only"),
        ("hpo.engine.fit", "from hpo.data.table import Table", "may import only"),
        ("hpo.engine.fit", "from hpo_storage.records import TrialRecord", "may import only"),
        ("hpo.trainer.main", "import tensorflow as tf", "only hpo.network"),
        ("hpo.cli.main", "from jax import numpy", "only hpo.network"),
        ("hpo.worker.session", "from hpo.objectives.mlp import MLP", "know no networks"),
        ("hpo.report.data", "from .figures import draw", "absolute"),
    ],
)
def test_the_rules_catch(module, source, rule):
    found = complaints(module, source)
    assert len(found) == 1
    assert rule in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hpo.engine.fit", "from hpo.data.prepared import ReplicateData\nimport tensorflow"),
        (
            "hpo.evaluation.trial",
            "from hpo.engine.fit import fit_stack\nfrom hpo.seeds import generator",
        ),
        (
            "hpo_spaces.mlp",
            "from hpo.network.architecture import Architecture\nimport hpo_spaces.space",
        ),
        ("hpo.cli.run", "from hpo.worker import run\nimport keras_like, sqlalchemy_like"),
    ],
)
def test_the_rules_allow(module, source):
    assert complaints(module, source) == []


def test_chains_of_imports_are_followed():
    chain = {
        "a": [Import("b", lazy=False)],
        "b": [Import("keras", lazy=True), Import("a", lazy=False), Import("numpy", lazy=False)],
    }
    assert reached("a", chain, lazily=True) == {"a", "b", "keras", "numpy"}
    assert reached("a", chain, lazily=False) == {"a", "b", "numpy"}


def test_imports_in_functions_and_for_types_are_lazy():
    source = "import a\nif TYPE_CHECKING:\n    import b\ndef f():\n    with x:\n        from c.d import e\n"
    assert imports(source) == [Import("a", False), Import("b", True), Import("c.d", True)]


COMMAND_LINE = re.compile(r"(?<![\w-])--[a-z]|`hpo |\bhpo (run|worker|status|list|best|trials|replay|delete|db)\b")
"""What only the command line may say: an option, or a command. Others write marks (`hpo.errors.use` and `do`)."""
NOT_FOR_A_FACE = {
    "hpo.errors": "Python's face sends to a shell what has no call",
    "hpo.machine": "options of nvidia-smi and XLA",
    "hpo.report.answer": "the page names the command to type next",
    "hpo.worker.ray": "the arguments of the process that a node starts",
    "hpo_storage.optuna": "a command of Optuna's",
}


def commands_named(source: str) -> list[str]:
    """Texts of `source` that name an option or a command; docstrings are not shown to users of the program."""
    tree = ast.parse(source)
    documentation = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [node.value for node in texts if node not in documentation and COMMAND_LINE.search(node.value)]


@pytest.mark.parametrize("module", [name for name in FILES if not _below(name, "hpo.cli", *NOT_FOR_A_FACE)])
def test_only_the_command_line_names_its_options_and_commands(module):
    assert commands_named(FILES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('raise E(f"got {n}; use --trials {n}")', 1),
        ('f("run `hpo db upgrade`")', 1),
        ('x = "see hpo status"', 1),
        ('"""`hpo run --study x`."""\ndef f():\n    """See --trials."""\n    # --trials', 0),
        ('f("a study - or hpo itself -- is well-known")', 0),
    ],
)
def test_options_and_commands_are_found(source, count):
    assert len(commands_named(source)) == count


def test_circles_at_import_are_found_and_lazy_ones_are_not():
    graph = {
        "a": [Import("b", lazy=False)],
        "b": [Import("c", lazy=False)],
        "c": [Import("a", lazy=False), Import("d", lazy=True)],
        "d": [Import("b", lazy=False)],
    }
    assert circles(graph) == ["a", "b", "c"]
    assert circles(graph | {"c": [Import("a", lazy=True)]}) == []


LARGE = """
class Big:
    def __init__(self):
        self.a, self.b = 1, 2
        self.c: int = 3
        other.d = 4
    def grow(self):
        self.a += 1
        self.e.f = 5
        def inner():
            return 6
"""


def test_sizes_are_counted():
    tree = ast.parse(LARGE)
    assert list(classes("m", tree)) == [("m.Big", 3)]
    assert list(functions("m", tree)) == [("m.Big.__init__", 4), ("m.Big.grow", 5), ("m.Big.inner", 2)]


def test_exceptions_are_needed_or_must_go():
    parts = [Part("a", 5), Part("b", 2)]
    assert too_large(parts, 4, {}) == ["a has 5, at most 4"]
    assert too_large(parts, 4, {"a": "why"}) == []
    assert too_large(parts, 4, {"a": "why", "b": "why"}) == ["b is no exception any more"]
