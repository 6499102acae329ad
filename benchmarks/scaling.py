"""How close many workers come to ideal throughput on trials that only sleep.

    python benchmarks/scaling.py --storage postgresql://postgres@127.0.0.1:5432/test --workers 1 2 4 8

A study of the synthetic objective, a second a trial, is served by so many `hpo worker` processes of one trainer each.
A worker's time runs from its first claim to its last result, by the database's clock, so starting counts for nobody.
Ideal is a trial each second of each worker's time. The study is deleted at the end.
"""

import argparse
import os
import secrets
import subprocess
import sys
from collections import defaultdict
from datetime import datetime

from hpo_storage.database import connect
from hpo_storage.records import StudyRecord
from hpo_storage.studies import delete_study, read_study

HPO = [sys.executable, "-m", "hpo.cli.main"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--storage", required=True, help="URL of a database")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--trials", type=int, default=20, help="of each worker")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a trial sleeps")
    options = parser.parse_args()
    print(f"{'workers':>8}{'trials':>8}{'of ideal':>10}")
    for count in options.workers:
        record = study(options.storage, count, options.trials * count, options.seconds)
        share = record.finished * options.seconds / worked_seconds(record)
        print(f"{count:8}{record.finished:8}{share:10.1%}", flush=True)


def study(url: str, workers: int, trials: int, seconds: float) -> StudyRecord:
    """A finished study that so many workers have served."""
    name = f"scaling-{secrets.token_hex(4)}"
    environment = {**os.environ, "HPO_STORAGE": url}
    objective = ["--objective", "synthetic", "--sleep", str(seconds)]
    commands = [[*HPO, "run", "--study", name, *objective, "--trials", str(trials), "--workers", "0", "--no-report"]]
    commands += [[*HPO, "worker", "--study", name, "--trainers", "1", "--max-trials", str(trials // workers)]] * workers
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for command in commands]
    for process in running:
        if process.wait():
            raise SystemExit(f"a command ended with {process.returncode}")
    database = connect(url)
    record = read_study(database, name)
    delete_study(database, record.id)
    database.close()
    return record


def worked_seconds(record: StudyRecord) -> float:
    """The sum over workers of the time between first claim and last result."""
    times: dict[str, list[datetime]] = defaultdict(list)
    for trial in record.trials:
        assert trial.finished is not None
        times[trial.worker] += [trial.started, trial.finished]
    return sum((max(own) - min(own)).total_seconds() for own in times.values())


if __name__ == "__main__":
    main()
