"""What a good user would write today with Optuna and Keras: one `fit` per replicate in an objective.

    python benchmarks/plain_keras.py --data vehicle.csv --trials 30 --seed 0 --output vehicle.jsonl
    python benchmarks/plain_keras.py --data vehicle.csv --points points.json

The first tunes; the second trains a given list of points to their end. Both have the whole machine and
TensorFlow's own threads, and print one JSON line per trial (see `points.TrialLog`). The replicates are those
of an hpo study, and so is the network: two classes have one output with sigmoid and binary cross-entropy.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from points import QUIET, Point, Table, TrialLog, add_arguments, prepare, read_points, suggest

os.environ.update(QUIET)

import keras
import optuna
from hpo_spaces.mlp import MLP

from hpo.data.prepared import ReplicateData
from hpo.losses import mean_loss
from hpo.network.architecture import Architecture
from hpo.network.keras_model import build_keras_model, compile_keras_model
from hpo.seeds import integer_seed
from hpo.settings import EvaluationSpec

PROTOCOL = EvaluationSpec()


def make_model(architecture: Architecture, table: Table, seed: int) -> keras.Sequential:
    """A compiled model for the table; earlier ones are forgotten and the seed is set."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = build_keras_model(architecture, table.replicates[0].train_x.shape[1], table.outputs, seed)
    compile_keras_model(model, architecture, head=table.head)
    return model


def fit_model(model: keras.Sequential, data: ReplicateData, batch_size: int) -> keras.callbacks.History:
    """Train until the stop loss no longer improves; the best epoch's weights are restored."""
    return model.fit(
        data.train_x,
        data.train_y,
        validation_data=(data.stop_x, data.stop_y),
        batch_size=batch_size,
        epochs=PROTOCOL.max_epochs,
        callbacks=[
            keras.callbacks.EarlyStopping(
                monitor="val_loss",
                patience=PROTOCOL.patience,
                min_delta=PROTOCOL.min_delta,
                restore_best_weights=True,
            )
        ],
        verbose=0,
    )


def score_model(model: keras.Sequential, data: ReplicateData, head: str) -> float:
    """Log loss (nats) on the score rows; they fit in one batch, for which Keras advises a plain call."""
    logits = keras.ops.convert_to_numpy(model(data.score_x, training=False))
    return mean_loss(head, data.score_y, logits)


def train_replicate(architecture: Architecture, table: Table, data: ReplicateData, seed: int) -> float:
    """The score loss of one replicate."""
    model = make_model(architecture, table, seed)
    fit_model(model, data, architecture.batch_size)
    return score_model(model, data, table.head)


def evaluate(params: Mapping[str, Any], table: Table, seed: int, slot: int) -> list[float]:
    """The score losses of all replicates of one trial; its networks' seeds derive from (seed, slot)."""
    architecture = MLP.architecture(params)
    return [
        train_replicate(architecture, table, data, integer_seed(seed, "weights", slot=slot, replicate=index))
        for index, data in enumerate(table.replicates)
    ]


def tune(table: Table, trials: int, seed: int, database: Path, log: TrialLog) -> optuna.Study:
    """An Optuna study of so many trials in a SQLite file."""

    def objective(trial: optuna.Trial) -> float:
        log.start_trial()
        params = suggest(trial)
        losses = evaluate(params, table, seed, trial.number)
        log.finish_trial(params, losses)
        return sum(losses) / len(losses)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=f"sqlite:///{database}", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=trials)
    return study


def run_points(table: Table, points: Sequence[Point], log: TrialLog) -> None:
    """Train a list of points to their end; the place in the list is the slot."""
    for slot, point in enumerate(points):
        log.start_trial()
        log.finish_trial(point.params, evaluate(point.params, table, point.seed, slot))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--points", type=Path, help="train the points of this JSON file instead of tuning")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = prepare(options.data, options.target, options.seed, Path(folder))
        log = TrialLog(options.output)
        if options.points:
            run_points(table, read_points(options.points.read_text("utf-8")), log)
        else:
            tune(table, options.trials, options.seed, Path(folder) / "optuna.db", log)


if __name__ == "__main__":
    main()
