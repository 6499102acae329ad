"""Every error that hpo raises on purpose.

HpoError
├── InputError             what the user gave cannot be used: rule, value, remedy (exit code 2)
│   ├── DataError          a table, its target or its columns
│   ├── SpaceError         a search space; names the dimension
│   ├── ResourceError      this machine has not what it takes now: room, memory, files; the input may be good
│   ├── StudyError         a study's name, or settings that differ from the stored ones
│   │   ├── StudyNotFoundError
│   │   └── StudyRunningError
│   └── StorageError       a database URL, or a database that cannot be opened or is too old
│       ├── StorageLostError       an SQLite file that was removed or replaced while it was open
│       ├── StorageRefusedError    a database that answers, and refuses: a right, the login, room, the tables
│       └── StorageAwayError       a database that does not answer now; it may be back later
│           ├── StorageHostError   its host has no address
│           └── StorageBusyError   a transaction refused because of another one; nothing was changed
├── TrainersError          trainers cannot work on a study here (exit code 3)
│   └── SickHostError          nor on any other: they die again and again, whatever the trial
├── TrialError             one attempt of a trial failed; the study goes on
│   └── DivergedError      a loss or a prediction was not finite
└── LeaseLostError         a result came after its slot was given to another attempt

A remedy often is a setting or an action. The command line, Python and HTTP write these in words of their own, so a
message holds marks, made by `use` and `do`, and whoever shows the message has them written by a `Face`:

    raise StudyError(f"a budget can only grow, got {trials}; use {use('trials', 50)} or more", setting="trials")

reads `use trials=50 or more` in Python and `use --trials 50 or more` on the command line.
"""

import json
import re
from collections.abc import Callable
from typing import ClassVar, Literal, Protocol

Action = Literal["run", "retry", "status", "trials", "upgrade", "backup", "worker"]
"""What a message may tell the user to do."""

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Around a mark. Unicode keeps these for a program's own use, and `repr` escapes them: quoted text of a user's makes no
mark."""
_MARK = re.compile(f"{_OPEN}(?P<action>!?)(?P<name>[a-z_]+)=(?P<value>[^{_OPEN}{_CLOSE}]*){_CLOSE}")


def use(setting: str, value: object = None) -> str:
    """The mark of a setting in a message, with the value that it should have where there is one."""
    return _mark(setting, value)


def do(action: Action, study: str | None = None, **given: object) -> str:
    """The mark of something to be done, to a study where one is named, with settings where some are given."""
    return _mark(f"!{action}", [study, given] if given else study)


def _mark(name: str, value: object) -> str:
    # JSON keeps a value's kind, and writes in ASCII: no value can end its mark.
    return f"{_OPEN}{name}={json.dumps(value, default=str)}{_CLOSE}"


class Face(Protocol):
    """How settings and actions are written where a message is shown."""

    def setting(self, name: str, value: object) -> str:
        """A setting of hpo's, with a value to give it or None."""

    def action(self, name: str, study: str | None, **given: object) -> str:
        """What to do, as `do` names it."""


class PythonFace:
    """Settings as keywords, actions as calls."""

    actions: ClassVar[dict[str, Callable[[str], str]]] = {
        "run": lambda study: f"hpo.tune(..., study={study})" if study else "hpo.tune(...)",
        "retry": lambda study: f"hpo.retry_study({study or '...'})",
        "status": lambda study: f"hpo.open_study({study or '...'})",
        "trials": lambda study: f"hpo.open_study({study or '...'}).trials_frame()",
        "upgrade": lambda study: "hpo.upgrade(...)",
        "backup": lambda study: "hpo.backup(...)",
        "worker": lambda study: "`hpo worker` in a shell",
    }

    def setting(self, name: str, value: object) -> str:
        """`trials=50`; texts in quotes."""
        return name if value is None else f"{name}={value!r}"

    def action(self, name: str, study: str | None, **given: object) -> str:
        """`hpo.open_study('churn')`, `hpo.tune(..., study='churn', trials=50)`."""
        call = self.actions[name]("" if study is None else repr(study))
        settings = [self.setting(setting, value) for setting, value in given.items()]
        return f"{', '.join([call.removesuffix(')'), *settings])})" if settings else call


PYTHON = PythonFace()


def written(text: str, face: Face) -> str:
    """The text with its marks in the words of a face."""

    def write(mark: re.Match[str]) -> str:
        try:
            value = json.loads(mark["value"])
            if not mark["action"]:
                return face.setting(mark["name"], value)
            study, given = value if isinstance(value, list) else (value, {})
            return face.action(mark["name"], study, **given)
        except (ValueError, LookupError, TypeError):
            return mark.group()  # not ours

    return _MARK.sub(write, text)


def marked(error: BaseException) -> str:
    """An error's message for whoever will write its marks."""
    return error.marked if isinstance(error, HpoError) else str(error)


class HpoError(Exception):
    """Base of all errors that hpo raises on purpose."""

    def __init__(self, message: str = "") -> None:
        super().__init__(written(message, PYTHON))  # what a traceback, `repr` and `args` show
        self.marked = message

    def text(self, face: Face) -> str:
        """The message in the words of a face."""
        return written(self.marked, face)

    def __str__(self) -> str:
        return self.text(PYTHON)


class InputError(HpoError):
    """Unusable input: the message says the rule, the value and the remedy; `setting` is the one that is at fault."""

    usual: ClassVar[str | None] = None
    """The setting that is at fault where none is named."""

    def __init__(self, message: str = "", *, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting or self.usual


class DataError(InputError):
    """A table, its target or its columns cannot be used."""

    usual = "data"


class SpaceError(InputError):
    """A search space cannot be used; the message names the dimension."""

    usual = "space"


class ResourceError(InputError):
    """What is asked for may be good, but this machine has not what it takes now: room, memory, open files."""


class StudyError(InputError):
    """A study's name or settings cannot be used."""


class StudyNotFoundError(StudyError):
    """No study of that name is in the database."""

    usual = "study"


class StudyRunningError(StudyError):
    """The study is being worked on by another process."""

    usual = "study"


class StorageError(InputError):
    """A database URL cannot be used, or its database cannot be opened."""

    usual = "storage"


class StorageRefusedError(StorageError):
    """The database answers, and refuses: somebody must give a right, a login, room or the tables."""


class StorageLostError(StorageError):
    """An SQLite file is not the one any more that was opened: nobody finds what is written to it."""


class StorageAwayError(StorageError):
    """The database does not answer now: wait, and go on when it is back."""


class StorageHostError(StorageAwayError):
    """The host of the database has no address, which a start waits for a few seconds only: its name may be wrong."""


class StorageBusyError(StorageAwayError):
    """The database refused a transaction because of another one; it may be tried again at once."""


class TrainersError(HpoError):
    """Trainers cannot work on a study on this machine; `summary` says so in a line, for others to read."""

    def __init__(self, message: str = "", *, summary: str = "") -> None:
        super().__init__(message)
        self.summary = summary or message


class SickHostError(TrainersError):
    """Trainers cannot work on this machine, whatever the study."""


class TrialError(HpoError):
    """One attempt of a trial failed; the study goes on."""


class DivergedError(TrialError):
    """A loss or a prediction was not finite."""


class LeaseLostError(HpoError):
    """A result came after its slot was given to another attempt."""
