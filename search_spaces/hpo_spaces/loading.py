"""Finding what a study names: something that comes with hpo, or that a user has defined in a module of his own."""

import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.errors import InputError, SpaceError, use
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
            f"write {name} = SearchSpace(...)",
            setting="space",
        )
    return space


def load(reference: str, registry: Mapping[str, str], setting: str, error: type[InputError]) -> Any:  # noqa: ANN401
    """What the registry calls `reference`, or what is found at `package.module:NAME`.

    The current folder is importable, after all that is installed. Raises `error` of the setting.
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
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    rule = f"the module of the {setting} must be importable"
    try:
        return importlib.import_module(name)
    except InputError:
        raise  # it says what is wrong already
    except (Exception, SystemExit) as cause:
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
        raise error(f"{rule}, got {type(cause).__name__} from {name!r}: {cause}; {remedy}", setting=setting) from cause


def _not_there(module: ModuleType, name: str, setting: str) -> str:
    """Why there is no `module.name`."""
    spaces = sorted(key for key, value in vars(module).items() if isinstance(value, SearchSpace))
    file = getattr(module, "__file__", None) or module.__name__
    remedy = f"use one of {', '.join(spaces)}" if spaces and setting == "space" else "define it there"
    return f"the {setting} must be defined in its module, got {name!r}, which is not in {file}; {remedy}"
