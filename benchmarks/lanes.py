"""What share of the lanes that a population trains still learns, and how many programs it needs.

    python benchmarks/lanes.py [--trials 64]

Replays how long each replicate of the recorded full trials trained (see racing.py), as one population: a stack for each
batch size, its places given away by the engine's own rules. `at once` is the same without lanes that wait.
"""

import argparse
import os
from collections import defaultdict
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from racing import DATA, TABLES

from hpo.machine import trainer_environment


class Replay(NamedTuple):
    """Lanes that learned and lanes that were trained, summed over epochs; numbers of lanes compiled; epochs."""

    live: int
    trained: int
    programs: int
    epochs: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=64)
    options = parser.parse_args()
    os.environ.update(trainer_environment("jax"))
    from hpo.engine.backend.jax import JaxBackend

    jax = JaxBackend()
    rules = {"in turn": jax, "at once": SimpleNamespace(most_lanes=lambda lanes: lanes, lanes_for=jax.lanes_for)}
    print(f"{'table':18}{'lanes':10}{'live':>6}{'programs':>10}{'epochs':>8}")
    for name in TABLES:
        for label, backend in rules.items():
            stacks = [replay(epochs, backend) for epochs in stacks_of(name, options.trials)]
            live, trained, programs, epochs = map(sum, zip(*stacks, strict=True))
            print(f"{name:18}{label:10}{live / trained:6.0%}{programs:10}{epochs:8}")


def stacks_of(name: str, trials: int) -> list[list[int]]:
    """Epochs of each lane, for the lanes of each batch size."""
    from hpo_spaces.mlp import MLP

    from hpo.seeds import generator

    curves = np.load(DATA / f"full_{name}.npz")["curves"][:trials]
    by_batch: dict[int, list[int]] = defaultdict(list)
    for slot, epochs in enumerate((~np.isnan(curves)).sum(axis=2)):
        params = MLP.decode(generator(1, "sample", slot=slot).random(MLP.size))  # as racing.py records them
        by_batch[MLP.architecture(params).batch_size] += epochs.tolist()
    return list(by_batch.values())


def replay(epochs: list[int], backend) -> Replay:  # noqa: ANN001
    """One stack, to its end."""
    from hpo.engine.places import Places

    places, left = Places.new(backend, SimpleNamespace(lanes=range(len(epochs)))), list(epochs)
    live = trained = count = 0
    sizes = set[int]()
    while places.live:
        live, trained, count = live + len(places.live), trained + len(places.held), count + 1
        sizes.add(len(places.held))
        for lane in places.live:
            left[lane] -= 1
        places = places.after({lane for lane, more in enumerate(left) if more == 0})
    return Replay(live, trained, len(sizes), count)


if __name__ == "__main__":
    main()
