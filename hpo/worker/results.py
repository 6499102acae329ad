"""What a worker has to tell the database: results, and slots to give back.

It waits here while the database is away; results also on this machine's disk, so that a crash loses none.
"""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISREG

from hpo_storage import slots
from hpo_storage.database import Database
from hpo_storage.failpoints import failpoint
from hpo_storage.records import Outcome
from hpo_storage.slots import Claim, check_outcome

from hpo.errors import LeaseLostError, StorageError, StudyNotFoundError, do
from hpo.search.advisor import Advisor
from hpo.words import count_text
from hpo.worker.progress import ProgressView

DIGITS = 16
MOST_BYTES = 1 << 30
"""Beyond that a file is no result."""
WRITING_SECONDS = 3600.0
"""A file that was begun so long ago was left by a process that was killed."""
_log = logging.getLogger("hpo")


@dataclass(frozen=True, slots=True)
class Settled:
    """A claim that nobody works on any more, after so many seconds: with an outcome, or without one: broken off for a
    reason, which is a failed attempt where it `counts`, or else interrupted."""

    claim: Claim
    outcome: Outcome | None = None
    reason: str | None = None
    counts: bool = False
    seconds: float = 0.0


def study_is_gone(name: str) -> StudyNotFoundError:
    """The error to raise where a study, or part of it, is deleted while it is worked on."""
    return StudyNotFoundError(
        f"a study must stay while it is worked on, and {name!r} is gone: it, or part of it, was deleted meanwhile; "
        f"delete what is left of it, and {do('run')} makes a new one"
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What the database has taken: whether the slot is open again, and whether the outcome is the best so far."""

    settled: Settled
    is_open: bool = False
    is_best: bool = False


class Outbox:
    """Claims that are settled, in the order in which they came. Results are also kept on disk until they are told."""

    def __init__(self, advisor: Advisor, spool: "Spool", view: ProgressView) -> None:
        self._advisor, self._spool, self._view = advisor, spool, view
        self._entries: deque[Settled] = deque()
        self._kept: set[str] = set()
        self._warned = False

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def claims(self) -> list[Claim]:
        """The trials that entries are about."""
        return [entry.claim for entry in self._entries]

    def add(self, entry: Settled) -> None:
        """Take an entry to be told next."""
        if entry.outcome is not None:
            try:
                self._spool.keep(entry.claim, entry.outcome)
                self._kept.add(entry.claim.token)
            except OSError as error:
                if not self._warned:
                    self._view.message(f"results cannot be kept on this machine until they are told: {error}")
                self._warned = True
        self._entries.append(entry)

    def tell(self) -> Told | None:
        """Tell the first entry; None where the slot was another's by now. StorageAwayError leaves it first."""
        entry = self._entries[0]
        try:
            told: Told | None = self._tell(entry)
        except LeaseLostError:
            self._view.message(f"trial {entry.claim.number} was given to another worker; its end is not used")
            told = None
        self._entries.popleft()
        self._spool.drop(entry.claim)
        return told

    def close(self) -> None:
        """Tell what can be told; results that are left then stay on disk."""
        with contextlib.suppress(StorageError):
            while self._entries:
                self._tell_or_set_aside()
        left = [entry.claim.token for entry in self._entries if entry.outcome is not None]
        kept = sum(token in self._kept for token in left)
        if kept:
            place = self._spool.folder
            self._view.message(f"kept in {place}, to be told at the next start: {count_text(kept, 'result')}")
        if lost := len(left) - kept:
            self._view.message(f"neither told nor kept, so to be trained again: {count_text(lost, 'result')}")

    def _tell_or_set_aside(self) -> None:
        try:
            self.tell()
        except StudyNotFoundError as error:
            entry = self._entries.popleft()
            self._spool.set_aside(entry.claim, error)

    def _tell(self, entry: Settled) -> Told:
        if entry.outcome is None:
            return Told(entry, is_open=self._advisor.give_back(entry.claim, entry.reason, counts=entry.counts))
        return Told(entry, is_best=self._advisor.tell(entry.claim, entry.outcome))


class Spool:
    """A folder with one file per result; workers of the same database on this machine share it.

    They may tell each other's results: telling twice is harmless.
    """

    def __init__(self, database: Database) -> None:
        self.folder = _state_folder() / "hpo" / "spool" / _digest(database)

    def keep(self, claim: Claim, outcome: Outcome) -> None:
        """Write a result to the disk for good; OSError where that fails."""
        failpoint("before_spool")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(claim)
        new = path.with_suffix(".new")
        try:
            with new.open("w", encoding="utf-8") as file:
                json.dump({"claim": asdict(claim), "outcome": outcome.to_json()}, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            raise
        _sync(self.folder)
        failpoint("after_spool")

    def set_aside(self, claim: Claim, error: Exception) -> None:
        """Keep a result, if it is there, where it is not told again."""
        if (path := self._path(claim)).exists():
            _set_aside(path, error)

    def drop(self, claim: Claim) -> None:
        """Remove a result, if it is there."""
        with contextlib.suppress(OSError):
            self._path(claim).unlink()

    def tidy(self) -> None:
        """Remove the folder, unless somebody's results are in it."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def replay(self, database: Database) -> int:
        """Tell the database what is kept, and return how many results it took; what it cannot take is set aside."""
        told = 0
        for path in self._files("*.new"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > WRITING_SECONDS:
                    path.unlink()
        for path in self._files("*.json"):
            try:
                slots.finish(database, *_read(path))
                told += 1
            except FileNotFoundError:
                continue  # another worker has told it
            except LeaseLostError as error:
                _log.warning("a result that was kept is not used: %s", error)
            except StorageError:
                raise
            except Exception as error:  # must not stop this start and all that follow
                _set_aside(path, error)
                continue
            with contextlib.suppress(OSError):
                path.unlink()
        return told

    def _files(self, pattern: str) -> list[Path]:
        """What is in the folder; nothing where there is none that can be read."""
        try:
            return sorted(self.folder.glob(pattern))
        except OSError as error:
            _log.warning("results kept on this machine cannot be looked for in %s: %s", self.folder, error)
            return []

    def _path(self, claim: Claim) -> Path:
        return self.folder / f"{claim.token}.json"


def _read(path: Path) -> tuple[Claim, Outcome]:
    """What a file holds; OSError, ValueError, KeyError or TypeError where that is no result."""
    found = path.stat()
    if not S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
        raise ValueError(f"a result is a file of at most {MOST_BYTES} bytes")
    values = json.loads(path.read_text("utf-8"))
    claim, outcome = Claim(**values["claim"]), Outcome.from_json(values["outcome"])
    if not (isinstance(claim.token, str) and isinstance(claim.trial_id, int)):
        raise TypeError("a claim has a token and the number of a trial")
    check_outcome(outcome)
    return claim, outcome


def _set_aside(path: Path, error: Exception) -> None:
    """Name a file that cannot be told, and keep it where it is not read again."""
    aside = path.with_suffix(".bad")
    try:
        path.replace(aside)
    except OSError:
        aside = path
    _log.warning("a result that was kept cannot be told (%s: %s); it is in %s", type(error).__name__, error, aside)


def _state_folder() -> Path:
    """Where the user's programs keep their state; paths that are not absolute mean nothing."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    if given.is_absolute():
        return given
    with contextlib.suppress(RuntimeError):  # a container's user may have no home
        if Path.home().is_absolute():
            return Path.home() / ".local" / "state"
    return Path(tempfile.gettempdir())


def _digest(database: Database) -> str:
    """Names the database without its user and passwords; of an SQLite file, wherever it is opened from."""
    url, dialect = database.engine.url, database.engine.dialect
    if dialect.name == "sqlite":
        name = str(Path(str(url.database)).resolve())
    else:
        options = sorted((key, value) for key, value in url.query.items() if "passw" not in key.lower())
        name = repr((dialect.driver, url.host, url.port, url.database, options))
    return hashlib.sha256(name.encode()).hexdigest()[:DIGITS]


def _sync(folder: Path) -> None:
    """Make a rename in the folder last through a power cut."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
