"""The trainer: a child process that imports Keras once and trains what its supervisor sends.

`python -m hpo.worker.trainer` reads one JSON message per line on standard input and answers on standard output:

    -> {"open": folder}                    prepared data of the study; with {"replicates": n} the first n only
    -> {"train": [Job as JSON, ...]}       trials to train at once
    <- {"ready": true}                     the framework is loaded
    <- {"replicate", "epoch", "loss"}      progress, a few times a second
    <- {"slot", "outcome": Outcome as JSON}  of each trial
    <- {"error": "...", "traceback": "..."}  something unexpected, the end of all trials without an outcome;
                                           the trainer goes on
"""

import contextlib
import ctypes
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from hpo.worker.machine import stack_memory
from hpo.worker.signals import end_with_supervisor, ignore_stops

PROGRESS_SECONDS = 0.2
TRIM_EVERY = 8
"""Messages with trials between two times that freed memory is given back."""
UNUSED_PACKAGES = {"tensorflow": ("sklearn", "pandas", "jax"), "jax": ("sklearn", "pandas", "tensorflow")}
"""Keras and TensorFlow import them where they are, for what a trainer has no use for: a third of its start-up."""


def main() -> None:
    """Serve until standard input ends."""
    ignore_stops()
    end_with_supervisor()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # stray prints must not mix with answers

    def answer(message: Mapping[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    _serve(sys.stdin, answer)


def _serve(requests: TextIO, answer: Callable[[Mapping[str, Any]], None]) -> None:
    name = os.environ["KERAS_BACKEND"]
    for package in UNUSED_PACKAGES[name]:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type] # None: cannot be imported
    gc.disable()  # imports make millions of objects and no garbage: looking for it is a quarter of the start-up
    from hpo.data.prepared import ReplicateData, open_prepared, open_replicate
    from hpo.evaluation.job import Job
    from hpo.evaluation.objective import Head, evaluate
    from hpo.evaluation.population import evaluate_population
    from hpo.training.backend.load import load_backend
    from storage.records import Outcome

    def tell(slot: int, outcome: Outcome) -> None:
        answer({"slot": slot, "outcome": outcome.to_json()})

    backend = load_backend(name)
    gc.freeze()
    gc.enable()
    answer({"ready": True})
    data, head = list[ReplicateData](), Head("softmax", 0)
    for number, line in enumerate(requests):
        message = json.loads(line)
        try:
            if "open" in message:
                data = []  # where this fails, nothing is trained with another study's
                folder = Path(message["open"])
                facts = open_prepared(folder)
                data = [open_replicate(folder, r) for r in range(message.get("replicates", facts["replicates"]))]
                head = Head(facts["head"], facts["outputs"])
            elif not data:
                raise RuntimeError("the study's data could not be opened")
            else:
                jobs, progress = [Job.from_json(values) for values in message["train"]], _throttled(answer)
                if len(jobs) == 1:
                    tell(jobs[0].slot, evaluate(jobs[0], data, head, backend, progress))
                else:
                    evaluate_population(jobs, data, head, backend, stack_memory(name), tell, progress)
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()})
        if number % TRIM_EVERY == 0:
            give_memory_back()


def give_memory_back() -> None:
    """Return freed memory to the system; glibc would keep what lies between blocks in use."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _throttled(answer: Callable[[Mapping[str, Any]], None]) -> Callable[[int, int, float], None]:
    last = 0.0

    def report(replicate: int, epoch: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            answer({"replicate": replicate, "epoch": epoch, "loss": loss})

    return report


if __name__ == "__main__":
    main()
