"""Every error that hpo raises on purpose.

HpoError
├── InputError             what the user gave cannot be used: rule, value, remedy (exit code 2)
│   ├── DataError          a table, its target or its columns
│   ├── SpaceError         a search space; names the dimension
│   ├── StudyError         a study's name, or settings that differ from the stored ones
│   │   ├── StudyNotFoundError
│   │   └── StudyRunningError
│   └── StorageError       a database URL, or a database that cannot be opened or is too old
│       └── StorageAwayError       a database that does not answer now; it may be back later
│           └── StorageBusyError   a transaction refused because of another one; nothing was changed
├── TrialError             one attempt of a trial failed; the study goes on
│   └── DivergedError      a loss or a prediction was not finite
└── LeaseLostError         a result came after its slot was given to another attempt

A remedy often is a setting or an action. The command line, Python and HTTP write these in words of their own, so a
message holds marks, made by `use` and `do`, and whoever shows the error has them written by a `Face`:

    raise StudyError(f"a budget can only grow, got {trials}; use {use('trials', 50)} or more", setting="trials")

reads `use trials=50 or more` in Python and `use --trials 50 or more` on the command line.
"""

import re
from collections.abc import Callable
from typing import ClassVar, Protocol

_MARK = re.compile("⟨(?P<action>!?)(?P<name>[a-z_]+)(?:=(?P<value>[^⟩]*))?⟩")


def use(setting: str, value: object = None) -> str:
    """The mark of a setting in a message, with the value that it should have where there is one."""
    return f"⟨{setting}⟩" if value is None else f"⟨{setting}={value}⟩"


def do(action: str, study: object = None) -> str:
    """The mark of something to be done, to a study where one is named; `PythonFace.actions` lists what there is."""
    return f"⟨!{action}⟩" if study is None else f"⟨!{action}={study}⟩"


class Face(Protocol):
    """How settings and actions are written where an error is shown."""

    def setting(self, name: str, value: str | None) -> str:
        """A setting of hpo's, with a value to give it or none."""

    def action(self, name: str, study: str | None) -> str:
        """What to do, as `do` names it."""


class PythonFace:
    """Settings as keywords, actions as calls."""

    actions: ClassVar[dict[str, Callable[[str], str]]] = {
        "run": lambda study: f"hpo.tune(..., study={study})",
        "status": lambda study: f"hpo.open_study({study})",
        "trials": lambda study: f"hpo.open_study({study}).trials_frame()",
        "upgrade": lambda study: "hpo.upgrade(storage)",
        "worker": lambda study: "`hpo worker` in a shell",
    }

    def setting(self, name: str, value: str | None) -> str:
        """`trials=50`; texts in quotes."""
        if value is None:
            return name
        return f"{name}={value if _is_plain(value) else repr(value)}"

    def action(self, name: str, study: str | None) -> str:
        """`hpo.open_study('churn')`."""
        return self.actions[name]("..." if study is None else repr(study))


def _is_plain(value: str) -> bool:
    """Whether it is written without quotes: a number, True, False or None, or a name for a value."""
    return value in ("True", "False", "None") or value.isupper() or re.fullmatch(r"[0-9.]+", value) is not None


class HpoError(Exception):
    """Base of all errors that hpo raises on purpose."""


class InputError(HpoError):
    """Unusable input: the message says the rule, the value and the remedy; `setting` is the one that is at fault."""

    def __init__(self, message: str = "", *, setting: str | None = None) -> None:
        super().__init__(message)
        self.marked, self.setting = message, setting

    def text(self, face: Face) -> str:
        """The message in the words of a face."""

        def written(mark: re.Match[str]) -> str:
            write = face.action if mark["action"] else face.setting
            return write(mark["name"], mark["value"])

        return _MARK.sub(written, self.marked)

    def __str__(self) -> str:
        return self.text(PythonFace())


class DataError(InputError):
    """A table, its target or its columns cannot be used."""


class SpaceError(InputError):
    """A search space cannot be used; the message names the dimension."""


class StudyError(InputError):
    """A study's name or settings cannot be used."""


class StudyNotFoundError(StudyError):
    """No study of that name is in the database."""


class StudyRunningError(StudyError):
    """The study is being worked on by another process."""


class StorageError(InputError):
    """A database URL cannot be used, or its database cannot be opened."""


class StorageAwayError(StorageError):
    """The database does not answer now: wait, and go on when it is back."""


class StorageBusyError(StorageAwayError):
    """The database refused a transaction because of another one; it may be tried again at once."""


class TrialError(HpoError):
    """One attempt of a trial failed; the study goes on."""


class DivergedError(TrialError):
    """A loss or a prediction was not finite."""


class LeaseLostError(HpoError):
    """A result came after its slot was given to another attempt."""
