"""hpo's side of `compare.py`, in a process of its own, so that its start counts.

`points` trains a list of points (standard input) to their end as a study with the whole machine, without racing and
pruning; `tune` is a study as a user runs it that ends at a given loss. Both print one JSON object.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo_spaces import SearchSpace
from hpo_storage.records import VALUED, Outcome, StudyRecord
from points import Point, read_points, seconds_since_start

from hpo import open_study
from hpo.search import advisor
from hpo.study.resolve import request
from hpo.worker import run as worker_run
from hpo.worker.progress import SilentView, Snapshot, TrialLine


class FixedPoints:
    """Proposes a given list of points, by slot."""

    points: Sequence[Point] = ()

    def __init__(self, sampler: str, seed: int, space: SearchSpace) -> None:
        pass

    def observe(self, number: int, params: Mapping[str, Any], result: Outcome) -> None:
        """Learn nothing."""

    def propose(self, slot: int, pending: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """The slot's point."""
        return dict(self.points[slot].params)


class Clock(SilentView):
    """Notes when each further trainer got its first trial, and when the last trial ended."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.end = 0.0

    def update(self, snapshot: Snapshot) -> None:
        """Remember the first moment with so many trials at once."""
        for _ in range(len(self.starts), len(snapshot.running)):
            self.starts.append(seconds_since_start())

    def trial(self, line: TrialLine, snapshot: Snapshot) -> None:
        """Remember the end."""
        self.end = seconds_since_start()


def train_points(options: argparse.Namespace, points: Sequence[Point]) -> dict[str, Any]:
    """Train the points to their end as a study with the whole machine.

    Seconds count to the end of the last trial from when a trainer got its first, the mean over trainers: the second
    still starts when the first already works, and start-up counts on no side.
    """
    FixedPoints.points = points
    advisor.Proposer = FixedPoints  # type: ignore[assignment, misc]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        study = request(
            "points",
            data=options.table,
            target=options.target,
            scaling="standard",  # as the others
            racing=False,
            pruner="none",
            trials=len(points),
            backend=options.backend,
        )
        worker_run.run(study, url=f"sqlite:///{folder}/hpo.db", view=clock)
        record = open_study("points", f"sqlite:///{folder}/hpo.db")._record
    seconds = clock.end - sum(clock.starts) / len(clock.starts)
    return {"seconds": seconds, "startup": clock.starts[0], "losses": losses_by_slot(record)}


def losses_by_slot(record: StudyRecord) -> list[list[float] | None]:
    """Score losses by replicate of each slot, None where it failed."""
    by_slot = {
        trial.slot: [r.score_loss for r in trial.replicates] if trial.state in VALUED else None
        for trial in record.trials
    }
    return [by_slot[slot] for slot in sorted(by_slot)]  # type: ignore[misc]


class UntilReached(SilentView):
    """Stops the study as soon as a trial with all its replicates is as good as wanted."""

    def __init__(self, loss: float) -> None:
        self._loss = loss
        self.result: dict[str, Any] = {"reached": False}

    def trial(self, line: TrialLine, snapshot: Snapshot) -> None:
        """Note the time, and stop at once when there."""
        if self.result["reached"]:
            return
        best = snapshot.best_value if snapshot.best_value is not None else float("inf")
        self.result = {
            "reached": best <= self._loss,
            "seconds": seconds_since_start(),
            "trials": snapshot.finished,
            "best": best,
        }
        if self.result["reached"]:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)


def tune(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from process start until a loss is reached; the seed is the sampler's, the replicates are the peer's."""
    proposer = advisor.Proposer
    changes: dict[str, Any] = {"starts": ()} if options.no_starts else {}
    advisor.Proposer = lambda sampler, _, space: proposer(  # type: ignore[assignment, misc]
        sampler, options.seed + 1, replace(space, **changes)
    )
    view = UntilReached(options.loss)
    with tempfile.TemporaryDirectory() as folder:
        study = request(
            "quality", data=options.table, target=options.target, trials=options.trials, backend=options.backend
        )
        worker_run.run(study, url=f"sqlite:///{folder}/hpo.db", view=view)
    return view.result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["points", "tune"])
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--target", default="target")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--loss", type=float, help="(tune) the loss to reach")
    parser.add_argument("--trials", type=int, default=200, help="(tune) at most so many")
    parser.add_argument("--seed", type=int, default=0, help="(tune) of the sampler")
    parser.add_argument("--no-starts", action="store_true", help="(tune) without the space's starting points")
    options = parser.parse_args()
    points = read_points(sys.stdin.read()) if options.command == "points" else None
    print(json.dumps(tune(options) if points is None else train_points(options, points)))


if __name__ == "__main__":
    main()
