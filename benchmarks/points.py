"""What the benchmark programs share: the prepared data, lists of points, and one JSON line per trial.

    python benchmarks/points.py --count 12 --seed 0 > points.json

writes random points of the space `mlp` for `--points`: `[{"seed": 0, "params": {...}}, ...]`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hpo_spaces import SearchSpace, load_space
from hpo_spaces.mlp import ACTIVATIONS

from hpo.data.fingerprint import file_sha256
from hpo.data.prepared import ReplicateData, open_prepared, open_replicate
from hpo.data.spec import DataSpec
from hpo.declaration import to_json
from hpo.settings import EvaluationSpec

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
"""Environment that keeps TensorFlow's greetings out of the output; it does not change what runs."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the space and the seed of its replicates' weights, order and dropout."""

    seed: int
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as both sides train on it: one entry per replicate, in memory."""

    classes: int
    head: str
    outputs: int
    prior_loss: float
    replicates: list[ReplicateData]


def prepare(csv: Path, target: str, seed: int, folder: Path, evaluation: EvaluationSpec | None = None) -> Table:
    """Prepare the same replicates as a study of that seed on that file does; `folder` takes the arrays."""
    data = DataSpec(kind="file", source=str(csv), target=target, sha256=file_sha256(csv))
    request = {
        "data": data.to_json(),
        "evaluation": to_json(evaluation or EvaluationSpec()),
        "seed": seed,
        "folder": str(folder),
        "copy": None,
    }
    child = subprocess.run(
        [sys.executable, "-m", "hpo.data.prepare"],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
    )
    answer = json.loads(child.stdout.splitlines()[-1]) if child.stdout else {"ok": False, "message": "no answer"}
    if not answer["ok"]:
        raise SystemExit(f"{csv} cannot be used: {answer['message']}")
    return open_table(folder)


def open_table(folder: Path) -> Table:
    """The table that `prepare` left in the folder."""
    facts = open_prepared(folder)
    return Table(
        classes=len(facts.classes),
        head=facts.head,
        outputs=facts.outputs,
        prior_loss=facts.prior_loss,
        replicates=[_in_memory(open_replicate(folder, index)) for index in range(facts.replicates)],
    )


def random_points(space: SearchSpace, count: int, seed: int) -> list[Point]:
    """Points drawn uniformly from the space."""
    random = np.random.default_rng(seed)
    return [Point(seed=seed, params=space.decode(random.random(space.size))) for _ in range(count)]


def read_points(text: str) -> list[Point]:
    """The points of a JSON list as `main` writes it."""
    return [Point(seed=int(entry.get("seed", 0)), params=entry["params"]) for entry in json.loads(text)]


def write_points(points: Sequence[Point]) -> str:
    """The inverse of `read_points`."""
    return json.dumps([{"seed": point.seed, "params": point.params} for point in points], indent=1)


def suggest(trial: "BaseTrial") -> dict[str, Any]:
    """A point of the space `mlp`, as a user of Optuna asks for it."""
    return {
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "neuron_percent": trial.suggest_float("neuron_percent", 0.01, 1.0),
        "neuron_shrink": trial.suggest_float("neuron_shrink", 0.01, 1.0),
        "activation": trial.suggest_categorical("activation", ACTIVATIONS),
        "batch_exponent": trial.suggest_int("batch_exponent", 4, 9),
    }


def seconds_since_start() -> float:
    """Seconds since this process was started, its imports included (Linux; to 0.01 s)."""
    started_ticks = int(Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")


class TrialLog:
    """Prints one JSON line per finished trial and appends it to a file.

    A line has number, params, losses (one per replicate), value (their mean; null where it is not finite),
    seconds (of the trial), cpu_seconds (of all threads in that time), since_start (seconds since process
    start) and best so far.
    """

    def __init__(self, output: Path | None) -> None:
        self.best: float | None = None
        self._output = output
        self._number = 0
        if output:
            output.write_text("", "utf-8")
        self.start_trial()

    def start_trial(self) -> None:
        """Start the trial's clocks; also done by `finish_trial` for the next one."""
        self._clock, self._cpu = time.perf_counter(), time.process_time()

    def finish_trial(self, params: Mapping[str, Any], losses: Sequence[float]) -> None:
        """Write the line of the trial that has just ended."""
        value = float(np.mean(losses)) if np.all(np.isfinite(losses)) else None
        if value is not None and (self.best is None or value < self.best):
            self.best = value
        line = json.dumps(
            {
                "number": self._number,
                "params": dict(params),
                "losses": [loss if np.isfinite(loss) else None for loss in losses],
                "value": value,
                "seconds": round(time.perf_counter() - self._clock, 3),
                "cpu_seconds": round(time.process_time() - self._cpu, 3),
                "since_start": round(seconds_since_start(), 2),
                "best": self.best,
            }
        )
        print(line, flush=True)
        if self._output:
            with self._output.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        self._number += 1
        self.start_trial()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every tuning program here has."""
    parser.add_argument("--data", type=Path, required=True, help="CSV file")
    parser.add_argument("--target", default="target", help="target column")
    parser.add_argument("--trials", type=int, default=20, help="budget of the tuning run")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler, the resamples and the networks")
    parser.add_argument("--output", type=Path, help="also write the lines to this file")


def _in_memory(data: ReplicateData) -> ReplicateData:
    return ReplicateData(
        *(
            np.array(array)
            for array in (data.train_x, data.train_y, data.stop_x, data.stop_y, data.score_x, data.score_y)
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--space", default="mlp")
    options = parser.parse_args()
    points = random_points(load_space(options.space), options.count, options.seed)
    print(write_points(points))


if __name__ == "__main__":
    main()
