"""How much a trainer's memory grows over many trials, and how often it compiles.

    python benchmarks/memory.py --trials 300
    python benchmarks/memory.py --trials 1000 --space mlp_wide

Random points of a space on the built-in digits, two epochs each, sent to a real trainer; its memory is read when a
trial has ended and is that of the trainer and its fork, pages of both counted once (Linux). Programs are compiled for a
cache that is empty at the start.
"""

import argparse
import contextlib
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hpo_spaces import load_space

from hpo.data.prepare import prepare
from hpo.declaration import to_json
from hpo.evaluation.job import Job
from hpo.machine import trainer_environment
from hpo.seeds import generator
from hpo.settings import EvaluationSpec
from hpo.worker.child import Child, wait_for_output

REPLICATES = 3
PROGRAMS = {"tensorflow": "tensorflow/*", "jax": "xla/*-cache"}
"""The files of compiled programs; JAX keeps those that took it long."""


def megabytes(process: int) -> float:
    """Memory of a process and its children: of a page that several hold, each has its share."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text("ascii").split()
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text("ascii")
    return int(re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)[1]) / 1000 + sum(megabytes(int(c)) for c in children)


def jobs(space_name: str, trials: int) -> Iterator[Job]:
    space = load_space(space_name)
    evaluation = EvaluationSpec(max_epochs=2, replicates=REPLICATES)
    for slot in range(trials):
        architecture = space.architecture(space.decode(generator(0, "sample", slot=slot).random(space.size)))
        yield Job(slot=slot, seed=0, architecture=architecture, evaluation=evaluation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--space", default="mlp")
    parser.add_argument("--backend", choices=("tensorflow", "jax"), default="tensorflow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        data = {"kind": "builtin", "source": "digits", "target": "target", "sha256": ""}
        evaluation = to_json(EvaluationSpec(replicates=REPLICATES))
        prepare({"data": data, "evaluation": evaluation, "seed": 0, "folder": folder, "copy": None})
        trainer = Child("hpo.trainer.main", trainer_environment(options.backend))
        trainer.send({"open": folder})
        held, started = [], time.monotonic()
        for job in jobs(options.space, options.trials):
            trainer.send({"train": [job.to_json()]})
            ended, now = False, 0.0
            while not ended:
                wait_for_output([trainer], 0.02)
                messages = trainer.messages()
                if trainer.closed or any("error" in message for message in messages):
                    raise SystemExit(f"the trainer failed: {messages} {trainer.errors()}")
                ended = any("slot" in message for message in messages)
                # A fork that has just ended is taken to have held what it held before.
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    now = megabytes(trainer.process_id)
            held.append(now)
            if len(held) % options.every == 0:
                block = held[-options.every :]
                programs = sum(1 for _ in Path(folder, "hpo").glob(PROGRAMS[options.backend]))
                seconds, mean = time.monotonic() - started, statistics.fmean(block)
                print(
                    f"{len(held):5} trials, {seconds:4.0f} s: {min(block):5.0f} to {max(block):5.0f} MB, "
                    f"{mean:5.0f} on average; {programs} programs",
                    flush=True,
                )
        print(f"growth since the first trial: {max(held) - held[0]:.0f} MB at most")
        trainer.kill()


if __name__ == "__main__":
    main()
