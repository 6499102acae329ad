"""How much of one core's sgemm rate the training engine reaches.

    python benchmarks/engine.py [--core 0] [--rounds 3]

Trains with dropout on random data, whole epochs through the same path as a study (shuffling, random bits, the
prediction of the stop rows, the copy of the best weights), and counts 6 floating-point operations per weight and
training row (2 forward, 4 backward), the usual convention; the first layer's input needs no gradient, which
`needed` leaves out of the count. The share is of the sgemm rate measured before and after, in the same process.
"""

import argparse
import os
import time
from itertools import pairwise

from hpo.machine import trainer_environment

NETWORKS = {"5k": (100,), "70k": (250, 150, 90, 54, 32), "1M": (450,) * 6}
FEATURES, CLASSES, ROWS = 50, 7, 2000
EPOCHS = 5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--core", type=int, help="pin to this core")
    arguments.add_argument("--rounds", type=int, default=3, help="best of so many")
    arguments.add_argument("--activation", default="relu")
    arguments.add_argument("--backend", default="tensorflow", choices=["tensorflow", "jax"])
    options = arguments.parse_args()
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS="1", **trainer_environment(options.backend))
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    from machine import sgemm_gflops

    from hpo.engine.backend.load import load_backend

    backend = load_backend(options.backend)
    peak = sgemm_gflops()
    print(f"sgemm before: {peak:.0f} GFLOP/s, one thread")
    print(f"{'network':8}{'stack':>6}{'batch':>6}{'ms/epoch':>10}{'GFLOP/s':>9}{'of sgemm':>10}{'needed':>9}")
    for name, widths in NETWORKS.items():
        for stack in (1, 5):
            for batch in (32, 128, 512):
                seconds = min(
                    epoch_seconds(backend, widths, stack, batch, options.activation) for _ in range(options.rounds)
                )
                sizes = (FEATURES, *widths, CLASSES)
                weights = sum(a * b for a, b in pairwise(sizes))
                rate = 6 * weights * ROWS * stack / seconds / 1e9
                needed = rate * (1 - 2 * FEATURES * widths[0] / (6 * weights))
                shares = f"{rate / peak:10.0%}{needed / peak:9.0%}"
                print(f"{name:8}{stack:6}{batch:6}{seconds * 1e3:10.1f}{rate:9.1f}{shares}", flush=True)
    print(f"sgemm after: {sgemm_gflops():.0f} GFLOP/s")


def epoch_seconds(backend, widths, stack, batch, activation) -> float:  # noqa: ANN001
    """Seconds of one epoch, after a first call that is not counted."""
    import numpy as np

    from hpo.data.prepared import ReplicateData
    from hpo.engine.fit import fit_stack
    from hpo.engine.stack import Lane, Streams
    from hpo.losses import Head
    from hpo.network.architecture import Architecture
    from hpo.settings import EvaluationSpec

    architecture = Architecture(
        widths=widths,
        activation=activation,
        initializer="he_normal",
        dropout=0.25,
        learning_rate=1e-4,
        batch_size=batch,
    )
    rng = np.random.default_rng(0)

    def part(rows: int):  # noqa: ANN202
        return rng.normal(size=(rows, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, rows).astype(np.int32)

    def lane(index: int) -> Lane:
        data = ReplicateData(*part(ROWS), *part(ROWS // 10), *part(ROWS // 3))
        return Lane(architecture=architecture, slot=0, replicate=index, data=data, streams=Streams.of(0, 0, index))

    protocol = EvaluationSpec(max_epochs=EPOCHS + 1, patience=EPOCHS + 1)
    ends: list[float] = []
    fit_stack(
        backend,
        [lane(index) for index in range(stack)],
        Head("softmax", CLASSES),
        protocol,
        on_epoch=lambda epoch, loss: ends.append(time.perf_counter()),
    )
    return (ends[-1] - ends[0]) / EPOCHS


if __name__ == "__main__":
    main()
