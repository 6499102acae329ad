"""What a worker has to tell the database: results, and slots to give back. It waits here while the database is away."""

import contextlib
from collections import deque
from dataclasses import dataclass

from hpo_storage import slots
from hpo_storage.failpoints import failpoint
from hpo_storage.records import Outcome
from hpo_storage.slots import Claim

from hpo.errors import LeaseLostError, StorageError
from hpo.words import count_text
from hpo.worker.membership import Worker


@dataclass(frozen=True, slots=True)
class Result:
    """A trial's outcome, after so many seconds."""

    claim: Claim
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class Return:
    """A slot to be given back: a failed attempt, and why, where it `counts`, else an interrupted one."""

    claim: Claim
    reason: str | None = None
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What the database has taken; of a slot that was given back, whether it is open again."""

    entry: Result | Return
    is_open: bool = False


class Outbox:
    """Entries in the order in which they came. Results are also kept on disk until they are told."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._entries: deque[Result | Return] = deque()
        self._kept: set[str] = set()
        self._warned = False

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def claims(self) -> list[Claim]:
        """The trials that entries are about."""
        return [entry.claim for entry in self._entries]

    def add(self, entry: Result | Return) -> None:
        """Take an entry to be told next."""
        if isinstance(entry, Result):
            try:
                self._worker.spool.keep(entry.claim, entry.outcome)
                self._kept.add(entry.claim.token)
            except OSError as error:
                if not self._warned:
                    self._worker.view.message(f"results cannot be kept on this machine until they are told: {error}")
                self._warned = True
        self._entries.append(entry)

    def tell(self) -> Told | None:
        """Tell the first entry; None where the slot was another's by now. StorageAwayError leaves it first."""
        entry = self._entries[0]
        try:
            told: Told | None = self._tell(entry)
        except LeaseLostError:
            self._worker.view.message(f"trial {entry.claim.number} was given to another worker; its end is not used")
            told = None
        self._entries.popleft()
        self._worker.spool.drop(entry.claim)
        return told

    def close(self) -> None:
        """Tell what can be told; results that are left then stay on disk."""
        with contextlib.suppress(StorageError):
            while self._entries:
                self.tell()
        left = [entry.claim.token for entry in self._entries if isinstance(entry, Result)]
        kept = sum(token in self._kept for token in left)
        if kept:
            place = self._worker.spool.folder
            self._worker.view.message(f"kept in {place}, to be told at the next start: {count_text(kept, 'result')}")
        if lost := len(left) - kept:
            self._worker.view.message(f"neither told nor kept, so to be trained again: {count_text(lost, 'result')}")

    def _tell(self, entry: Result | Return) -> Told:
        database = self._worker.database
        if isinstance(entry, Return):
            return Told(entry, slots.release(database, entry.claim, entry.reason, counts=entry.counts))
        slots.finish(database, entry.claim, entry.outcome)
        failpoint("after_tell")
        return Told(entry)
