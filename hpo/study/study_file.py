"""Study files: the settings of a study in TOML, which `hpo run` and `hpo.tune` take."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

from hpo.data.fingerprint import BUILTIN_NAMES
from hpo.errors import PYTHON, InputError, StudyError, written
from hpo.settings import SETTINGS
from hpo.study.spec import check_study_name
from hpo.words import shown

SUFFIX = ".toml"
OWN = ("study", "storage")
"""What a file may say beside settings: the study's name, and its database."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyFile:
    """What a study file says.

    Attributes:
        path: of the file.
        values: checked, by name; paths among them lead from the current folder.
        lines: where each of them stands.
    """

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    @contextmanager
    def blamed(self, given: Mapping[str, Any]) -> Iterator[None]:
        """Have an error that is about something the file says tell where it stands, unless that was `given`."""
        try:
            yield
        except InputError as error:
            name = error.setting
            if name is not None and name in self.lines and given.get(name) is None:
                error.marked = f"{error.marked} ({_place(self.path, self.lines[name])})"
            raise


@contextmanager
def filled(config: object, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What is given, and what the study file `config` says, where there is one, of that which is None or left out.

    An error that is raised in the block says where in the file its setting stands.
    """
    if config is None:
        yield dict(given)
        return
    if not isinstance(config, str | PathLike):
        raise StudyError(f"a study file is given by its path, got {shown(config)}; give that", setting="config")
    file = read_study_file(Path(config))
    with file.blamed(given):
        yield {**file.values, **{name: value for name, value in given.items() if value is not None}}


class TomlFace:
    """Messages in the words of a study file: `trials = 50`."""

    def setting(self, name: str, value: object) -> str:
        """A setting, with its value where there is one."""
        return name if value is None else f"{name} = {toml_value(value)}"

    def action(self, name: str, study: str | None, **given: object) -> str:
        """Something to be done, which a file cannot say."""
        return PYTHON.action(name, study, **given)


TOML = TomlFace()


def read_study_file(path: Path) -> StudyFile:
    """Read a study file; StudyError names the file, the line and the key of what cannot be."""
    text = _text(path)
    values = _parsed(path, text)
    lines = {name: _line(text, name) for name in values}
    for name in values:
        if name not in SETTINGS and name not in OWN:
            raise StudyError(f"{_place(path, lines[name])}: {_unknown(name, values[name])}", setting=name)
    checked = {name: _checked(path, lines[name], name, value) for name, value in values.items()}
    if "data" in checked:
        checked["data"] = _found_from(path, checked["data"])
    if "storage" in checked and "://" not in checked["storage"]:
        checked["storage"] = str(path.parent / checked["storage"])
    return StudyFile(path=path, values=checked, lines=lines)


def toml_value(value: object) -> str:
    """A value as TOML writes it: texts in double quotes, several in brackets, tables in braces."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case Mapping():
            return "{" + ", ".join(f"{toml_value(str(key))} = {toml_value(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(toml_value(each) for each in value) + "]"
    return '"' + "".join(_ESCAPES.get(c, c if c.isprintable() else f"\\U{ord(c):08X}") for c in str(value)) + '"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def _text(path: Path) -> str:
    if path.suffix != SUFFIX:
        raise StudyError(
            f"a study file has a name that ends in {SUFFIX}, got {str(path)!r}; rename it", setting="config"
        )
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise StudyError(
            f"a study file must be there and readable, {str(path)!r} is not ({error.strerror}); correct its path",
            setting="config",
        ) from None
    except UnicodeDecodeError:
        raise StudyError(f"a study file must be UTF-8, {str(path)!r} is not; save it so", setting="config") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(f"{text}\n")  # an error at the end has no line
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", str(error))
        reason, line = (f"{found[1]} at column {found[3]}", int(found[2])) if found else (str(error), None)
        raise StudyError(
            f"{_place(path, line)}: a study file must be TOML, here it is not: {reason}; write a key, =, and a value: "
            f'texts stand in quotes, as in target = "churned", numbers do not, and a switch is true or false',
            setting="config",
        ) from None


def _unknown(name: str, value: object) -> str:
    """Why a key is none, and what to use instead."""
    known = [*OWN, *SETTINGS]
    if isinstance(value, dict) and any(key in known for key in value):
        return f"settings stand by themselves, got {next(k for k in value if k in known)!r} in a table; remove [{name}]"
    close = get_close_matches(name.replace("-", "_").lower(), known, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    return f"a key must be a setting of hpo, got {name!r}; {remedy}"


def _checked(path: Path, line: int, name: str, value: object) -> Any:  # noqa: ANN401 - of the setting's type
    try:
        if name == "study":
            return check_study_name(value)
        if name == "storage":
            return _storage(value)
        return SETTINGS[name].checked(value)
    except InputError as error:
        raise StudyError(f"{_place(path, line)}: {written(error.marked, TOML)}", setting=name) from None


def _storage(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise StudyError(
            f"a database is given as a URL or an SQLite file, got {shown(value)}; write it as a text", setting="storage"
        )
    return value


def _found_from(path: Path, data: str) -> str:
    """Data as it is found from the current folder: a file's path is relative to the study file, names stay."""
    there = path.parent / data
    is_path = bool(re.search(r"[/\\.]", data)) and ":" not in data and data not in BUILTIN_NAMES
    return str(there) if is_path or there.is_file() else data


def _place(path: Path, line: int | None) -> str:
    return str(path) if line is None else f"{path}, line {line}"


def _line(text: str, name: str) -> int:
    """Where a key or its table begins; 1 where it is written in a way of its own."""
    key = re.escape(name)
    found = re.search(rf"""^[ \t]*(?:\[\s*)?["']?{key}["']?\s*[.=\]]""", text, re.MULTILINE)
    return 1 if found is None else text.count("\n", 0, found.start() + 1) + 1
