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
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hpo_storage import slots
from hpo_storage.database import Database
from hpo_storage.failpoints import failpoint
from hpo_storage.records import Outcome
from hpo_storage.slots import Claim

from hpo.errors import LeaseLostError, StorageError
from hpo.search.advisor import Advisor
from hpo.words import count_text
from hpo.worker.progress import ProgressView

DIGITS = 16
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
                self.tell()
        left = [entry.claim.token for entry in self._entries if entry.outcome is not None]
        kept = sum(token in self._kept for token in left)
        if kept:
            place = self._spool.folder
            self._view.message(f"kept in {place}, to be told at the next start: {count_text(kept, 'result')}")
        if lost := len(left) - kept:
            self._view.message(f"neither told nor kept, so to be trained again: {count_text(lost, 'result')}")

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

    def drop(self, claim: Claim) -> None:
        """Remove a result, if it is there."""
        with contextlib.suppress(OSError):
            self._path(claim).unlink()

    def tidy(self) -> None:
        """Remove the folder, unless somebody's results are in it."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def replay(self, database: Database) -> int:
        """Tell the database what is kept, and return how many results it took; one that it cannot take is set aside."""
        self._remove_unfinished()
        told = 0
        for claim, outcome in self._kept():
            try:
                slots.finish(database, claim, outcome)
                told += 1
            except LeaseLostError as error:
                _log.warning("a result that was kept is not used: %s", error)
            except StorageError:
                raise
            except Exception:  # must not stop this start and all that follow
                aside = self._path(claim).with_suffix(".bad")
                _log.exception("a result that was kept cannot be told; it is now in %s", aside)
                with contextlib.suppress(OSError):
                    self._path(claim).replace(aside)
            self.drop(claim)
        return told

    def _remove_unfinished(self) -> None:
        for path in self.folder.glob("*.new"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > WRITING_SECONDS:
                    path.unlink()

    def _kept(self) -> Iterator[tuple[Claim, Outcome]]:
        for path in sorted(self.folder.glob("*.json")):
            try:
                values = json.loads(path.read_text("utf-8"))
                yield Claim(**values["claim"]), Outcome.from_json(values["outcome"])
            except FileNotFoundError:
                continue  # another worker has told it
            except (ValueError, KeyError, TypeError) as error:
                _log.warning("%s cannot be read and is removed: %s", path, error)
                path.unlink(missing_ok=True)

    def _path(self, claim: Claim) -> Path:
        return self.folder / f"{claim.token}.json"


def _state_folder() -> Path:
    if given := os.environ.get("XDG_STATE_HOME"):
        return Path(given)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:  # a container's user may have no home
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
