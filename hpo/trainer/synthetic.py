"""The trainer of the synthetic objective: `python -m hpo.trainer.synthetic`, which starts in a tenth of a second.

It speaks as `hpo.trainer.main` does, but instead of Job it takes SyntheticJob. A trial's losses depend on its
point, the study's seed, slot and replicate only.
"""

import json
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hpo.worker.signals import end_with_supervisor, ignore_stops

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

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def losses(job: SyntheticJob) -> list[float]:
    """The score loss of each replicate: the mean squared distance to a hidden optimum, and noise."""
    distance = statistics.fmean((x - (0.3 + 0.4 * (i % 2))) ** 2 for i, x in enumerate(job.vector))
    noise = [random.Random(f"{job.seed} {job.slot} {replicate}") for replicate in range(job.replicates)]
    return [0.1 + distance + NOISE * one.random() for one in noise]


def main() -> None:
    """Serve until standard input ends."""
    ignore_stops()
    end_with_supervisor()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")

    def answer(message: Mapping[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    answer({"ready": True})
    for line in sys.stdin:
        for values in json.loads(line).get("train", ()):
            job = SyntheticJob(**values)
            answer({"slot": job.slot, "outcome": _evaluate(job, answer)})


def _evaluate(job: SyntheticJob, answer: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """An Outcome as JSON."""
    scored, each = losses(job), job.seconds / job.replicates
    replicates = []
    for replicate, loss in enumerate(scored):
        curve = [loss + math.exp(-epoch / 5) for epoch in range(EPOCHS)]
        answer({"replicate": replicate, "epoch": 0, "loss": curve[0]})
        time.sleep(each)
        replicates.append(
            {
                "index": replicate,
                "stop_loss": curve[-1],
                "score_loss": loss,
                "best_epoch": EPOCHS - 1,
                "seconds": each,
                "curve": curve,
                "predictions": None,
            }
        )
    deviation = statistics.stdev(scored) if len(scored) > 1 else None
    return {
        "state": "complete",
        "value": statistics.fmean(scored),
        "standard_error": None if deviation is None else deviation / math.sqrt(len(scored)),
        "reason": None,
        "info": {},
        "replicates": replicates,
    }


if __name__ == "__main__":
    main()
