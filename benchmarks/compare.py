"""hpo against what a user would write today, on the same data, replicates and stopping rule.

    python benchmarks/compare.py trials  --table vehicle.csv --kept benchmarks/data/plain_keras_20.json
    python benchmarks/compare.py quality --table vehicle.csv --kept benchmarks/data/plain_keras_20.json --seeds 10
    python benchmarks/compare.py trials  --table vehicle.csv --count 8        # trains the peer's side now, too

`trials` runs the same list of trials to their end on both sides, each with the whole machine to itself, without
racing and pruning, and prints trials per hour, mean log loss and their ratios. `quality` takes the best log loss that
plain Keras with Optuna had after its 20 trials, and measures how long `hpo` needs from process start to reach it, with
racing and pruning on. The peer's side takes ten minutes a table, so `--kept` takes the lines of an earlier run of
plain_keras.py on the same machine. Its times are processor seconds where these are fewer than wall seconds, so that
other work on the machine cannot have slowed it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from points import Point, random_points, seconds_since_start

from hpo.study.study import StudyOptions
from hpo.worker import session, supervisor
from hpo.worker.progress import SilentView, Snapshot, TrialLine
from search_spaces import SearchSpace
from search_spaces.mlp import MLP
from storage.records import Outcome, StudyRecord

HERE = Path(__file__).parent
CONVERGED_NATS = 3.0
"""Means are of trials below this loss: one trial that explodes, on either side, would drown all others."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["trials", "quality", "ours", "until"])
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--target", default="target")
    parser.add_argument("--kept", type=Path, help="lines of plain_keras.py, by table")
    parser.add_argument("--count", type=int, default=8, help="trials, where none are kept")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--no-starts", action="store_true", help="(quality) without the space's starting points")
    parser.add_argument("--loss", type=float, help="(until) the loss to reach")
    options = parser.parse_args()
    if options.command == "trials":
        compare_trials(options)
    elif options.command == "quality":
        compare_quality(options)
    elif options.command == "ours":
        points = [Point(seed=0, params=entry["params"]) for entry in json.loads(sys.stdin.read())]
        print(json.dumps(train_points(options.table, options.target, points)))
    else:
        print(json.dumps(reach(options)))


def compare_trials(options: argparse.Namespace) -> None:
    """Print both sides' rates and losses, and the ratios."""
    peer = kept_lines(options.kept, options.table) if options.kept else run_peer(options)
    finite = [line for line in peer if line["value"] is not None]
    points = [{"seed": 0, "params": line["params"]} for line in finite]
    ours = call("ours", options, stdin=json.dumps(points))
    peer_seconds = sum(peer_time(line) for line in finite)
    ours_seconds = ours["seconds"]
    count = len(finite)
    print(f"{options.table.stem}: {count} trials to their end, 5 replicates")
    print(f"  plain Keras  {3600 * count / peer_seconds:7.0f} trials/hour  ({peer_seconds:.0f} s)")
    print(f"  hpo          {3600 * count / ours_seconds:7.0f} trials/hour  ({ours_seconds:.1f} s)")
    print(f"  ratio        {peer_seconds / ours_seconds:7.1f}")
    print(f"  start-up until the first trial: hpo {ours['startup']:.1f} s")
    report_losses([line["value"] for line in finite], ours["losses"])


def report_losses(peer: Sequence[float], ours: Sequence[Sequence[float] | None]) -> None:
    """Print mean log losses over the trials that converge on both sides, and the paired difference."""
    pairs = [
        (a, np.mean(b))
        for a, b in zip(peer, ours, strict=True)
        if b is not None and max(a, np.mean(b)) < CONVERGED_NATS
    ]
    theirs, own = np.array(pairs).T
    difference = own - theirs
    error = difference.std(ddof=1) / len(difference) ** 0.5
    print(f"  mean log loss of {len(pairs)} trials: plain Keras {theirs.mean():.4f}, hpo {own.mean():.4f}")
    print(f"  paired difference {difference.mean():+.4f} ± {error:.4f} (standard error)")
    print(f"  median difference {np.median(difference):+.4f}")


def compare_quality(options: argparse.Namespace) -> None:
    """Print the seconds until the peer's best loss, for each seed, and the ratio of the median."""
    lines = kept_lines(options.kept, options.table)
    target = min(line["value"] for line in lines if line["value"] is not None)
    elapsed, peer_seconds = lines[0]["since_start"] - lines[0]["seconds"], None
    for line in lines:
        elapsed += peer_time(line)
        if line["value"] == target:
            peer_seconds = elapsed
    whole = elapsed
    print(f"{options.table.stem}: plain Keras with Optuna reaches {target:.4f} after {peer_seconds:.0f} s,")
    print(f"  its 20 trials take {whole:.0f} s")
    seconds = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        more = ["--no-starts"] if options.no_starts else []
        result = call("until", options, "--loss", str(target), "--first-seed", str(seed), *more)
        seconds.append(result["seconds"] if result["reached"] else np.inf)
        print(
            f"  seed {seed}: {result['seconds']:6.1f} s, {result['trials']} trials, best {result['best']:.4f}",
            flush=True,
        )
    median = float(np.median(seconds))
    print(
        f"  hpo: median {median:.1f} s; its 20 trials / median = {whole / median:.1f}, "
        f"until found / median = {peer_seconds / median:.1f}"
    )


def peer_time(line: Mapping[str, Any]) -> float:
    """Wall seconds of a trial of plain Keras, or its processor seconds where these are fewer."""
    return min(line["seconds"], line["cpu_seconds"])


def kept_lines(path: Path, table: Path) -> list[dict[str, Any]]:
    """The stored lines of the table."""
    stored = json.loads(path.read_text("utf-8"))
    lines: list[dict[str, Any]] = stored["tables"][table.stem]["trials"]
    return lines


def run_peer(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train random points with plain Keras now."""
    points = [{"seed": p.seed, "params": p.params} for p in random_points(MLP, options.count, 0)]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(points, file)
        file.flush()
        command = [sys.executable, str(HERE / "plain_keras.py"), "--data", str(options.table)]
        command += ["--target", options.target, "--points", file.name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def call(command: str, options: argparse.Namespace, *more: str, stdin: str | None = None) -> dict[str, Any]:
    """Run one of our sides in a process of its own, so that its start counts, and return what it prints."""
    arguments = [
        sys.executable,
        __file__,
        command,
        "--table",
        str(options.table),
        "--target",
        options.target,
        *more,
    ]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True, input=stdin)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


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


class FirstStart(SilentView):
    """Notes when the first trial was handed out."""

    at: float | None = None

    def update(self, snapshot: Snapshot) -> None:
        """Remember the first moment with a running trial."""
        if snapshot.running and self.at is None:
            self.at = seconds_since_start()


def train_points(table: Path, target: str, points: Sequence[Point]) -> dict[str, Any]:
    """Train the points to their end as a study with the whole machine."""
    FixedPoints.points = points
    session.Proposer = FixedPoints  # type: ignore[assignment, misc]
    view = FirstStart()
    with tempfile.TemporaryDirectory() as folder:
        options = StudyOptions(name="points", data=str(table), target=target, racing=False, pruning=False)
        record = supervisor.run(options, url=f"sqlite:///{folder}/hpo.db", trials=len(points), view=view).record
    end = seconds_since_start()
    assert view.at is not None
    return {"seconds": end - view.at, "startup": view.at, "losses": losses_by_slot(record)}


def losses_by_slot(record: StudyRecord) -> list[list[float] | None]:
    """Score losses by replicate of each slot, None where it failed."""
    by_slot = {
        trial.slot: [r.score_loss for r in trial.replicates] if trial.state == "complete" else None
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


def reach(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from process start until a loss is reached; the seed is the sampler's, the replicates are the peer's."""
    proposer = session.Proposer
    changes: dict[str, Any] = {"starts": ()} if options.no_starts else {}
    session.Proposer = lambda sampler, _, space: proposer(  # type: ignore[assignment, misc]
        sampler, options.first_seed + 1, replace(space, **changes)
    )
    view = UntilReached(options.loss)
    with tempfile.TemporaryDirectory() as folder:
        study = StudyOptions(name="quality", data=str(options.table), target=options.target)
        supervisor.run(study, url=f"sqlite:///{folder}/hpo.db", trials=200, view=view)
    return view.result


if __name__ == "__main__":
    main()
