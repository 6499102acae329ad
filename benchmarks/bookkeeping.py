"""What bookkeeping costs: commits and milliseconds per trial, beside stock Optuna, and how long asking takes.

    python benchmarks/bookkeeping.py [--earlier 0 1000 10000] [--trials 40] [--only sqlite]

A trial of ours has 5 replicates of 30 epochs: claim with a fixed proposal, finish. Stock Optuna's: ask with six
parameters and a random sampler, 30 reports, tell. Both in one process, after as many earlier trials of the same study
in the same database; medians, with fsync as the server is set up. Asking is a real proposal by TPE with the
trials that other workers have finished read before it. Databases are made and dropped; a server that does not answer
is left out.
"""

import argparse
import math
import os
import secrets
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
import sqlalchemy as sa
from hpo_spaces import load_space
from hpo_storage import studies
from hpo_storage import tables as ours
from hpo_storage.database import Database, connect, now, upgrade
from hpo_storage.records import Outcome, ReplicateRecord
from hpo_storage.slots import SlotOffer, claim, finish, pack_curve
from hpo_storage.workers import start_worker
from optuna.distributions import FloatDistribution
from optuna.storages._rdb import models
from optuna.trial import TrialState

from hpo.search.samplers import Proposer

SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/test",
    "mariadb": "mysql+pymysql://root@127.0.0.1:3306/test",
}
EPOCHS, REPLICATES = 30, 5
DISTRIBUTIONS = {f"x{index}": FloatDistribution(0.0, 1.0) for index in range(6)}
POINT = dict.fromkeys(DISTRIBUTIONS, 0.5)
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
BATCH = 1000


@dataclass(frozen=True)
class Cost:
    """Of one trial."""

    commits: float
    milliseconds: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--earlier", type=int, nargs="+", default=[0, 1000, 10_000])
    arguments.add_argument("--trials", type=int, default=40, help="measured, after two that are not")
    arguments.add_argument("--only", choices=["sqlite", *SERVERS])
    options = arguments.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    heads = ("ours, commits", "ours, ms", "stock, commits", "stock, ms", "ratio", "ask, ms")
    print(f"{'database':12}{'earlier':>8}" + "".join(f"{head:>16}" for head in heads))
    for backend in [options.only] if options.only else ["sqlite", *SERVERS]:
        for earlier in options.earlier:
            with own_database(backend) as url:
                if url is None:
                    print(f"{backend:12} no server answers")
                    break
                report(backend, url, earlier, options.trials)


def report(backend: str, url: str, earlier: int, trials: int) -> None:
    database = connect(url)
    upgrade(database)
    own, stock = measure_ours(database, earlier, trials), measure_stock(database, earlier, trials)
    ask = measure_asking(database, earlier)
    database.close()
    ratio = own.milliseconds / stock.milliseconds
    cells = [f"{own.commits:.0f}", f"{own.milliseconds:.1f}", f"{stock.commits:.0f}", f"{stock.milliseconds:.1f}"]
    cells += [f"{ratio:.3f}", f"{ask:.1f}"]
    print(f"{backend:12}{earlier:>8}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def measure_ours(database: Database, earlier: int, trials: int) -> Cost:
    study_id = studies.create_study(database, "ours", {}, {}, {}, earlier + trials + 2)
    worker_id = start_worker(database, study_id, host=socket.gethostname(), pid=os.getpid())
    fill(database, study_id, worker_id, earlier)

    def one() -> None:
        claimed = claim(database, study_id, worker_id, propose, DISTRIBUTIONS)
        if claimed is None:
            raise RuntimeError("there must be a slot for every trial")
        finish(database, claimed, OUTCOME)

    return cost(one, database.engine, trials)


def propose(offer: SlotOffer) -> dict[str, float]:
    return POINT


def measure_stock(database: Database, earlier: int, trials: int) -> Cost:
    storage = optuna.storages.RDBStorage(database.engine.url.render_as_string(hide_password=False))
    study = optuna.create_study(storage=storage, study_name="stock", sampler=optuna.samplers.RandomSampler(0))
    with database.begin_write() as connection:
        fill_optuna(connection, study._study_id, earlier, DISTRIBUTIONS)

    def one() -> None:
        trial = study.ask()
        for name in DISTRIBUTIONS:
            trial.suggest_float(name, 0.0, 1.0)
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


def measure_asking(database: Database, earlier: int) -> float:
    """Milliseconds of a proposal, with the trials finished since the last one."""
    space = load_space("mlp")
    proposer = Proposer("tpe", 0, space)
    points = [Proposer("random", 0, space).propose(slot) for slot in range(200)]
    study_id = studies.create_study(database, "asked", {}, {}, {}, earlier + 100)
    worker_id = start_worker(database, study_id, host=socket.gethostname(), pid=os.getpid())
    fill(database, study_id, worker_id, earlier)
    seen, after = studies.finished_since(database, study_id, -1)
    for trial in seen:
        proposer.observe(trial.number, points[trial.number % len(points)], trial)
    times = []
    for slot in range(20):
        claimed = claim(database, study_id, worker_id, propose, DISTRIBUTIONS)
        if claimed is None:
            raise RuntimeError("there must be a slot for every trial")
        finish(database, claimed, OUTCOME)
        start = time.perf_counter()
        news, after = studies.finished_since(database, study_id, after)
        for trial in news:
            proposer.observe(trial.number, points[trial.number % len(points)], trial)
        proposer.propose(earlier + slot + 100, points[:8])
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def fill(database: Database, study_id: int, worker_id: str, count: int) -> None:
    """Finish the first `count` slots without claiming them one by one."""
    with database.begin_write() as connection:
        time_now = now(connection)
        trial_ids = fill_optuna(connection, study_id, count, DISTRIBUTIONS)
        query = sa.select(ours.SLOTS.c.id).where(ours.SLOTS.c.study_id == study_id).order_by(ours.SLOTS.c.number)
        slot_ids = list(connection.scalars(query))[:count]
        done = ours.SLOTS.update().where(ours.SLOTS.c.id == sa.bindparam("slot"))
        done = done.values(state="complete", attempts=1, params=POINT, trial_id=sa.bindparam("trial"))
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
                    "stop_loss": replicate.stop_loss,
                    "score_loss": replicate.score_loss,
                    "best_epoch": replicate.best_epoch,
                    "seconds": replicate.seconds,
                    "curve": pack_curve(replicate.curve),
                }
                for replicate in OUTCOME.replicates
            ]
        pairs = [{"slot": slot, "trial": trial} for slot, trial in zip(slot_ids, trial_ids, strict=True)]
        for statement, rows in (
            (done, pairs),
            (ours.TRIALS.insert(), trials),
            (ours.REPLICATES.insert(), replicates),
        ):
            in_batches(connection, statement, rows)
        if database.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")  # as the server itself does within a minute or so


def fill_optuna(
    connection: sa.Connection, study_id: int, count: int, distributions: dict[str, FloatDistribution]
) -> list[int]:
    """Complete trials in Optuna's tables, and their ids."""
    trials = models.TrialModel.__table__
    rows = [{"study_id": study_id, "number": number, "state": TrialState.COMPLETE} for number in range(count)]
    in_batches(connection, trials.insert(), rows)
    query = sa.select(trials.c.trial_id).where(trials.c.study_id == study_id).order_by(trials.c.trial_id)
    ids = list(connection.scalars(query))
    text = optuna.distributions.distribution_to_json(next(iter(distributions.values())))
    in_batches(
        connection,
        models.TrialParamModel.__table__.insert(),
        [
            {"trial_id": trial_id, "param_name": name, "param_value": 0.5, "distribution_json": text}
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
