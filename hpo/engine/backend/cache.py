"""Compiled programs on disk, in the user's cache folder: for later studies, and for the other trainers of this one."""

import contextlib
import hashlib
import os
from importlib.metadata import version
from pathlib import Path

MOST_FILES = 4000
"""A program takes 5 to 200 KiB. Of more than these, the half that was used (on JAX: made) least lately goes."""


def cache_folder(name: str) -> Path | None:
    """The user's cache folder for that; None for a user without a home."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return home / "hpo" / name


class ProgramCache:
    """Files by key. One that cannot be read is missing, one that cannot be written is not kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> bytes | None:
        """What was put under this key, None where it is not there."""
        path = self._folder / key
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            with contextlib.suppress(OSError):  # a folder that can be read only
                os.utime(path)
            return content
        return None

    def put(self, key: str, content: bytes) -> None:
        """Keep it; whoever reads meanwhile sees all of it or nothing."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f".{key}-{os.getpid()}"
            try:
                path.write_bytes(content)
                path.replace(self._folder / key)
            finally:
                path.unlink(missing_ok=True)
            make_room(self._folder)


def make_room(folder: Path) -> None:
    """Remove old files where there are too many."""
    with contextlib.suppress(OSError):  # there is no folder, or another process removes the same files
        files = list(folder.iterdir())
        if len(files) > MOST_FILES:
            for path in sorted(files, key=lambda path: path.stat().st_mtime)[: len(files) // 2]:
                path.unlink()


def _engine_fingerprint() -> str:
    engine = Path(__file__).parents[1]
    digest = hashlib.sha256(version("keras").encode())
    for path in sorted([*engine.rglob("*.py"), *(engine.parent / "network").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


ENGINE = _engine_fingerprint()
"""It changes with the code of the engine and the version of Keras. Read at once, as it stands for the code that runs,
and not for what takes its place on disk meanwhile."""


def key_of(*parts: object) -> str:
    """A key for a program that depends on these parts, by their `repr`, and on the engine."""
    return hashlib.sha256(repr((ENGINE, *parts)).encode()).hexdigest()
