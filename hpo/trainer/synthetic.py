"""The trainer of the synthetic objective: `python -m hpo.trainer.synthetic`, which starts in a tenth of a second.

A trial's losses depend on its point, the study's seed, slot and replicate only.
"""

import math
import random
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo_storage.records import Outcome, ReplicateRecord, TrialState

from hpo.trainer.messages import OnEpoch, serve

NOISE = 0.05
EPOCHS = 30
"""Length of the learning curves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticJob:
    """One trial: its encoded point in [0, 1]^d, the replicates it has, and how long it sleeps in all, in seconds."""

    slot: int
    seed: int
    vector: tuple[float, ...]
    replicates: int
    seconds: float


def losses(job: SyntheticJob) -> list[float]:
    """The score loss of each replicate: the mean squared distance to a hidden optimum, and noise."""
    distance = statistics.fmean((x - (0.3 + 0.4 * (i % 2))) ** 2 for i, x in enumerate(job.vector))
    noise = [random.Random(f"{job.seed} {job.slot} {replicate}") for replicate in range(job.replicates)]
    return [0.1 + distance + NOISE * one.random() for one in noise]


def evaluate(order: Mapping[str, Any], on_epoch: OnEpoch) -> Outcome:
    """The outcome of a `SyntheticJob`, after its sleep."""
    job = SyntheticJob(**order)
    scored, each = losses(job), job.seconds / job.replicates
    replicates = []
    for replicate, loss in enumerate(scored):
        curve = tuple(loss + math.exp(-epoch / 5) for epoch in range(EPOCHS))
        on_epoch(replicate, 0, curve[0])
        time.sleep(each)
        replicates.append(
            ReplicateRecord(
                index=replicate,
                stop_loss=curve[-1],
                score_loss=loss,
                best_epoch=EPOCHS - 1,
                seconds=each,
                curve=curve,
            )
        )
    deviation = statistics.stdev(scored) if len(scored) > 1 else None
    return Outcome(
        state=TrialState.COMPLETE,
        value=statistics.fmean(scored),
        standard_error=None if deviation is None else deviation / math.sqrt(len(scored)),
        replicates=tuple(replicates),
    )


if __name__ == "__main__":
    serve(evaluate)
