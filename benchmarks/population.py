"""Trials per second when many trials train in one stack, beside plain Keras on the same backend and machine.

    python benchmarks/population.py --backend jax [--populations 1 8 64 256] [--early-stopping] [--units 500] [--cpu]

Random points of the space `mlp` on the digits data, 5 replicates a trial, a fixed number of epochs (or early stopping
as in a study). Plain Keras fits the same replicates of the first few of the points one after another, for as many
epochs. Other points as many come first and are not counted, so that compilers are warm; what compiles again for each
population stays in its time. Live lanes are those that still train, as a share of the lanes that are trained: the rest
waits for its neighbours, or has failed.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from hpo.machine import has_gpu, trainer_environment

REPLICATES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["jax", "tensorflow"], default="jax")
    parser.add_argument("--populations", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--early-stopping", action="store_true", help="200 epochs and patience 10 instead")
    parser.add_argument("--units", type=int, default=500, help="of the space's widest first layer")
    parser.add_argument("--keras-trials", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true", help="run without a GPU too")
    options = parser.parse_args()
    if not (options.cpu or (options.backend == "jax" and has_gpu())):
        print(f"skipped: {options.backend} has no GPU here; --cpu measures the processor")
        return
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    os.environ.update({**quiet, **trainer_environment(options.backend)})
    from hpo.engine.backend.load import load_backend

    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("XDG_CACHE_HOME", folder)  # compiled programs are not those of earlier runs
        backend = Counting(load_backend(options.backend))
        print(f"{options.backend} on {device(options.backend)}")
        measure(options, backend, *prepared(Path(folder), options))


def device(backend: str) -> str:
    """What trains, by its own name."""
    if backend == "jax":
        import jax

        return str(jax.devices()[0].device_kind)
    return "one thread of the processor"


def prepared(folder: Path, options: argparse.Namespace):  # noqa: ANN201
    """The replicates of a study of the digits data, and its networks' head."""
    from points import prepare
    from sklearn.datasets import load_digits

    from hpo.losses import Head

    table = folder / "digits.csv"
    load_digits(as_frame=True).frame.to_csv(table, index=False)
    data = prepare(table, "target", options.seed, folder)
    return data.replicates[:REPLICATES], Head(data.head, data.outputs)


class Counting:
    """A backend that counts the rows trained, of all lanes, finished ones too."""

    def __init__(self, backend) -> None:  # noqa: ANN001
        self._backend, self.rows = backend, 0

    def __getattr__(self, name: str):  # noqa: ANN204
        return getattr(self._backend, name)

    def program(self, kind):  # noqa: ANN001, ANN201
        """A program whose rows are counted."""
        return CountingProgram(self._backend.program(kind), self)


class CountingProgram:
    """A program that tells its backend of the rows it trains."""

    def __init__(self, program, backend: Counting) -> None:  # noqa: ANN001
        self._program, self._backend = program, backend

    def __getattr__(self, name: str):  # noqa: ANN204
        return getattr(self._program, name)

    def run(self, epoch):  # noqa: ANN001, ANN201
        """Train an epoch, or a part of one."""
        self._backend.rows += epoch.order.size
        return self._program.run(epoch)


def protocol(options: argparse.Namespace):  # noqa: ANN201
    from hpo.settings import EvaluationSpec

    return EvaluationSpec() if options.early_stopping else EvaluationSpec(max_epochs=options.epochs, patience=999)


def jobs_of(count: int, options: argparse.Namespace, seed: int):  # noqa: ANN201
    """Random points of the space; no race and no pruning, as there is nothing to compare with."""
    from hpo_spaces.mlp import mlp_space
    from points import random_points

    from hpo.evaluation.job import Job

    space = mlp_space(options.units)
    return [
        Job(slot=slot, seed=seed, architecture=space.architecture(point.params), evaluation=protocol(options))
        for slot, point in enumerate(random_points(space, count, seed))
    ]


def measure(options: argparse.Namespace, backend: Counting, data, head) -> None:  # noqa: ANN001
    slow = keras_rate(jobs_of(options.keras_trials, options, options.seed), data, head)
    print(
        f"{'trials':>8}{'seconds':>10}{'trials/s':>10}{'of Keras':>10}{'live lanes':>12}{'compiled':>10}{'failed':>8}"
    )
    print(f"{'Keras':>8}{options.keras_trials / slow:10.1f}{slow:10.3f}{1:9.1f}x", flush=True)
    for count in options.populations:
        population(jobs_of(count, options, options.seed + 1), data, head, backend)
        traces, backend.rows = backend.traces, 0
        start = time.perf_counter()
        outcomes = population(jobs_of(count, options, options.seed), data, head, backend)
        seconds = time.perf_counter() - start
        live = sum(len(r.curve) * len(data[r.index].train_y) for o in outcomes for r in o.replicates)
        failed = sum(outcome.state == "failed" for outcome in outcomes)
        print(
            f"{count:8}{seconds:10.1f}{count / seconds:10.3f}{count / seconds / slow:9.1f}x"
            f"{live / backend.rows:12.0%}{backend.traces - traces:10}{failed:8}",
            flush=True,
        )


def population(jobs, data, head, backend: Counting):  # noqa: ANN001, ANN201
    """Outcomes of all jobs; a single one as a trainer trains it."""
    from hpo.evaluation.population import evaluate_population
    from hpo.evaluation.trial import evaluate
    from hpo.machine import stack_memory

    if len(jobs) == 1:
        return [evaluate(jobs[0], data, head, backend)]
    outcomes = []
    memory = stack_memory(os.environ["KERAS_BACKEND"])
    evaluate_population(jobs, data, head, backend, memory, lambda slot, outcome: outcomes.append(outcome))
    return outcomes


def keras_rate(jobs, data, head) -> float:  # noqa: ANN001
    """Trials per second of plain Keras, each replicate a model and a `fit` of its own."""
    import keras

    from hpo.network.keras_model import build_keras_model, compile_keras_model

    start = time.perf_counter()
    for job in jobs:
        stopping = keras.callbacks.EarlyStopping(
            patience=job.evaluation.patience, min_delta=job.evaluation.min_delta, restore_best_weights=True
        )
        for replicate in data:
            keras.backend.clear_session()
            model = build_keras_model(job.architecture, replicate.train_x.shape[1], head.outputs, job.seed)
            compile_keras_model(model, job.architecture)
            model.fit(
                replicate.train_x,
                replicate.train_y,
                validation_data=(replicate.stop_x, replicate.stop_y),
                batch_size=job.architecture.batch_size,
                epochs=job.evaluation.max_epochs,
                callbacks=[stopping],
                verbose=0,
            )
            model.predict(replicate.score_x, verbose=0)
    return len(jobs) / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
