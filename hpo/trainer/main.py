"""The trainer: a child process that imports Keras once and trains what its supervisor sends.

`python -m hpo.trainer.main` speaks as `hpo.trainer.messages` says; an order is a `Job`, and those that come together
train at once. On Linux its forks do the training (see `hpo.trainer.forks`).
"""

import gc
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hpo.machine import device_name
from hpo.processes import allow_many_files
from hpo.trainer.forks import Forks
from hpo.trainer.messages import begin

if TYPE_CHECKING:
    from hpo.trainer.networks import NetworkTrainer

MOST_GROWTH = {"tensorflow": 128 * 10**6, "jax": 256 * 10**6}
"""Bytes that a fork may grow by, on a GPU four times as many: a fork takes seconds to start there. The next one has no
programs: TensorFlow's are read from files in a hundredth of a second each, JAX's in up to a second."""
UNUSED_PACKAGES = {"tensorflow": ("sklearn", "pandas", "jax"), "jax": ("sklearn", "pandas", "tensorflow")}
"""Keras and TensorFlow import them where they are, for what a trainer has no use for: a third of its start-up."""


def main() -> None:
    """Serve until standard input ends."""
    answer = begin()
    allow_many_files()
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


def _import_training(name: str, answer: Callable[[Mapping[str, Any]], None]) -> "NetworkTrainer":
    for package in UNUSED_PACKAGES[name]:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type] # None: cannot be imported
    gc.disable()  # imports make millions of objects and no garbage: looking for it is a quarter of the start-up
    from hpo.trainer.networks import NetworkTrainer

    training = NetworkTrainer(name, answer)
    gc.freeze()
    gc.enable()
    return training


if __name__ == "__main__":
    main()
