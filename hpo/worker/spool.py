"""Results on this machine's disk until the database has them: a crash or an outage loses none."""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from hpo_storage import slots
from hpo_storage.database import Database
from hpo_storage.failpoints import failpoint
from hpo_storage.records import Outcome
from hpo_storage.slots import Claim

from hpo.errors import LeaseLostError, StorageError

DIGITS = 16
WRITING_SECONDS = 3600.0
"""A file that was begun so long ago was left by a process that was killed."""
_log = logging.getLogger("hpo")


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
