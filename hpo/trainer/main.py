"""The trainer: a child process that imports Keras once and trains what its supervisor sends.

`python -m hpo.trainer.main` reads one JSON message per line on standard input and answers on standard output:

    -> {"open": folder}                    prepared data of the study; with {"replicates": n} the first n only
    -> {"train": [Job as JSON, ...]}       trials to train at once
    <- {"ready": true}                     the framework is loaded
    <- {"replicate", "epoch", "loss"}      progress, a few times a second
    <- {"slot", "outcome": Outcome as JSON}  of each trial
    <- {"error": "...", "traceback": "..."}  something unexpected, the end of all trials without an outcome;
                                           the trainer goes on

On Linux its forks do the training (see `hpo.trainer.forks`).
"""

import gc
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hpo.machine import device_name
from hpo.trainer.forks import Forks
from hpo.worker.signals import end_with_supervisor, ignore_stops

if TYPE_CHECKING:
    from hpo.trainer.networks import Training

MOST_GROWTH = {"tensorflow": 128 * 10**6, "jax": 256 * 10**6}
"""Bytes that a fork may grow by, on a GPU four times as many: a fork takes seconds to start there. The next one has no
programs: TensorFlow's are read from files in a hundredth of a second each, JAX's in up to a second."""
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

    name = os.environ["KERAS_BACKEND"]
    training = _import_training(name, answer)
    most_growth = MOST_GROWTH[name] * (4 if device_name(name) != "cpu" else 1)
    forks = Forks(training.start, most_growth) if sys.platform == "linux" else None
    train = forks.work if forks else training.start()
    answer({"ready": True})
    for line in sys.stdin:
        message = json.loads(line)
        if "open" in message:
            training.open(message)
            if forks:
                forks.renew()
        else:
            train(line)


def _import_training(name: str, answer: Callable[[Mapping[str, Any]], None]) -> "Training":
    for package in UNUSED_PACKAGES[name]:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type] # None: cannot be imported
    gc.disable()  # imports make millions of objects and no garbage: looking for it is a quarter of the start-up
    from hpo.trainer.networks import Training

    training = Training(name, answer)
    gc.freeze()
    gc.enable()
    return training


if __name__ == "__main__":
    main()
