"""How much a trainer's memory grows over many trials, and how often it traces.

    python benchmarks/memory.py --trials 300

Random points of a space on the built-in digits, two epochs each, in one process; twice the same points: the first time
programs are compiled, for `mlp` one for each depth and activation that occurs, the second time nothing should grow.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS="1", KERAS_BACKEND="tensorflow")


def resident_megabytes() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--space", default="mlp")
    options = parser.parse_args()
    from hpo.data.prepare import prepare
    from hpo.data.prepared import open_replicate
    from hpo.evaluation.job import Job
    from hpo.evaluation.objective import Head, evaluate
    from hpo.seeds import generator
    from hpo.study.spec import EvaluationSpec
    from hpo.training.backend.load import load_backend
    from hpo.training.kind import kind_of
    from hpo.worker.trainer import TRIM_EVERY, give_memory_back
    from search_spaces import load_space

    space = load_space(options.space)
    evaluation = EvaluationSpec(max_epochs=2, replicates=3)
    kinds = set()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("XDG_CACHE_HOME", folder)  # compiled programs are not those of earlier runs
        backend = load_backend("tensorflow")
        data = {"kind": "builtin", "source": "digits", "target": "target", "sha256": ""}
        request = {"data": data, "evaluation": evaluation.model_dump(), "seed": 0, "folder": folder, "copy": None}
        facts = prepare(request)
        replicates = [open_replicate(Path(folder), r) for r in range(3)]
        for number in range(2 * options.trials + 1):
            trial = number % options.trials
            if number % TRIM_EVERY == 0:
                give_memory_back()
            if number % options.every == 0:
                print(
                    f"{number:5} trials: {resident_megabytes():7.0f} MB, {backend.traces} traces of {len(kinds)} kinds",
                    flush=True,
                )
            params = space.decode(generator(0, "sample", slot=trial).random(space.size))
            architecture = space.architecture(params)
            kinds.add(kind_of([architecture], facts["head"]))
            job = Job(slot=trial, seed=0, architecture=architecture, evaluation=evaluation)
            evaluate(job, replicates, Head(facts["head"], facts["outputs"]), backend)


if __name__ == "__main__":
    main()
