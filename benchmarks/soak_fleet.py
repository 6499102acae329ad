"""The processes of benchmarks/soak.py: workers, one of them on a sick host, and who only looks."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.fleet import CLI
from tests.helpers.processes import descendants

MARK = "HPO_SOAK"
"""A variable by which all processes of a soak are found, whoever their parent is now."""
BLOW_SECONDS = 0.5
"""How often the trainers of the sick host are killed."""
SICK_STARTS = 4
SICK_CODE = 3
"""What a worker ends with whose trainers keep dying."""
POLLERS = ("commands", "python")
CHILD_SECONDS = 60


@dataclass
class SickHost:
    """A worker whose trainers are killed every half second, started anew when it has ended, a few times."""

    process: "subprocess.Popen[bytes] | None" = None
    starts_left: int = SICK_STARTS
    blow_at: float = 0.0
    codes: list[int] = field(default_factory=list)

    def blow(self) -> None:
        """Kill its trainers, where it is time to."""
        if self.process is not None and time.monotonic() >= self.blow_at:
            self.blow_at = time.monotonic() + BLOW_SECONDS
            for pid in descendants(self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Whether it is not there, for now or for good."""
        if self.process is not None and (code := self.process.poll()) is not None:
            self.codes.append(code)
            self.process = None
        return self.process is None


@dataclass
class Fleet:
    """The workers, and what has been done to them; they reach the database in turn by each of the `urls`. `codes` are
    of workers that ended by themselves."""

    folder: Path
    urls: Sequence[str]
    study: str
    environment: dict[str, str]
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    pollers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    sick: SickHost | None = None
    codes: list[int] = field(default_factory=list)
    waking: dict[int, float] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.temporary.mkdir()

    @property
    def temporary(self) -> Path:
        """Where all its processes put what they need for a while."""
        return self.folder / "temporary"

    @property
    def output(self) -> Path:
        """What all of them have said."""
        return self.folder / "output.txt"

    def _popen(self, command: list[str], number: int, stdout: Path) -> "subprocess.Popen[bytes]":
        own = {
            "HPO_STORAGE": self.urls[number % len(self.urls)],
            "XDG_STATE_HOME": str(self.folder / "state"),
            "TMPDIR": str(self.temporary),
            MARK: self.mark,
            **self.environment,
        }
        with stdout.open("ab") as answers, self.output.open("ab") as output:
            return subprocess.Popen(command, stdout=answers, stderr=output, cwd=self.folder, env={**os.environ, **own})

    def start(self, *words: str, number: int = 0) -> "subprocess.Popen[bytes]":
        """An `hpo` command."""
        return self._popen([*CLI, *words], number, self.output)

    def start_worker(self, number: int) -> "subprocess.Popen[bytes]":
        """A worker of the study with one trainer."""
        return self.start("worker", "--study", self.study, "--trainers", "1", number=number)

    def start_workers(self, count: int) -> None:
        """So many."""
        self.workers += [self.start_worker(number) for number in range(count)]

    def start_pollers(self) -> None:
        """One of each kind."""
        program = str(Path(__file__).with_name("soak_pollers.py"))
        for number, kind in enumerate(POLLERS):
            command = [sys.executable, program, kind, self.study]
            self.pollers.append(self._popen(command, number, self.folder / f"{kind}.json"))

    def kill(self, worker: "subprocess.Popen[bytes]") -> None:
        """kill -9, and another in its place."""
        worker.kill()
        worker.wait()
        self._replace(worker)
        self.done["workers killed"] += 1

    def _replace(self, worker: "subprocess.Popen[bytes]") -> None:
        self.waking.pop(worker.pid, None)
        number = self.workers.index(worker)
        self.workers[number] = self.start_worker(number)

    def kill_trainer(self, worker: "subprocess.Popen[bytes]") -> None:
        """kill -9 of its child, which it replaces itself."""
        for pid in descendants(worker.pid)[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.done["trainers killed"] += 1

    def pause(self, worker: "subprocess.Popen[bytes]", seconds: float) -> None:
        """SIGSTOP, until `tend` finds that the seconds are over."""
        worker.send_signal(signal.SIGSTOP)
        self.waking[worker.pid] = time.monotonic() + seconds
        self.done["workers paused"] += 1

    def tend(self, *, all_awake: bool = False) -> None:
        """Wake who has been paused long enough, replace who has ended unasked, and be a sick host."""
        for worker in list(self.workers):
            if worker.pid in self.waking and (all_awake or time.monotonic() >= self.waking[worker.pid]):
                del self.waking[worker.pid]
                worker.send_signal(signal.SIGCONT)
            if (code := worker.poll()) is not None:
                self.codes.append(code)
                self._replace(worker)
        if self.sick is not None:
            if self.sick.has_ended() and self.sick.starts_left:
                self.sick.starts_left -= 1
                self.sick.process = self.start_worker(0)
            self.sick.blow()

    def end(self) -> list[int]:
        """SIGTERM to all workers; their exit codes. One more then finds and removes what the dead have left behind."""
        self.tend(all_awake=True)
        sick = self.sick.process if self.sick is not None else None
        if self.sick is not None and not self.sick.has_ended():
            self.sick.process, self.sick.starts_left = None, 0
        workers = [*self.workers, *([sick] if sick else [])]
        for worker in workers:
            worker.terminate()
        codes = [worker.wait(CHILD_SECONDS) for worker in workers]
        return [*codes, self.start("worker", "--study", self.study, "--once").wait(CHILD_SECONDS)]

    def answers(self) -> dict[str, dict[str, object]]:
        """End the pollers, and return what they have found, by their kinds."""
        found = {}
        for kind, poller in zip(POLLERS, self.pollers, strict=False):
            poller.terminate()
            poller.wait(CHILD_SECONDS)
            lines = (self.folder / f"{kind}.json").read_text("utf-8").splitlines()
            found[kind] = json.loads(lines[-1]) if lines else {"asked": 0, "unanswered": 0, "wrong": ["no answer"]}
        return found

    def close(self) -> None:
        """End whatever still runs, at once."""
        sick = [self.sick.process] if self.sick is not None and self.sick.process is not None else []
        for process in (*self.workers, *self.pollers, *sick):
            process.kill()
            process.wait()

    def left_behind(self) -> list[str]:
        """Files in the temporary folder, results that nobody has told, and processes that still run."""
        files = [*self.temporary.iterdir(), *(self.folder / "state").rglob("*.json")]
        return [*(str(path.relative_to(self.folder)) for path in files), *marked_processes(self.mark)]


def marked_processes(mark: str) -> list[str]:
    """Command lines of the processes that have the mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (path / "environ").read_bytes():
                words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                found.append(f"process {path.name}: {words}")
    return found
