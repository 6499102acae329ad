"""What every way of doing less work saves and what it loses, by replay of stored full runs.

    python benchmarks/racing.py record TABLE.csv --target target --name vehicle   # ten minutes to an hour, once
    python benchmarks/racing.py replay                                            # all stored tables, some minutes

`record` trains random points of `mlp` to their end, one replicate at a time, and stores losses, curves and seconds in
benchmarks/data/full_NAME.npz. `replay` shuffles the stored trials into many studies and runs the rules of hpo.search
over them in the blocks that the engine trains: with a race the first replicate goes alone, small networks train the
others at once. Seconds are those of replicates trained alone. Printed for each table and rule, with 95% confidence
intervals: the share of training time saved, the share of studies that lose their unpruned winner, the median regret in
standard errors of the winner, and the time until a trial within a quarter of a standard error of the winner has all its
replicates (never: until the end without any rule), as a share of the time that this takes without any rule. A rule is
good when at most 5% of the studies lose their winner and the median regret is at most a quarter of a standard error.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
from hpo_storage.records import RANKED, Outcome, ReplicateRecord, TrialRecord, TrialState

from hpo.engine.backend.tensorflow import STACKED_PARAMETERS
from hpo.evaluation.cost import training_cost
from hpo.evaluation.trial import blocks
from hpo.search import pruners
from hpo.search.incumbent import Leaderboard
from hpo.search.pruners import forecast, hopeless_loss, raced_value
from hpo.search.rules import Rules
from hpo.settings import EvaluationSpec, SearchSpec
from hpo.statistics import standard_error

DATA = Path(__file__).parent / "data"
TABLES = ("vehicle", "segment", "credit_g", "phoneme", "churn_modelling")
TRIALS, REPLICATES, MAX_EPOCHS = 100, 5, 200
STUDIES = 500
EVALUATION = EvaluationSpec(replicates=REPLICATES, max_epochs=MAX_EPOCHS)
NEAR = 0.25
"""How many standard errors above the winner a trial still has its quality."""


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
    replay_arguments.add_argument("--tables", nargs="+", default=TABLES)
    options = arguments.parse_args()
    if options.command == "record":
        record(options.table, options.target, options.name, options.trials)
    elif options.command == "part":
        record_part(options.folder, range(options.first, options.trials, options.step))
    else:
        replay_all(options.tables, options.studies)


def record(table: Path, target: str, name: str, trials: int) -> None:
    """Prepare the data once and train the points in one process per core."""
    from hpo.data.fingerprint import file_sha256
    from hpo.data.prepare import prepare

    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        data = {"kind": "file", "source": str(table), "target": target, "sha256": file_sha256(table)}
        prepare({"data": data, "evaluation": {}, "seed": 0, "folder": folder, "copy": None})
        command = [sys.executable, __file__, "part", folder, "--step", str(cores), "--trials", str(trials)]
        quiet = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        children = [
            subprocess.Popen(
                [*command[:4], str(first), *command[4:]],
                stdout=subprocess.PIPE,
                env={**quiet, "XDG_CACHE_HOME": f"{folder}/cache-{first}"},  # each compiles its own programs
            )
            for first in range(cores)
        ]
        rows = [json.loads(line) for child in children for line in child.communicate()[0].splitlines()]
    store(name, sorted(rows, key=lambda row: row["slot"]))


def record_part(folder: Path, slots: range) -> None:
    """Train some of the points to their end and print one JSON line for each."""
    from hpo_spaces.mlp import MLP

    from hpo.data.prepared import open_prepared, open_replicate
    from hpo.engine.backend.load import load_backend
    from hpo.evaluation.job import Job
    from hpo.evaluation.trial import evaluate
    from hpo.losses import Head
    from hpo.seeds import generator
    from hpo.settings import EvaluationSpec

    backend = load_backend("tensorflow")
    facts = open_prepared(folder)
    data = [open_replicate(folder, r) for r in range(facts.replicates)]
    for slot in slots:
        params = MLP.decode(generator(1, "sample", slot=slot).random(MLP.size))
        job = Job(slot=slot, seed=1, architecture=MLP.architecture(params), evaluation=EvaluationSpec())
        # One replicate at a time, as a race trains them; the processor's seconds, whoever else uses the machine.
        parts, seconds = [], []
        for part in data:
            start = time.process_time()
            parts.append(evaluate(job, [part], Head(facts.head, facts.outputs), backend))
            seconds.append(time.process_time() - start)
        replicates = [part.replicates[0] for part in parts if part.state in RANKED]
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


@dataclass(frozen=True, slots=True)
class Rule:
    """A way of doing less. `z` are other thresholds of the race, after one replicate and after several."""

    racing: bool
    pruner: Literal["curve", "halving", "hyperband", "none"]
    cost: bool = True
    z: tuple[float, float] = (pruners.FIRST_RACE_Z, pruners.RACE_Z)


BLIND_Z = 1.75, 1.6
"""Thresholds of a race that does not look at the cost, as strict as its error rate allows."""
RULES = {
    "nothing": Rule(racing=False, pruner="none"),
    "race, blind": Rule(racing=True, pruner="none", cost=False, z=BLIND_Z),
    "race": Rule(racing=True, pruner="none"),
    "curve": Rule(racing=False, pruner="curve"),
    "both, blind": Rule(racing=True, pruner="curve", cost=False, z=BLIND_Z),
    "both": Rule(racing=True, pruner="curve"),
    "halving": Rule(racing=False, pruner="halving"),
    "halving+race": Rule(racing=True, pruner="halving"),
    "hyperband": Rule(racing=False, pruner="hyperband"),
    "hyperband+race": Rule(racing=True, pruner="hyperband"),
}
"""`both` is the default of a study; a race that is `blind` does not look at what a trial costs."""


@dataclass(frozen=True, slots=True)
class FullTrial:
    """A trial that was trained to its end; of each replicate, what is forecast and what is best after each epoch."""

    number: int
    parameters: int
    replicates: tuple[ReplicateRecord, ...]
    forecasts: tuple[np.ndarray, ...]
    lowest: tuple[np.ndarray, ...]

    @property
    def value(self) -> float:
        """Mean score loss."""
        return float(np.mean([r.score_loss for r in self.replicates]))

    @property
    def seconds(self) -> float:
        """Training time of all replicates."""
        return sum(r.seconds for r in self.replicates)


@dataclass(frozen=True, slots=True)
class Study:
    """How a replayed study ended: seconds spent, the winner's regret (nats), seconds until a trial was good enough."""

    seconds: float
    regret: float
    seconds_to_quality: float


def load(name: str) -> list[FullTrial]:
    """The stored trials of a table."""
    stored = np.load(DATA / f"full_{name}.npz")
    curves, best_epochs, seconds = stored["curves"].astype(float), stored["best_epoch"], stored["seconds"]
    trials = []
    for number, scores in enumerate(stored["score"]):
        replicates = []
        for index in range(REPLICATES):
            curve, best = curves[number, index], int(best_epochs[number, index])
            record = ReplicateRecord(
                index=index,
                stop_loss=float(curve[best]),
                score_loss=float(scores[index]),
                best_epoch=best,
                seconds=float(seconds[number, index]),
                curve=tuple(curve[np.isfinite(curve)].tolist()),
            )
            replicates.append(record)
        trials.append(full_trial(number, int(stored["parameters"][number]), replicates))
    return trials


def full_trial(number: int, parameters: int, replicates: Sequence[ReplicateRecord]) -> FullTrial:
    """A trial and what its curves tell after each epoch."""
    curves = [r.curve for r in replicates]
    return FullTrial(
        number=number,
        parameters=parameters,
        replicates=tuple(replicates),
        forecasts=tuple(np.array([forecast(c[: n + 1], MAX_EPOCHS) for n in range(len(c))]) for c in curves),
        lowest=tuple(np.minimum.accumulate(c) for c in curves),
    )


def pruned_at(trial: FullTrial, replicate: int, rules: Rules) -> int | None:
    """Epochs after which `rules.prunes` ends the replicate; it is not asked after the last one."""
    hits: list[int] = []
    lowest = trial.lowest[replicate]
    if rules.curves and rules.incumbent is not None:
        hopeless = np.flatnonzero(trial.forecasts[replicate][:-1] > hopeless_loss(rules.incumbent, replicate))
        hits += (hopeless[:1] + 1).tolist()
    if replicate == 0:
        hits += [r.epochs for r in rules.rungs if r.epochs < len(lowest) and lowest[r.epochs - 1] > r.threshold]
    return min(hits, default=None)


def replay_trial(trial: FullTrial, rules: Rules, *, cost: bool = True) -> tuple[float, Outcome]:
    """Seconds spent and the outcome, as `hpo.evaluation.trial.evaluate` ends a trial."""
    spent, done = 0.0, list[ReplicateRecord]()
    info = {"parameters": trial.parameters} if cost else {}
    for block in blocks(rules, [1] * REPLICATES, trial.parameters < STACKED_PARAMETERS):
        records = [trial.replicates[r] for r in block]
        ends = [end for r in block if (end := pruned_at(trial, r, rules)) is not None]
        if ends:
            cut = [replace(r, curve=r.curve[: min(ends)], score_loss=None) for r in records]
            spent += sum(r.seconds * len(c.curve) / len(r.curve) for r, c in zip(records, cut, strict=True))
            return spent, Outcome(state=TrialState.PRUNED, replicates=(*done, *cut), info=info)
        spent += sum(r.seconds for r in records)
        done += records
        losses = {r.index: float(r.score_loss or 0.0) for r in done}
        price = cost_of(Outcome(state=TrialState.RACED_OUT, replicates=tuple(done), info=info))
        if len(done) < REPLICATES and rules.incumbent and rules.drops(losses, price):
            value = raced_value(rules.incumbent, losses)
            return spent, Outcome(state=TrialState.RACED_OUT, value=value, replicates=tuple(done), info=info)
    return spent, Outcome(state=TrialState.COMPLETE, value=trial.value, replicates=tuple(done), info=info)


def cost_of(result: Outcome | TrialRecord) -> float | None:
    """What a trial costs, as the objective `mlp` counts it; None where its parameters are not known."""
    parameters, best_epochs = result.info.get("parameters"), [r.best_epoch for r in result.replicates]
    return training_cost(parameters, best_epochs, EVALUATION.patience) if parameters and best_epochs else None


def replay(trials: Sequence[FullTrial], order: Sequence[int], rule: Rule, winner: FullTrial, error: float) -> Study:
    """A study in which the trials come in this order."""
    board = Leaderboard(SearchSpec(racing=rule.racing, pruner=rule.pruner), MAX_EPOCHS, cost_of)
    spent, reached = 0.0, sum(trial.seconds for trial in trials)
    near = winner.value + NEAR * error
    for slot, number in enumerate(order):
        seconds, outcome = replay_trial(trials[number], board.rules(slot), cost=rule.cost)
        spent += seconds
        board.add(number, outcome)
        full = outcome.state in RANKED
        if full and outcome.value is not None and outcome.value <= near:
            reached = min(reached, spent)
    assert board.best is not None
    return Study(spent, board.best.value - winner.value, reached)


def replay_all(tables: Sequence[str], studies: int) -> None:
    """Print one line for each table and rule."""
    z = f"{pruners.FIRST_RACE_Z}, {pruners.RACE_Z} (blind {BLIND_Z[0]}, {BLIND_Z[1]})"
    costs = f"{pruners.COST_Z} less for ten times the cost"
    print(f"{studies} studies; z of the race {z}, {costs}; of curves {pruners.CURVE_Z}")
    print(
        f"{'table':16}{'rule':16}{'time saved':>16}{'winner lost':>22}{'median regret, SE':>24}{'time to quality':>17}"
    )
    for name in tables:
        trials = load(name)
        winner = min(trials, key=lambda trial: trial.value)
        error = standard_error([r.score_loss for r in winner.replicates if r.score_loss is not None]) or 0.0
        print(f"{name}: {len(trials)} trials, winner {winner.value:.4f} ± {error:.4f} nats")
        slow = None
        for label, rule in RULES.items():
            random = np.random.default_rng(0)
            with patch.multiple(pruners, FIRST_RACE_Z=rule.z[0], RACE_Z=rule.z[1]):
                orders = [random.permutation(len(trials)).tolist() for _ in range(studies)]
                ended = [replay(trials, order, rule, winner, error) for order in orders]
            reached = float(np.mean([study.seconds_to_quality for study in ended]))
            slow = slow or reached
            print(
                f"{name:16}{label:16}{line(ended, sum(t.seconds for t in trials), error)}{reached / slow:17.2f}",
                flush=True,
            )


def line(ended: Sequence[Study], total: float, error: float) -> str:
    """Time saved, winners lost and regret of the replayed studies, with their intervals."""
    saved = 1 - np.array([study.seconds for study in ended]) / total
    regret = np.sort([study.regret / error for study in ended])
    lost = int((regret > 0).sum())
    low, high = wilson(lost, len(ended))
    around = median_interval(len(ended))
    spread = 1.96 * saved.std() / len(ended) ** 0.5
    return (
        f"{f'{saved.mean():.1%} ± {spread:.1%}':>16}{f'{lost / len(ended):.1%} [{low:.1%}, {high:.1%}]':>22}"
        f"{f'{np.median(regret):.2f} [{regret[around[0]]:.2f}, {regret[around[1]]:.2f}]':>24}"
    )


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of a proportion (Wilson 1927)."""
    share, square = hits / n, z * z / n
    middle = (share + square / 2) / (1 + square)
    half = z * (share * (1 - share) / n + square / (4 * n)) ** 0.5 / (1 + square)
    return max(0.0, middle - half), middle + half


def median_interval(n: int, z: float = 1.96) -> tuple[int, int]:
    """Places in n sorted values that enclose the median; the binomial distribution's normal approximation."""
    half = z * n**0.5 / 2
    return max(0, int(n / 2 - half)), min(n - 1, int(n / 2 + half))


if __name__ == "__main__":
    main()
