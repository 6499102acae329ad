"""Where the time of a trial goes: training, tracing, host work, transfer, sampling, storage.

    python benchmarks/profile_trials.py --table vehicle.csv --trials 40 --space mlp_wide --backend jax

One process plays supervisor and trainer on a real SQLite file, without racing and pruning, with random points of a
space; with `--search` as in a study: its sampler's points, raced and pruned. With JAX, tracing and compiling are timed
by its own clock. All programs are compiled anew, unless XDG_CACHE_HOME names a folder: then those of an earlier run
with that folder are found there.
"""

import argparse
import json
import operator
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS="1")

SECONDS: dict[str, float] = defaultdict(float)


def timed(owner: Any, name: str, label: str) -> None:  # noqa: ANN401
    """Add the time of the owner's function to the label."""
    function = getattr(owner, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            SECONDS[label] += time.perf_counter() - start

    setattr(owner, name, wrapper)


def clock_jax() -> None:
    """Add up what JAX spends on compilation."""
    import jax

    def listen(event: str, seconds: float, **_: object) -> None:
        if event.startswith("/jax/core/compile"):
            SECONDS["compiling"] += seconds

    jax.monitoring.register_event_duration_secs_listener(listen)


def clock_tensorflow() -> None:
    """Take what a program's first run takes longer than its second for compilation: both train an epoch."""
    from hpo.engine.backend.tensorflow import GeneralProgram
    from hpo.engine.backend.tensorflow_fused import FusedProgram

    runs: dict[Any, int] = defaultdict(int)

    def clocked(run: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(program: Any, *args: Any) -> Any:  # noqa: ANN401
            start = time.perf_counter()
            result = run(program, *args)
            seconds = time.perf_counter() - start
            runs[program] += 1
            SECONDS["compiling" if runs[program] == 1 else "training"] += seconds
            if runs[program] == 2:
                SECONDS["compiling"] -= seconds
                SECONDS["training"] += seconds
            return result

        return wrapper

    for program in (FusedProgram, GeneralProgram):
        program.run = clocked(program.run)
        for name in ("start", "hold", "weights"):
            timed(program, name, "transfer (weights, rows)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--target", default="target")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--space", default="mlp")
    parser.add_argument("--backend", default="tensorflow", choices=("tensorflow", "jax"))
    parser.add_argument("--search", action="store_true", help="propose, race and prune as a study does")
    options = parser.parse_args()
    from hpo.machine import trainer_environment

    os.environ.update(trainer_environment(options.backend))
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("XDG_CACHE_HOME", folder)
        profile(options)


def profile(options: argparse.Namespace) -> None:
    """Run the trials and print where their time went."""
    from hpo_spaces import load_space
    from hpo_storage import slots, studies, workers
    from hpo_storage.database import connect, upgrade
    from hpo_storage.records import Outcome
    from points import prepare

    from hpo.engine.backend.load import load_backend
    from hpo.evaluation import trial
    from hpo.evaluation.job import Job
    from hpo.losses import Head
    from hpo.search.rules import Rules
    from hpo.search.samplers import Proposer
    from hpo.settings import EvaluationSpec
    from hpo.study.resolve import request, resolve

    backend, space = load_backend(options.backend), load_space(options.space)
    clock_jax() if options.backend == "jax" else clock_tensorflow()
    timed(Proposer, "propose", "sampling")
    timed(slots, "claim", "storage, with sampling")
    timed(slots, "finish", "storage, with sampling")
    with tempfile.TemporaryDirectory() as folder:
        table = prepare(options.table, options.target, 0, Path(folder))
        db = connect(f"sqlite:///{folder}/hpo.db")
        upgrade(db)
        study = studies.create_study(db, "profile", {}, {"replicates": 5}, {}, options.trials)
        worker = workers.start_worker(db, study, host="here", pid=os.getpid())
        proposer = Proposer("tpe" if options.search else "random", 0, space)
        study_settings = {"data": options.table, "target": options.target, "space": options.space}
        leaderboard = resolve(request("profile", **study_settings)).leaderboard()
        started = time.perf_counter()
        for _ in range(options.trials):
            claim = slots.claim(
                db,
                study,
                worker,
                lambda offer: proposer.propose(offer.slot, offer.pending),
                space.distributions(),
            )
            assert claim is not None
            job = Job(
                slot=claim.slot,
                seed=0,
                architecture=space.architecture(claim.params),
                evaluation=EvaluationSpec(),
                rules=leaderboard.rules(claim.slot) if options.search else Rules(),
            )
            start = time.perf_counter()
            job = Job.from_json(json.loads(json.dumps(job.to_json())))
            outcome: Outcome = trial.evaluate(job, table.replicates, Head(table.head, table.outputs), backend)
            SECONDS["trial"] += time.perf_counter() - start
            proposer.observe(claim.number, claim.params, outcome)
            leaderboard.add(claim.number, outcome)
            slots.finish(db, claim, outcome)
        whole = time.perf_counter() - started
        db.close()
    SECONDS["storage"] = SECONDS.pop("storage, with sampling") - SECONDS["sampling"]
    rest = "training and host" if options.backend == "jax" else "host (order, random bits, losses, weights)"
    SECONDS[rest] = SECONDS.pop("trial") - sum(
        SECONDS[part] for part in ("training", "compiling", "transfer (weights, rows)")
    )
    points = "trials of a study" if options.search else "random trials"
    print(f"{options.table.stem}: {options.trials} {points}, {whole:.1f} s, {backend.traces} traces")
    for label, seconds in sorted(filter(operator.itemgetter(1), SECONDS.items()), key=lambda item: -item[1]):
        print(f"  {label:45}{seconds / whole:7.1%}{seconds / options.trials * 1e3:9.1f} ms a trial")


if __name__ == "__main__":
    main()
