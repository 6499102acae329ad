"""What a process owns ends with it: its children, and the folder that it works in.

Standard library only: children import it before anything else.
"""

import contextlib
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import _exit  # as it is now: code of a user's may put something else in its place
from pathlib import Path

from hpo.errors import ResourceError

if sys.platform != "win32":
    import fcntl

SUPERVISOR_VARIABLE = "HPO_SUPERVISOR"
"""Of a child's environment: the process that started it."""
PREFIX, LOCK = "hpo-", "hpo.lock"
"""A working folder's name begins with the one, and it holds the other: a file with the host's name, locked as long as
its owner lives. A folder without it is somebody else's."""
LAST_ACT_SECONDS = 2.0
"""What each last act of a process that is ended may take."""
FORCED = 130
_PR_SET_PDEATHSIG = 1
_WATCH_SECONDS = 1.0


def end_with_supervisor() -> None:
    """See that this child ends with its supervisor, even while it does not read its input."""
    end_with_parent(int(os.environ.get(SUPERVISOR_VARIABLE, os.getppid())))


def end_if_launched() -> None:
    """The same for what may as well be started by a person, or by an orchestrator."""
    if os.environ.get(SUPERVISOR_VARIABLE) == str(os.getppid()):
        end_with_supervisor()


def end_with_parent(parent: int) -> None:
    """See that this process is killed with its parent, which is or was the one of that number."""
    if sys.platform == "linux":
        import ctypes  # not for a supervisor, which starts faster without

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    elif os.name == "posix":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        sys.exit("the parent has ended meanwhile")


def give_memory_back() -> None:
    """Let the system have what this process has freed, where the C library keeps it."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(AttributeError):  # another C library than glibc has no such function
            ctypes.CDLL(None).malloc_trim(0)


def _watch(parent: int) -> None:
    """End this process soon after its parent, where the system does not do it."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def allow_many_files() -> None:
    """Let this process have as many files open as it may: a memory map of an array keeps its file open."""
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(OSError, ValueError):  # macOS says "without limit" and means less
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder in the temporary one, which is removed at the end, as are those that killed processes have left.

    Raises ResourceError where it cannot be made.
    """
    parent, owner = _temporary_folder(), os.getpid()
    remove_abandoned()
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        raise unusable(parent, error) from None
    try:
        with _locked(folder), at_the_last(lambda: _remove(folder)):
            yield folder
    finally:
        if os.getpid() == owner:  # and not where a fork of it ends
            _remove(folder)


@contextmanager
def at_the_last(act: Callable[[], object]) -> Iterator[None]:
    """Have this done, too, where the process is ended by force within the block."""
    _last_acts.append(act)
    try:
        yield
    finally:
        _last_acts.remove(act)


def end_by_force() -> None:
    """End the process whatever its main thread does, after its last acts."""
    for act in reversed(_last_acts):  # each in a thread, as it may hang too
        thread = threading.Thread(target=_quietly, args=(act,), daemon=True)
        thread.start()
        thread.join(LAST_ACT_SECONDS)
    with contextlib.suppress(OSError):
        os.write(2, b"\nended by force, as what it was doing did not stop\n")
    _exit(FORCED)


def _quietly(act: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        act()


def unusable(folder: Path, error: OSError, need: str = "hpo works in it") -> ResourceError:
    """The error to raise where something cannot be written to a temporary folder; `need` says what."""
    place = next((path.parent for path in (folder, *folder.parents) if path.name.startswith(PREFIX)), folder)
    return ResourceError(
        f"the temporary folder must take what is written to it, {place} does not ({reason_of(error)}): {need}; make "
        f"room there, or set the variable TMPDIR to a folder that can be written to"
    )


def reason_of(error: BaseException) -> str:
    """What an error says, or at least what it is."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _temporary_folder() -> Path:
    """Where the user says, even if Python would take another one because that cannot be written to."""
    given = next(filter(None, (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))), None)
    try:
        return Path(given or tempfile.gettempdir()).absolute()
    except OSError as error:
        raise unusable(Path(os.sep, "tmp"), error) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. It has its name only once it is locked: who finds it free finds an owner that died."""
    new = folder / f"{LOCK}.new"
    try:
        descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise unusable(folder.parent, error) from None
    _held.add(descriptor)
    try:
        try:
            os.write(descriptor, _HOST)
            with contextlib.suppress(OSError):  # a file system without locks
                _lock(descriptor)
                new.rename(folder / LOCK)
        except OSError as error:
            raise unusable(folder.parent, error) from None
        yield
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file; OSError where somebody else has it, or where there are no such locks."""
    if sys.platform == "win32":
        raise OSError("locks of Windows are others")
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _let_go() -> None:
    """In a fork: a lock ends with its owner, and not with what that has forked."""
    while _held:
        os.close(_held.pop())


def remove_abandoned() -> None:
    """Remove the working folders of this user and host whose owners are gone."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        for folder in _temporary_folder().iterdir():
            if folder.name.startswith(PREFIX):
                with contextlib.suppress(OSError):  # it is in use, somebody else's, or removed meanwhile
                    _remove_if_free(folder)


def _remove_if_free(folder: Path) -> None:
    """Remove a folder that nobody holds; OSError where somebody does, or it is none of ours."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _lock(descriptor)
        if os.read(descriptor, len(_HOST) + 1) == _HOST:  # another host's locks may not be seen from here
            _remove(folder)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Remove a folder; its lock goes last, so that what is not removed now is found again."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name != LOCK:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


_HOST = socket.gethostname().encode()
_held: set[int] = set()
_last_acts: list[Callable[[], object]] = []
"""Of the process, as signals are; the latest is done first."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
