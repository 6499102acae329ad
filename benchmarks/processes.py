"""Several processes, each with its own threads, that share one list of trials: what peers without Keras run on."""

import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from hpo_spaces.mlp import MLP
from points import Point, Table, open_table, seconds_since_start

from hpo.network.architecture import Architecture
from hpo.settings import EvaluationSpec

PROTOCOL = EvaluationSpec()
SPAWN = multiprocessing.get_context("spawn")
READY_SECONDS = 300
LOOK_SECONDS = 1.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Train = Callable[[Architecture, Table, int, int, int], float]
"""`train(architecture, table, replicate, seed, slot)`: the score loss, not finite where training diverged."""


class EarlyStopping:
    """Keras' EarlyStopping with restored best weights: what it remembers of one training."""

    def __init__(self) -> None:
        self.best, self.waited, self.weights = np.inf, 0, None

    def goes_on(self, loss: float, copy_weights: Callable[[], Any]) -> bool:
        """Take in an epoch's stop loss; whether to train another epoch."""
        self.waited += 1
        if loss < self.best - PROTOCOL.min_delta:
            self.best, self.waited, self.weights = loss, 0, copy_weights()
        return bool(np.isfinite(loss)) and self.waited < PROTOCOL.patience


class Team:
    """Child processes and the queue of what they report; they are killed on leaving the `with` block.

    Each runs `target(queue, number, *arguments)` with so many threads.
    """

    def __init__(self, target: Callable[..., None], processes: int, threads: int, *arguments: object) -> None:
        for variable in THREAD_VARIABLES:
            os.environ[variable] = str(threads)  # read by the children when they import numpy and torch
        self._results: Queue[Any] = SPAWN.Queue()
        self._children = [
            SPAWN.Process(target=target, args=(self._results, number, *arguments), daemon=True)
            for number in range(processes)
        ]

    def __enter__(self) -> "Team":
        for child in self._children:
            child.start()
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.kill()
            child.join()

    def next(self, until: float = np.inf) -> Any | None:  # noqa: ANN401
        """The next report; None when `seconds_since_start` has passed `until`. SystemExit where a child died."""
        while seconds_since_start() < until:
            try:
                return self._results.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                for child in self._children:
                    if child.exitcode not in (None, 0):
                        raise SystemExit(f"a training process died with code {child.exitcode}") from None
        return None


def evaluate(train: Train, params: dict[str, Any], table: Table, seed: int, slot: int) -> list[float] | None:
    """The score losses of one trial's replicates; None as soon as one is not finite."""
    architecture, losses = MLP.architecture(params), []
    for replicate in range(len(table.replicates)):
        losses.append(train(architecture, table, replicate, seed, slot))
        if not np.isfinite(losses[-1]):
            return None
    return losses


def train_points(train: Train, folder: Path, points: Sequence[Point], processes: int, threads: int) -> dict[str, Any]:
    """Train the points to their end on the prepared table; seconds count from when all processes are ready."""
    ready, tasks = SPAWN.Barrier(processes + 1), SPAWN.Queue()
    for task in enumerate(points):
        tasks.put(task)
    losses: list[list[float] | None] = [None] * len(points)
    with Team(_work, processes, threads, train, folder, ready, tasks) as team:
        ready.wait(READY_SECONDS)
        startup, clock = seconds_since_start(), time.perf_counter()
        for _ in points:
            slot, losses[slot] = team.next()
        seconds = time.perf_counter() - clock
    return {"seconds": seconds, "startup": startup, "losses": losses}


def _work(results: "Queue[Any]", _: int, train: Train, folder: Path, ready: Barrier, tasks: "Queue[Any]") -> None:
    """Train one task after the other until killed."""
    table = open_table(folder)
    ready.wait(READY_SECONDS)
    while True:
        slot, point = tasks.get()
        results.put((slot, evaluate(train, point.params, table, point.seed, slot)))
