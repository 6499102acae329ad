"""What bookkeeping costs in studies of any size, beside stock Optuna.

    python benchmarks/bookkeeping.py [--earlier 0 1000 20000 100000] [--budgets 300 100000 1000000] [--trials 40]
        [--only sqlite]

A trial of ours has 5 replicates of 30 epochs. Stock Optuna's, in small studies only: ask with six parameters and a
random sampler, 30 reports, tell. After as many earlier trials of the same study:

* `hpo`, beside `stock`: commits and milliseconds of claim, with a fixed proposal, and finish; medians
* `worker`: milliseconds of all that a worker does for a trial (look, claim, rules, look, tell), on average, without
  what the sampler takes to propose, which is `TPE`; CPU time is that of this process, without the server
* `start`: seconds of a worker's start: register, history, first claim
* `run`: seconds and megabytes of an `hpo run` that adds 20 trials of no length, beyond those of one of an empty study

Then the seconds to create a study with each budget, and claims a second in it. With fsync as the server is set up.
Databases are made and dropped; a server that does not answer is left out.
"""

import argparse
import math
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import optuna
import sqlalchemy as sa
from hpo_spaces import load_space
from hpo_storage import studies
from hpo_storage import tables as ours
from hpo_storage.checks import broken_rules
from hpo_storage.database import Database, connect, now, upgrade
from hpo_storage.records import Outcome, ReplicateRecord
from hpo_storage.slots import SlotOffer, claim, finish, pack_curve
from hpo_storage.workers import start_worker, stop_worker
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages._rdb import models
from optuna.trial import TrialState

from hpo.search.advisor import Advisor
from hpo.search.incumbent import Leaderboard
from hpo.search.samplers import Proposer
from hpo.settings import SearchSpec, Work
from hpo.study import lifecycle
from hpo.study.resolve import request, resolve

SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/test",
    "mariadb": "mysql+pymysql://root@127.0.0.1:3306/test",
}
EPOCHS, REPLICATES = 30, 5
MLP = load_space("mlp")
DISTRIBUTIONS = MLP.distributions()
POINT = MLP.decode([0.5] * MLP.size)
MOST_STOCK = 1000
ROOM = 4
OUTCOME = Outcome(
    state="complete",
    value=0.5,
    standard_error=0.01,
    info={"parameters": 12345, "widths": [100, 50]},
    replicates=tuple(
        ReplicateRecord(
            index=index,
            stop_loss=0.5,
            score_loss=0.5,
            best_epoch=20,
            seconds=0.5,
            curve=tuple(1 / (1 + epoch) for epoch in range(EPOCHS)),
        )
        for index in range(REPLICATES)
    ),
)
CURVE = pack_curve(OUTCOME.replicates[0].curve)
BATCH = 1000
P, R = ParamSpec("P"), TypeVar("R")


@dataclass(frozen=True)
class Cost:
    """Of one trial."""

    commits: float
    milliseconds: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--earlier", type=int, nargs="*", default=[0, 1000, 20_000, 100_000])
    arguments.add_argument("--budgets", type=int, nargs="*", default=[300, 100_000, 1_000_000])
    arguments.add_argument("--trials", type=int, default=40, help="measured, after two that are not")
    arguments.add_argument("--only", choices=["sqlite", *SERVERS])
    options = arguments.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for backend in [options.only] if options.only else ["sqlite", *SERVERS]:
        with own_database(backend) as url:
            if url is None:
                print(f"{backend:12} no server answers")
                continue
        for earlier in options.earlier:
            with own_database(backend) as url:
                show(backend, "earlier", earlier, of_earlier(str(url), earlier, options.trials))
        for budget in options.budgets:
            with own_database(backend) as url:
                show(backend, "budget", budget, of_budget(str(url), budget, options.trials))


def show(backend: str, what: str, size: int, found: dict[str, float]) -> None:
    print(f"{backend:12}{what} {size:>9,}: " + ", ".join(f"{n} {x:.3g}" for n, x in found.items()), flush=True)


def of_earlier(url: str, earlier: int, trials: int) -> dict[str, float]:
    database = connect(url)
    upgrade(database)
    study_id = make_study(database, "long", earlier + 2 * trials + ROOM)
    worker_id = start_worker(database, study_id, host=socket.gethostname(), pid=os.getpid())
    fill(database, study_id, worker_id, earlier)
    own = measure_ours(database, study_id, worker_id, trials)
    found = {"hpo commits": own.commits, "hpo ms": own.milliseconds}
    if earlier <= MOST_STOCK:
        stock = measure_stock(database, earlier, trials)
        found |= {"stock commits": stock.commits, "stock ms": stock.milliseconds}
    found |= measure_worker(database, study_id, trials)
    stop_worker(database, worker_id)
    if broken := broken_rules(database):
        raise RuntimeError(broken)
    make_study(database, "empty", 1)
    empty, long = run_more(url, "empty", 20), run_more(url, "long", earlier + 2 * trials + ROOM + 16)
    database.close()
    return found | {name: long[name] - empty[name] for name in long}


def make_study(database: Database, name: str, budget: int) -> int:
    study = resolve(request(name, trials=budget, objective="synthetic", replicates=REPLICATES))
    return lifecycle.create(database, study, {"replicates": REPLICATES}, {}, Work(trials=budget))


def of_budget(url: str, budget: int, trials: int) -> dict[str, float]:
    database = connect(url)
    upgrade(database)
    start = time.perf_counter()
    study_id = studies.create_study(database, "budget", {}, {}, {}, budget)
    created = time.perf_counter() - start
    worker_id = start_worker(database, study_id, host=socket.gethostname(), pid=os.getpid())
    start = time.perf_counter()
    for _ in range(trials):
        if claim(database, study_id, worker_id, propose, DISTRIBUTIONS) is None:
            raise RuntimeError("there must be a slot for every trial")
    claims = trials / (time.perf_counter() - start)
    database.close()
    return {"create s": created, "claims a second": claims}


def measure_worker(database: Database, study_id: int, trials: int) -> dict[str, float]:
    proposing, start = Clock(), Clock()
    with start:
        worker_id = start_worker(database, study_id, host=socket.gethostname(), pid=os.getpid(), role="worker")
        advisor = Advisor(database, study_id, worker_id, MLP, SearchSpec(), Leaderboard(SearchSpec()))
        first = advisor.ask()
    if first is not None:
        advisor.give_back(first, None, counts=False)
    advisor._proposer.propose = timed(advisor._proposer.propose, proposing)  # type: ignore[method-assign]
    work = Clock()
    with work:
        for _ in range(trials):
            advisor.look()
            claimed = advisor.ask()
            if claimed is None:
                raise RuntimeError("there must be a slot for every trial")
            advisor.history.rules(claimed.slot)
            advisor.look()
            advisor.tell(claimed, OUTCOME)
    stop_worker(database, worker_id)
    return {
        "worker ms": 1000 * (work.seconds - proposing.seconds) / trials,
        "worker CPU ms": 1000 * (work.cpu - proposing.cpu) / trials,
        "TPE CPU ms": 1000 * proposing.cpu / trials,
        "start s": start.seconds,
        "start CPU s": start.cpu,
    }


class Clock:
    """Adds up what its blocks take: seconds, and seconds of this process on a CPU."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0

    def __enter__(self) -> None:
        self.seconds -= time.perf_counter()
        self.cpu -= time.process_time()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter()
        self.cpu += time.process_time()


def timed(function: Callable[P, R], clock: Clock) -> Callable[P, R]:
    """The same, timed."""

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with clock:
            return function(*args, **kwargs)

    return call


def run_more(url: str, study: str, budget: int) -> dict[str, float]:
    """What an `hpo run` takes."""
    words = ["run", "--study", study, "--trials", str(budget), "--trainers", "1", "--no-report"]
    environment = {**os.environ, "HPO_STORAGE": url}
    # Started by a small process: a child's greatest memory is at first that of the one that forked it.
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    code += "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    code += "print(used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)"
    begun = time.perf_counter()
    command = [sys.executable, "-c", code, sys.executable, "-m", "hpo.cli.main", *words]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    megabytes, cpu = map(float, done.stdout.split())
    return {"run s": time.perf_counter() - begun, "run CPU s": cpu, "run MB": megabytes}


def measure_ours(database: Database, study_id: int, worker_id: str, trials: int) -> Cost:
    def one() -> None:
        claimed = claim(database, study_id, worker_id, propose, DISTRIBUTIONS)
        if claimed is None:
            raise RuntimeError("there must be a slot for every trial")
        finish(database, claimed, OUTCOME)

    return cost(one, database.engine, trials)


def propose(offer: SlotOffer) -> dict[str, Any]:
    return POINT


def measure_stock(database: Database, earlier: int, trials: int) -> Cost:
    storage = optuna.storages.RDBStorage(database.engine.url.render_as_string(hide_password=False))
    study = optuna.create_study(storage=storage, study_name="stock", sampler=optuna.samplers.RandomSampler(0))
    with database.begin_write() as connection:
        fill_optuna(connection, study._study_id, earlier, {f"x{n}": FloatDistribution(0.0, 1.0) for n in range(6)})

    def one() -> None:
        trial = study.ask()
        for number in range(6):
            trial.suggest_float(f"x{number}", 0.0, 1.0)
        for epoch in range(EPOCHS):
            trial.report(1 / (1 + epoch), epoch)
        study.tell(trial, 0.5)

    measured = cost(one, storage.engine, trials)
    storage.engine.dispose()
    return measured


def cost(one: Callable[[], None], engine: sa.Engine, trials: int) -> Cost:
    for _ in range(2):
        one()
    commits: list[object] = []
    count = commits.append
    sa.event.listen(engine, "commit", count)
    times = []
    for _ in range(trials):
        start = time.perf_counter()
        one()
        times.append(time.perf_counter() - start)
    sa.event.remove(engine, "commit", count)
    return Cost(len(commits) / trials, 1000 * statistics.median(times))


def fill(database: Database, study_id: int, worker_id: str, count: int) -> None:
    """Finish the first `count` slots without claiming them one by one; points differ."""
    random = Proposer("random", 0, MLP)
    points = [random.propose(slot) for slot in range(min(count, 200))]
    with database.begin_write() as connection:
        time_now = now(connection)
        trial_ids = fill_optuna(connection, study_id, count, DISTRIBUTIONS)
        slots = [
            {
                "study_id": study_id,
                "purpose": "trial",
                "number": number,
                "state": "complete",
                "params": points[number % len(points)],
                "attempts": 1,
                "failures": 0,
                "trial_id": trial_id,
                "seconds": 1.0,
            }
            for number, trial_id in enumerate(trial_ids)
        ]
        in_batches(connection, ours.SLOTS.insert(), slots)
        query = sa.select(ours.SLOTS.c.id).where(ours.SLOTS.c.study_id == study_id).order_by(ours.SLOTS.c.number)
        slot_ids = list(connection.scalars(query))
        trials, replicates = [], []
        for number, (slot_id, trial_id) in enumerate(zip(slot_ids, trial_ids, strict=True)):
            trials.append(
                {
                    "id": trial_id,
                    "slot_id": slot_id,
                    "attempt": 1,
                    "number": number,
                    "state": "complete",
                    "value": loss(number),
                    "info": OUTCOME.info,
                    "worker_id": worker_id,
                    "trainer": 0,
                    "started": time_now,
                    "finished": time_now,
                }
            )
            replicates += [
                {
                    "trial_id": trial_id,
                    "replicate": replicate.index,
                    "stop_loss": loss(number + replicate.index),
                    "score_loss": loss(number + replicate.index),
                    "best_epoch": replicate.best_epoch,
                    "seconds": replicate.seconds,
                    "curve": CURVE,
                }
                for replicate in OUTCOME.replicates
            ]
        in_batches(connection, ours.TRIALS.insert(), trials)
        in_batches(connection, ours.REPLICATES.insert(), replicates)
    if database.engine.dialect.name == "postgresql":
        with database.begin_write() as connection:
            connection.exec_driver_sql("ANALYZE")  # as the server itself does within a minute or so


def fill_optuna(
    connection: sa.Connection, study_id: int, count: int, distributions: Mapping[str, BaseDistribution]
) -> list[int]:
    """Complete trials in Optuna's tables, and their ids."""
    trials = models.TrialModel.__table__
    rows = [{"study_id": study_id, "number": number, "state": TrialState.COMPLETE} for number in range(count)]
    in_batches(connection, trials.insert(), rows)
    query = sa.select(trials.c.trial_id).where(trials.c.study_id == study_id).order_by(trials.c.trial_id)
    ids = list(connection.scalars(query))
    texts = {name: optuna.distributions.distribution_to_json(one) for name, one in distributions.items()}
    in_batches(
        connection,
        models.TrialParamModel.__table__.insert(),
        [
            {"trial_id": trial_id, "param_name": name, "param_value": 0.5, "distribution_json": texts[name]}
            for trial_id in ids
            for name in distributions
        ],
    )
    finite = models.TrialValueModel.TrialValueType.FINITE
    in_batches(
        connection,
        models.TrialValueModel.__table__.insert(),
        [
            {"trial_id": trial_id, "objective": 0, "value": loss(number), "value_type": finite}
            for number, trial_id in enumerate(ids)
        ],
    )
    finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    in_batches(
        connection,
        models.TrialIntermediateValueModel.__table__.insert(),
        [
            {"trial_id": trial_id, "step": step, "intermediate_value": 0.5, "intermediate_value_type": finite}
            for trial_id in ids
            for step in range(REPLICATES)
        ],
    )
    return ids


def loss(number: int) -> float:
    return 0.5 + 0.1 * math.sin(number)


def in_batches(connection: sa.Connection, statement: sa.Executable, rows: list[dict[str, object]]) -> None:
    for start in range(0, len(rows), BATCH):
        connection.execute(statement, rows[start : start + BATCH])


@contextmanager
def own_database(backend: str) -> Iterator[str | None]:
    """The URL of a database of our own; None where no server answers."""
    if backend == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'hpo.db'}"
        return
    name = f"hpo_{secrets.token_hex(6)}"
    engine = sa.create_engine(SERVERS[backend], isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except sa.exc.OperationalError:
        yield None
        return
    try:
        yield engine.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}" + " WITH (FORCE)" * (backend == "postgresql"))
        engine.dispose()


if __name__ == "__main__":
    main()
