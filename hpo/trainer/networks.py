"""What a trainer does with its messages. Imports the framework, which takes seconds."""

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hpo_storage.records import Outcome

from hpo.data.prepared import ReplicateData, open_prepared, open_replicate
from hpo.engine.backend.load import import_backend
from hpo.engine.program import Backend
from hpo.evaluation.job import Job
from hpo.evaluation.population import evaluate_population
from hpo.evaluation.trial import evaluate
from hpo.losses import Head
from hpo.machine import stack_memory

PROGRESS_SECONDS = 0.2

Answer = Callable[[Mapping[str, Any]], None]


class NetworkTrainer:
    """Opens a study's data and trains its trials, with one backend; answers as `hpo.trainer.messages` says."""

    def __init__(self, name: str, answer: Answer) -> None:
        self._name, self._answer = name, answer
        self._start_backend = import_backend(name)
        self._data, self._head = list[ReplicateData](), Head("softmax", 0)

    def open(self, message: Mapping[str, Any]) -> None:
        """Open the data that the message names."""
        self._data = []  # where this fails, nothing is trained with another study's
        with self._errors_answered():
            folder = Path(message["open"])
            facts = open_prepared(folder)
            self._data = [open_replicate(folder, r) for r in range(message.get("replicates", facts.replicates))]
            self._head = Head(facts.head, facts.outputs)

    def start(self) -> Callable[[str], None]:
        """Start the backend; the result trains the trials of a message, a line of JSON."""
        return partial(self._train, self._start_backend())

    def _train(self, backend: Backend, line: str) -> None:
        with self._errors_answered():
            if not self._data:
                raise RuntimeError("the study's data could not be opened")
            jobs = [Job.from_json(values) for values in json.loads(line)["train"]]
            progress = _throttled(self._answer)
            if len(jobs) == 1:
                self._tell(jobs[0].slot, evaluate(jobs[0], self._data, self._head, backend, progress))
            else:
                most_bytes = stack_memory(self._name)
                evaluate_population(jobs, self._data, self._head, backend, most_bytes, self._tell, progress)

    def _tell(self, slot: int, outcome: Outcome) -> None:
        self._answer({"slot": slot, "outcome": outcome.to_json()})

    @contextmanager
    def _errors_answered(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._answer({"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()})


def _throttled(answer: Answer) -> Callable[[int, int, float], None]:
    last = 0.0

    def report(replicate: int, epoch: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            answer({"replicate": replicate, "epoch": epoch, "loss": loss})

    return report
