"""What racing and pruning save and what they lose, by replay of stored full runs.

    python benchmarks/racing.py record TABLE.csv --target target --name vehicle   # about ten minutes, once
    python benchmarks/racing.py replay                                            # all stored tables, a minute

`record` trains random points of `mlp` to their end, one replicate at a time, and stores losses, curves and seconds in
benchmarks/data/full_NAME.npz. `replay` shuffles the stored trials into many studies and runs the rules of
hpo.search.pruners over them. Printed for each table, with 95% confidence intervals: the share of training time saved,
the share of studies that lose their unpruned winner, and the regret (nats, and in standard errors of the winner).
The rules are good when at most 5% of the studies lose their winner and the median regret is at most a quarter of a
standard error.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpo.search.incumbent import Leaderboard
from hpo.search.pruners import CURVE_Z, FIRST_RACE_Z, RACE_Z, curve_is_hopeless, race_is_lost, raced_value
from storage.records import Outcome, ReplicateRecord

DATA = Path(__file__).parent / "data"
TABLES = ("vehicle", "segment", "credit_g")
TRIALS, REPLICATES, MAX_EPOCHS = 100, 5, 200
STUDIES = 500


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = arguments.add_subparsers(dest="command", required=True)
    record_arguments = commands.add_parser("record")
    record_arguments.add_argument("table", type=Path)
    record_arguments.add_argument("--target", default="target")
    record_arguments.add_argument("--name", required=True)
    record_arguments.add_argument("--trials", type=int, default=TRIALS)
    part_arguments = commands.add_parser("part", help="one process of a recording")
    part_arguments.add_argument("folder", type=Path)
    part_arguments.add_argument("first", type=int)
    part_arguments.add_argument("--step", type=int, required=True)
    part_arguments.add_argument("--trials", type=int, required=True)
    replay_arguments = commands.add_parser("replay")
    replay_arguments.add_argument("--studies", type=int, default=STUDIES)
    options = arguments.parse_args()
    if options.command == "record":
        record(options.table, options.target, options.name, options.trials)
    elif options.command == "part":
        record_part(options.folder, range(options.first, options.trials, options.step))
    else:
        replay_all(options.studies)


def record(table: Path, target: str, name: str, trials: int) -> None:
    """Prepare the data once and train the points in one process per core."""
    from hpo.data.fingerprint import file_sha256
    from hpo.data.prepare import prepare

    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        data = {"kind": "file", "source": str(table), "target": target, "sha256": file_sha256(table)}
        prepare({"data": data, "evaluation": {}, "seed": 0, "folder": folder, "frame_path": None})
        command = [sys.executable, __file__, "part", folder, "--step", str(cores), "--trials", str(trials)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        children = [
            subprocess.Popen([*command[:4], str(first), *command[4:]], stdout=subprocess.PIPE, env=environment)
            for first in range(cores)
        ]
        rows = [json.loads(line) for child in children for line in child.communicate()[0].splitlines()]
    store(name, sorted(rows, key=lambda row: row["slot"]))


def record_part(folder: Path, slots: range) -> None:
    """Train some of the points to their end and print one JSON line for each."""
    from hpo.data.prepared import open_prepared, open_replicate
    from hpo.evaluation.job import Job
    from hpo.evaluation.objective import Head, evaluate
    from hpo.seeds import generator
    from hpo.study.spec import EvaluationSpec
    from hpo.training.backend.load import load_backend
    from search_spaces.mlp import MLP

    backend = load_backend("tensorflow")
    facts = open_prepared(folder)
    data = [open_replicate(folder, r) for r in range(facts["replicates"])]
    for slot in slots:
        params = MLP.decode(generator(1, "sample", slot=slot).random(MLP.size))
        job = Job(slot=slot, seed=1, architecture=MLP.architecture(params), evaluation=EvaluationSpec())
        # One replicate at a time, as a race trains them; the processor's seconds, whoever else uses the machine.
        parts, seconds = [], []
        for part in data:
            start = time.process_time()
            parts.append(evaluate(job, [part], Head(facts["head"], facts["outputs"]), backend))
            seconds.append(time.process_time() - start)
        replicates = [part.replicates[0] for part in parts if part.state == "complete"]
        row = {
            "slot": slot,
            "parameters": parts[0].info["parameters"],
            "score": [r.score_loss for r in replicates],
            "seconds": seconds,
            "best_epoch": [r.best_epoch for r in replicates],
            "curves": [list(r.curve) for r in replicates],
        }
        print(json.dumps(row), flush=True)
        print(f"{slot}: {np.mean(row['score']):.4f} {sum(seconds):.1f} s", file=sys.stderr, flush=True)


def store(name: str, rows: list[dict[str, Any]]) -> None:
    """Write the trials that trained to their end; curves are padded with NaN."""
    full = [row for row in rows if len(row["score"]) == REPLICATES]
    curves = np.full((len(full), REPLICATES, MAX_EPOCHS), np.nan, np.float32)
    for trial, row in enumerate(full):
        for replicate, curve in enumerate(row["curves"]):
            curves[trial, replicate, : len(curve)] = curve
    longest = int(np.isfinite(curves).sum(-1).max())
    DATA.mkdir(exist_ok=True)
    np.savez_compressed(
        DATA / f"full_{name}.npz",
        score=np.array([row["score"] for row in full]),
        seconds=np.array([row["seconds"] for row in full], np.float32),
        parameters=np.array([row["parameters"] for row in full]),
        best_epoch=np.array([row["best_epoch"] for row in full], np.int16),
        curves=curves[:, :, :longest],
    )


@dataclass(frozen=True)
class FullTrial:
    """A trial that was trained to its end."""

    number: int
    parameters: int
    replicates: tuple[ReplicateRecord, ...]

    @property
    def value(self) -> float:
        """Mean score loss."""
        return float(np.mean([r.score_loss for r in self.replicates]))

    @property
    def seconds(self) -> float:
        """Training time of all replicates."""
        return sum(r.seconds for r in self.replicates)


def load(name: str) -> list[FullTrial]:
    """The stored trials of a table."""
    stored = np.load(DATA / f"full_{name}.npz")
    trials = []
    for number in range(len(stored["score"])):
        replicates = []
        for index in range(REPLICATES):
            curve = stored["curves"][number, index]
            curve = curve[np.isfinite(curve)].astype(float)
            best = int(stored["best_epoch"][number, index])
            replicates.append(
                ReplicateRecord(
                    index=index,
                    stop_loss=float(curve[best]),
                    score_loss=float(stored["score"][number, index]),
                    best_epoch=best,
                    seconds=float(stored["seconds"][number, index]),
                    curve=tuple(curve.tolist()),
                )
            )
        trials.append(FullTrial(number, int(stored["parameters"][number]), tuple(replicates)))
    return trials


def replay(trials: list[FullTrial], order: np.ndarray, racing: bool, pruning: bool) -> tuple[float, FullTrial]:
    """Seconds spent and the winner, when the trials come in this order."""
    board = Leaderboard()
    by_number = {trial.number: trial for trial in trials}
    spent = 0.0
    for number in order:
        trial = by_number[int(number)]
        seconds, outcome = replay_trial(trial, board, racing, pruning)
        spent += seconds
        board.add(trial.number, outcome)
    best = board.best
    assert best is not None
    return spent, by_number[best.number]


def replay_trial(trial: FullTrial, board: Leaderboard, racing: bool, pruning: bool) -> tuple[float, Outcome]:
    incumbent = board.incumbent()
    spent, losses, done = 0.0, {}, []
    for replicate in trial.replicates:
        if incumbent is not None and pruning:
            for length in range(1, len(replicate.curve)):
                if curve_is_hopeless(incumbent, replicate.index, replicate.curve[:length], MAX_EPOCHS):
                    part = replicate.seconds * length / len(replicate.curve)
                    return spent + part, Outcome(state="pruned", replicates=tuple(done))
        spent += replicate.seconds
        losses[replicate.index] = replicate.score_loss
        done.append(replicate)
        if incumbent is not None and racing and len(done) < REPLICATES and race_is_lost(incumbent, losses):
            value = raced_value(incumbent, losses)
            return spent, Outcome(state="complete", raced_out=True, value=value, replicates=tuple(done))
    return spent, Outcome(state="complete", value=trial.value, replicates=tuple(done))


def replay_all(studies: int) -> None:
    rules = {"race": (True, False), "curves": (False, True), "both": (True, True)}
    print(f"{studies} studies of {TRIALS} trials x {REPLICATES} replicates; z {FIRST_RACE_Z}, {RACE_Z}, {CURVE_Z}")
    regrets = f"{'median regret':>15}{'mean regret':>13}{'in SE':>8}"
    print(f"{'table':10}{'rule':8}{'time saved':>22}{'winner lost':>22}{regrets}")
    for name in TABLES:
        trials = load(name)
        total = sum(trial.seconds for trial in trials)
        winner = min(trials, key=lambda trial: trial.value)
        error = np.std([r.score_loss for r in winner.replicates], ddof=1) / REPLICATES**0.5
        for rule, (racing, pruning) in rules.items():
            rng = np.random.default_rng(0)
            results = [replay(trials, rng.permutation(len(trials)), racing, pruning) for _ in range(studies)]
            saved = 1 - np.array([seconds for seconds, _ in results]) / total
            regret = np.array([found.value - winner.value for _, found in results])
            low, high = wilson(int((regret > 0).sum()), studies)
            spread = 1.96 * saved.std() / studies**0.5
            print(
                f"{name:10}{rule:8}{saved.mean():9.1%} ± {spread:.1%} (min {saved.min():.0%})".ljust(46)
                + f"{(regret > 0).mean():8.1%} [{low:.1%}, {high:.1%}]"
                + f"{np.median(regret):12.5f}{regret.mean():13.5f}{np.median(regret) / error:8.2f}",
                flush=True,
            )


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of a proportion (Wilson 1927)."""
    share, square = hits / n, z * z / n
    middle = (share + square / 2) / (1 + square)
    half = z * (share * (1 - share) / n + square / (4 * n)) ** 0.5 / (1 + square)
    return max(0.0, middle - half), middle + half


if __name__ == "__main__":
    main()
