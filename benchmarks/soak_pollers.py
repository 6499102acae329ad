"""Who only looks: asks how far a study is again and again, and finds answers that contradict one another.

    python benchmarks/soak_pollers.py commands|python STUDY

Works on the database of HPO_STORAGE until SIGTERM, and ends with a line of JSON: how often it has asked, how often the
database did not answer, and what was wrong. benchmarks/soak.py starts it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before this folder, whose files have packages' names

import hpo
from hpo.errors import StorageAwayError
from tests.helpers.fleet import CLI

COMMANDS = ("status", "best", "workers", "list")
PAUSE_SECONDS = 0.3
NO_RESULT, BAD_INPUT = 1, 2
ENDED = ("complete", "raced_out", "pruned", "failed")


class AwayError(Exception):
    """The database did not answer, and that was said in a sentence."""


@dataclass
class Found:
    """What the answers have said so far, of whatever kind they were."""

    asked: int = 0
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)
    finished: int = 0
    best: float | None = None

    def check(self, holds: bool, rule: str) -> None:
        """A rule that must hold."""
        if not holds:
            self.wrong.append(rule)

    def take(self, source: str, budget: int, finished: int, best: float | None) -> None:
        """An answer: a study never has more than its budget, nor less than before, and its best never gets worse."""
        self.check(finished <= budget, f"{source}: {finished} of {budget} are finished")
        self.check(finished >= self.finished, f"{source}: {finished} are finished, {self.finished} were before")
        was, is_worse = self.best, self.best is not None and (best is None or best > self.best)
        self.check(not is_worse, f"{source}: the best is {best}, it was {was}")
        self.finished, self.best = max(finished, self.finished), best if not is_worse else was

    def take_status(self, shown: Mapping[str, Any]) -> None:
        """What `hpo status` shows."""
        best = shown["best"] and shown["best"]["value"]
        self.take("status", shown["budget"], shown["finished"], best)
        self.check(sum(shown[state] for state in ENDED) == shown["finished"], f"status: its counts differ: {shown}")

    def take_best(self, shown: Mapping[str, Any] | None) -> None:
        """What `hpo best` shows."""
        value = shown and shown["value"]
        is_worse = self.best is not None and (value is None or value > self.best)
        self.check(not is_worse, f"best: {value}, it was {self.best}")
        if value is not None and not is_worse:
            self.best = value

    def take_workers(self, shown: list[Mapping[str, Any]]) -> None:
        """What `hpo workers` shows: those that are alive."""
        alive = all(one["alive"] and one["running"] >= 0 and one["finished"] >= 0 for one in shown)
        self.check(alive, f"workers: {shown}")

    def take_list(self, shown: list[Mapping[str, Any]], study: str) -> None:
        """What `hpo list` shows."""
        for one in shown:
            if one["study"] == study:
                self.take("list", one["budget"], one["finished"], one["best_value"])


def command(study: str, name: str) -> Any:  # noqa: ANN401 - JSON
    """What `hpo NAME --json` shows; AwayError where it says that the database does not answer."""
    words = [] if name in ("workers", "list") else ["--study", study]
    done = subprocess.run([*CLI, name, *words, "--json"], capture_output=True, text=True, check=False)
    if "Traceback" in done.stderr or done.returncode not in (0, NO_RESULT, BAD_INPUT):
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr}")
    if done.returncode == BAD_INPUT:
        raise AwayError(done.stderr)
    return json.loads(done.stdout)


def ask_commands(found: Found, study: str) -> None:
    """One command after the other."""
    name = COMMANDS[found.asked % len(COMMANDS)]
    shown = command(study, name)
    match name:
        case "status":
            found.take_status(shown)
        case "best":
            found.take_best(shown)
        case "workers":
            found.take_workers(shown)
        case "list":
            found.take_list(shown, study)


def ask_python(found: Found, study: str) -> None:
    """The study as Python has it."""
    try:
        shown = hpo.open_study(study)
    except StorageAwayError as error:
        raise AwayError(str(error)) from error
    table = shown.trials_frame()
    values = [] if table.empty else table.loc[table["state"] == "complete", "value"]
    least = min(values, default=None)
    found.take("open_study", shown.budget, shown.finished, least)
    if least is not None:
        found.check(shown.best.value == least, f"open_study: the best is {shown.best.value}, the least {least}")


KINDS: dict[str, Callable[[Found, str], None]] = {"commands": ask_commands, "python": ask_python}


def main() -> None:
    ask, study = KINDS[sys.argv[1]], sys.argv[2]
    found, stopped = Found(), list[int]()
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    while not stopped:
        try:
            ask(found, study)
        except AwayError:
            found.unanswered += 1
        except Exception as error:  # which is what is looked for
            found.wrong.append(f"{type(error).__name__}: {error}")
        found.asked += 1
        time.sleep(PAUSE_SECONDS)
    sys.stdout.write(json.dumps({"asked": found.asked, "unanswered": found.unanswered, "wrong": found.wrong}) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("HPO_STORAGE", "hpo.db")
    main()
