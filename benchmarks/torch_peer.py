"""What a good user would write today with PyTorch and Optuna: a plain training loop per replicate, data in memory.

`compare.py` starts it with the Python of a virtual environment of its own, since PyTorch is no part of hpo:

    python -m venv V && V/bin/pip install torch==2.13.0 numpy optuna
    python benchmarks/compare.py trials --table vehicle.csv --torch-python V/bin/python

`points` trains a list of points (standard input) to their end; `tune` is an Optuna study with TPE and the median
pruner that ends at a given loss. Both read the replicates that `compare.py` prepared in a folder, start from the
initial weights that hpo starts from, and print one JSON object. The processes share the trials; each has its threads.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from hpo_spaces.mlp import MLP
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from points import Table, open_table, read_points, seconds_since_start, suggest
from processes import PROTOCOL, EarlyStopping, Team, train_points
from torch import nn
from torch.nn import functional

from hpo.losses import mean_loss
from hpo.network.architecture import Architecture
from hpo.network.initializers import INITIALIZERS
from hpo.seeds import generator, integer_seed

KERAS_EPSILON = 1e-7
LEAKY_SLOPE = 0.2
ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda _: nn.ReLU(),
    "leaky_relu": lambda _: nn.LeakyReLU(LEAKY_SLOPE),
    "elu": lambda _: nn.ELU(),
    "selu": lambda _: nn.SELU(),
    "swish": lambda _: nn.SiLU(),
    "tanh": lambda _: nn.Tanh(),
    "sigmoid": lambda _: nn.Sigmoid(),
    "prelu": lambda units: nn.PReLU(units, init=0.0),
}
LOSSES = {"softmax": functional.cross_entropy, "sigmoid": functional.binary_cross_entropy_with_logits}
STUDY = "peer"
OnEpoch = Callable[[int, float], None]


def dense(initializer: str, inputs: int, units: int, random: np.random.Generator) -> nn.Linear:
    """A layer that starts as hpo's does; its bias starts at zero."""
    layer = nn.Linear(inputs, units)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(INITIALIZERS[initializer](random, inputs, units)).T)
        layer.bias.zero_()
    return layer


def build_model(architecture: Architecture, inputs: int, outputs: int, random: np.random.Generator) -> nn.Sequential:
    """The network, (rows, inputs) to logits (rows, outputs)."""
    layers: list[nn.Module] = []
    for fan_in, units in pairwise((inputs, *architecture.widths)):
        layers += [dense(architecture.initializer, fan_in, units, random), ACTIVATIONS[architecture.activation](units)]
        if architecture.dropout:
            layers.append(nn.Dropout(architecture.dropout))
    return nn.Sequential(*layers, dense("glorot_uniform", architecture.widths[-1], outputs, random))


def targets(labels: np.ndarray) -> torch.Tensor:
    """Class numbers (rows,), or 0 and 1 (rows, outputs) float32, as PyTorch's losses want them."""
    return torch.from_numpy(labels if labels.dtype == np.float32 else labels.astype(np.int64))


def train_replicate(
    architecture: Architecture,
    table: Table,
    replicate: int,
    seed: int,
    slot: int,
    on_epoch: OnEpoch = lambda epoch, loss: None,
) -> float:
    """The score loss (nats) of one replicate, by the weights of the best epoch; not finite where it diverged."""
    data, loss_of = table.replicates[replicate], LOSSES[table.head]
    x, y = torch.from_numpy(data.train_x), targets(data.train_y)
    stop_x, stop_y = torch.from_numpy(data.stop_x), targets(data.stop_y)
    torch.manual_seed(integer_seed(seed, "order", slot=slot, replicate=replicate))
    random = generator(seed, "weights", slot=slot, replicate=replicate)
    model = build_model(architecture, x.shape[1], table.outputs, random)
    # fused is the fastest of PyTorch's three Adams on a processor
    optimizer = torch.optim.Adam(model.parameters(), architecture.learning_rate, eps=KERAS_EPSILON, fused=True)
    stopping = EarlyStopping()
    for epoch in range(PROTOCOL.max_epochs):
        train_epoch(model, optimizer, loss_of, x, y, architecture.batch_size)
        with torch.inference_mode():
            loss = loss_of(model.eval()(stop_x), stop_y).item()
        on_epoch(epoch, loss)
        if not stopping.goes_on(loss, lambda: [p.detach().clone() for p in model.parameters()]):
            break
    return score(model, stopping, table, replicate) if np.isfinite(loss) else np.nan


def train_epoch(
    model: nn.Sequential,
    optimizer: torch.optim.Adam,
    loss_of: Callable[..., torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    batch_size: int,
) -> None:
    """One pass over the rows in a new order; the rows are picked once, the batches are views of them."""
    model.train()
    order = torch.randperm(len(x))
    batches = zip(x.index_select(0, order).split(batch_size), y.index_select(0, order).split(batch_size), strict=True)
    for batch_x, batch_y in batches:
        optimizer.zero_grad()
        loss_of(model(batch_x), batch_y).backward()
        optimizer.step()


def score(model: nn.Sequential, stopping: EarlyStopping, table: Table, replicate: int) -> float:
    """The score loss of the best epoch's weights."""
    data = table.replicates[replicate]
    with torch.inference_mode():
        for parameter, best in zip(model.parameters(), stopping.weights, strict=True):
            parameter.copy_(best)
        logits = model.eval()(torch.from_numpy(data.score_x)).numpy()
    return mean_loss(table.head, data.score_y, logits)


def make_objective(table: Table, seed: int, report: str) -> Callable[[optuna.Trial], float]:
    """The mean score loss of a trial's replicates.

    What the pruner sees: with `replicate` the mean score loss so far after each replicate, with `epoch` the stop
    loss of the first replicate after each epoch.
    """

    def objective(trial: optuna.Trial) -> float:
        architecture, losses = MLP.architecture(suggest(trial)), []

        def on_epoch(epoch: int, loss: float) -> None:
            if report == "epoch" and not losses:
                tell(trial, loss, epoch)

        for replicate in range(len(table.replicates)):
            losses.append(train_replicate(architecture, table, replicate, seed, trial.number, on_epoch))
            if not np.isfinite(losses[-1]):
                return float("nan")
            if report == "replicate":
                tell(trial, float(np.mean(losses)), replicate)
        return float(np.mean(losses))

    return objective


def tell(trial: optuna.Trial, loss: float, step: int) -> None:
    """Report to the pruner, and stop the trial if it says so."""
    trial.report(loss, step)
    if trial.should_prune():
        raise optuna.TrialPruned


def open_study(journal: Path, seed: int) -> optuna.Study:
    """The study that the processes share; `constant_liar` is Optuna's advice for several processes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=STUDY,
        storage=JournalStorage(JournalFileBackend(str(journal))),
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )


def tune_alone(results: "Queue[Any]", number: int, folder: Path, journal: Path, seed: int, report: str) -> None:
    """One process of a study; it reports each trial's end and goes on until killed."""
    study = open_study(journal, 1000 * seed + number)

    def tell_parent(_: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        results.put((trial.state.name, trial.value))

    study.optimize(make_objective(open_table(folder), seed, report), callbacks=[tell_parent])


def tune(options: argparse.Namespace) -> dict[str, Any]:
    """Tune until a trial is as good as wanted, or the budget of trials or time is used up."""
    best, ended, pruned = np.inf, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.log"
        open_study(journal, options.seed)
        arguments = (options.folder, journal, options.seed, options.report)
        with Team(tune_alone, options.processes, options.threads, *arguments) as team:
            while best > options.loss and ended < options.trials and (report := team.next(60 * options.minutes)):
                state, value = report
                ended, pruned = ended + 1, pruned + (state == "PRUNED")
                best = min(best, value) if state == "COMPLETE" else best
            seconds = seconds_since_start()
    return {"reached": best <= options.loss, "seconds": seconds, "trials": ended, "pruned": pruned, "best": best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["points", "tune"])
    parser.add_argument("--folder", type=Path, required=True, help="the prepared table")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--loss", type=float, default=-np.inf, help="(tune) the loss to reach")
    parser.add_argument("--trials", type=int, default=200, help="(tune) at most so many")
    parser.add_argument("--minutes", type=float, default=20.0, help="(tune) at most so many")
    parser.add_argument("--seed", type=int, default=0, help="(tune) of the sampler and the networks")
    parser.add_argument("--report", choices=["replicate", "epoch"], default="replicate", help="(tune) to the pruner")
    options = parser.parse_args()
    if options.command == "points":
        points = read_points(sys.stdin.read())
        result = train_points(train_replicate, options.folder, points, options.processes, options.threads)
    else:
        result = tune(options)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
