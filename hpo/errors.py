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
"""


class HpoError(Exception):
    """Base of all errors that hpo raises on purpose."""


class InputError(HpoError):
    """Unusable input: the message says the rule, the value and the remedy."""


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
