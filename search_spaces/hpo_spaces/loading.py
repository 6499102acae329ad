"""Finding what a study names: something that comes with hpo, or that a user has defined in a module of his own."""

import importlib
import re
import runpy
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.errors import InputError, SpaceError, use
from hpo.usercode import EndedError, contained, said
from hpo_spaces.space import SearchSpace

SPACES = {
    "mlp": "hpo_spaces.mlp:MLP",
    "mlp_strong": "hpo_spaces.mlp_strong:MLP_STRONG",
    "mlp_wide": "hpo_spaces.mlp_wide:MLP_WIDE",
}
"""Name -> where the space is defined; imported when it is asked for."""
REFERENCE = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")
_FORMER = {f"search_spaces.{name}": f"hpo_spaces.{name}" for name in SPACES}
"""Where spaces that come with hpo once were; studies may have stored it."""


def load_space(reference: str) -> SearchSpace:
    """Return the space called `reference` in the registry, or found at `package.module:NAME`.

    Raises SpaceError; what a module raised while it was imported stays as the cause.
    """
    space = load(reference, SPACES, "space", SpaceError)
    if not isinstance(space, SearchSpace):
        name = reference.rpartition(":")[2]
        raise SpaceError(
            f"{name!r} in {reference} must be a SearchSpace, got {type(space).__name__}; "
            f"write {name} = SearchSpace(...){hidden(reference)}",
            setting="space",
        )
    return space


def load(reference: str, registry: Mapping[str, str], setting: str, error: type[InputError]) -> Any:  # noqa: ANN401
    """What the registry calls `reference`, or what is found at `package.module:NAME`.

    It may lie in the current folder, after all that is installed. Raises `error` of the setting.
    """
    place = registry.get(reference, reference)
    module_name, colon, name = place.partition(":")
    if module_name in _FORMER and not _is_file(_file_of(module_name)):  # a file of the user's own comes first
        place = f"{_FORMER[module_name]}{colon}{name}"
    match = REFERENCE.fullmatch(place)
    if match is None:
        raise error(
            f"the {setting} must be one of {', '.join(sorted(registry))}, or package.module:NAME, "
            f"got {reference!r}; {_remedy(reference, registry, setting)}",
            setting=setting,
        )
    module = _import(match["module"], setting, error)
    if not hasattr(module, match["name"]):
        raise error(_not_there(module, match["name"], setting), setting=setting)
    return getattr(module, match["name"])


def forget_module(reference: str) -> None:
    """Have the module of `package.module:NAME` imported anew the next time."""
    match = REFERENCE.fullmatch(reference)
    if match is not None and match["module"].partition(".")[0] not in ("hpo", "hpo_spaces"):
        sys.modules.pop(match["module"], None)


def is_there(module: str) -> bool:
    """Whether `run_own`, started here, would find the module."""
    top = module.partition(".")[0] or "?"
    return top in sys.modules or any(PathFinder.find_spec(top, path) for path in (None, [str(Path.cwd())]))


def _remedy(reference: str, names: Iterable[str], setting: str) -> str:
    """What to write instead of a reference that is none."""
    module = reference.removesuffix(".py").replace("/", ".")
    if REFERENCE.fullmatch(f"{module}:NAME") and _is_file(_file_of(module)):
        return f"write {use(setting, f'{module}:NAME')}"
    close = get_close_matches(reference, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"correct {use(setting)}"


def _file_of(module: str) -> Path:
    """Where a module lies in the current folder."""
    return Path(*module.split(".")).with_suffix(".py")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file could have
        return False


def _import(name: str, setting: str, error: type[InputError]) -> ModuleType:
    folder = str(Path.cwd())
    _Beside.search(folder)
    rule = f"the module of the {setting} must be importable"
    try:
        with contained(f"the module {name}"):
            return importlib.import_module(name)
    except InputError:
        raise  # it says what is wrong already
    except Exception as raised:
        cause = (raised.__cause__ if isinstance(raised, EndedError) else None) or raised
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise error(
                f"{rule}, got {name!r}, of which {missing!r} was not found in {folder} or among the installed "
                f"packages; correct {use(setting)}, start in the folder that holds it, or put that on PYTHONPATH",
                setting=setting,
            ) from cause
        # A folder of that name, as in a checkout of hpo's, makes an empty package of it.
        is_former = isinstance(cause, ImportError) and (cause.name or "").partition(".")[0] == "search_spaces"
        remedy = "import from hpo.spaces instead" if is_former else "correct the module"
        raise error(f"{rule}, got {name!r}, which raised {said(cause)}; {remedy}", setting=setting) from cause


def run_own(folder: str, module: str) -> None:
    """Run a module of the user's own, which lies in the folder, as Python's option -m does."""
    _Beside.search(folder)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


class _Beside(MetaPathFinder):
    """Finds what is nowhere else in the user's folder, for the modules there and for this one only.

    A folder on `sys.path` would be everybody's: libraries try to import others that may not be installed.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @classmethod
    def search(cls, folder: str) -> None:
        """See that modules in the folder are found."""
        if not any(isinstance(finder, cls) and finder.folder == folder for finder in sys.meta_path):
            sys.meta_path.append(cls(folder))
        importlib.invalidate_caches()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of that name in the folder, where one there imports it."""
        package = fullname.rpartition(".")[0]
        if not self._is_asked() or getattr(sys.modules.get(package), "__file__", None) is not None:
            return None
        # A folder without an `__init__.py` goes on in others of its name.
        return PathFinder.find_spec(fullname, [str(Path(self.folder, *package.split(".")))], target)

    def _is_asked(self) -> bool:
        frame = sys._getframe()
        while frame.f_back and (
            frame.f_code.co_filename == __file__ or frame.f_globals.get("__name__", "").startswith(_IMPORTING)
        ):
            frame = frame.f_back
            if frame.f_code.co_filename == __file__ and frame.f_code.co_name in ("_import", "run_own"):
                return True
        file = frame.f_code.co_filename
        within = [place for place in (self.folder, *sys.path) if place and Path(file).is_relative_to(place)]
        return bool(within) and max(within, key=len) == self.folder


_IMPORTING = ("importlib", "_frozen_importlib", "runpy")


def hidden(reference: str) -> str:
    """What to add to a complaint of a module that is not the file of its name in the current folder; "" otherwise."""
    name = reference.partition(":")[0]
    file, module = _file_of(name), sys.modules.get(name)
    found = getattr(module, "__file__", None)
    if not _is_file(file) or (found is not None and Path(found).exists() and file.samefile(found)):
        return ""
    return f" ({name!r} is an installed module, so that {file} here is not read: give that another name)"


def _not_there(module: ModuleType, name: str, setting: str) -> str:
    """Why there is no `module.name`."""
    spaces = sorted(key for key, value in vars(module).items() if isinstance(value, SearchSpace))
    file = getattr(module, "__file__", None) or module.__name__
    remedy = f"use one of {', '.join(spaces)}" if spaces and setting == "space" else "define it there"
    not_read = hidden(module.__name__)
    return f"the {setting} must be defined in its module, got {name!r}, which is not in {file}; {remedy}{not_read}"
