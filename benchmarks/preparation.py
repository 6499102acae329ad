"""What scalings of numbers, and categories beside few whole numbers, do to the log loss of networks.

    python benchmarks/preparation.py TABLE.csv ... [--rows 2500] [--replicates 3]

The target is the column `target`, taken for classes. Four points of `mlp` are trained on the same replicates of a
stratified sample of each table, once for each way to prepare it; a way's loss is that of its best point, as a ratio to
that of standard scaling without codes.
"""

import argparse
import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from hpo_spaces.mlp import MLP, STARTS

from hpo.data.features import fit
from hpo.data.prepared import PARTS, ReplicateData
from hpo.data.resampling import Resample, resamples
from hpo.data.source import Source
from hpo.data.table import Table, build_table
from hpo.engine.backend.load import import_backend
from hpo.engine.program import Backend
from hpo.evaluation.job import Job
from hpo.evaluation.trial import evaluate
from hpo.settings import EvaluationSpec

TARGET = "target"
LEAST_PER_CLASS = 4
POINTS = (
    *STARTS,
    {**STARTS[0], "neuron_percent": 0.3, "activation": "relu", "dropout": 0.2, "learning_rate": 3e-3},
)
WAYS = [(codes, scaling) for codes in (False, True) for scaling in ("standard", "robust", "quantile")]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("tables", type=Path, nargs="+")
    arguments.add_argument("--rows", type=int, default=2500)
    arguments.add_argument("--replicates", type=int, default=3)
    options = arguments.parse_args()
    evaluation = EvaluationSpec(task="classification", replicates=options.replicates)
    backend = import_backend("tensorflow")()
    print("table", *(name(way) for way in WAYS), sep="\t")
    ratios: list[list[float]] = []
    for path in options.tables:
        losses = measure(sample(pd.read_csv(path), options.rows), evaluation, backend)
        ratios.append([loss / losses[0] for loss in losses])
        print(path.stem, *(f"{ratio:.3f}" for ratio in ratios[-1]), sep="\t", flush=True)
    means = [math.exp(statistics.fmean(map(math.log, column))) for column in zip(*ratios, strict=True)]
    print("geometric mean", *(f"{mean:.3f}" for mean in means), sep="\t")
    for codes in (False, True):
        best = [min(r for r, way in zip(row, WAYS, strict=True) if way[0] == codes) for row in ratios]
        mean = math.exp(statistics.fmean(map(math.log, best)))
        print(f"the best scaling of each table{', with codes' if codes else ''}: {mean:.3f}, at worst {max(best):.3f}")


def name(way: tuple[bool, str]) -> str:
    codes, scaling = way
    return scaling + " + codes" * codes


def sample(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    """So many rows at most, of each class in proportion."""
    if len(frame) <= rows:
        return frame
    share = rows / len(frame)
    parts = [
        group.sample(min(len(group), max(LEAST_PER_CLASS, round(share * len(group)))), random_state=0)
        for _, group in frame.groupby(TARGET)
    ]
    return pd.concat(parts, ignore_index=True)


def measure(frame: pd.DataFrame, evaluation: EvaluationSpec, backend: Backend) -> list[float]:
    """The loss of the best point, for each way."""
    table = build_table(Source("table", frame, ""), TARGET, evaluation)
    parts = resamples(table.target.strata, evaluation, 0, names=table.target.classes)
    plain = replace(table, columns=tuple(replace(column, codes=False) for column in table.columns))
    data = {codes: prepared(table if codes else plain, parts) for codes in (False, True)}
    return [
        min(loss(point, scaling, data[codes], table, evaluation, backend) for point in POINTS)
        for codes, scaling in WAYS
    ]


def prepared(table: Table, parts: Sequence[Resample]) -> list[ReplicateData]:
    """Each replicate's rows, with zeros behind those that have fewer inputs."""
    states = [fit(table.frame, table.columns, part.train) for part in parts]
    width = max(state.width for state in states)
    found = []
    for state, part in zip(states, parts, strict=True):
        inputs = np.pad(state.transform(table.frame), ((0, 0), (0, width - state.width)))
        arrays = {f"{one}_x": inputs[getattr(part, one)] for one in PARTS}
        targets = {f"{one}_y": table.target.values[getattr(part, one)] for one in PARTS}
        found.append(ReplicateData(**arrays, **targets, scales=state.scales))
    return found


def loss(
    point: dict[str, object],
    scaling: str,
    data: Sequence[ReplicateData],
    table: Table,
    evaluation: EvaluationSpec,
    backend: Backend,
) -> float:
    architecture = replace(MLP.make(point), scaling=scaling)
    job = Job(slot=POINTS.index(point), seed=0, architecture=architecture, evaluation=evaluation)
    value = evaluate(job, data, table.target.head, backend).value
    return math.inf if value is None else value


if __name__ == "__main__":
    main()
