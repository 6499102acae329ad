"""The same tuning run as `plain_keras.py` with KerasTuner's BayesianOptimization, as its guide shows it.

    python benchmarks/keras_tuner_peer.py --data vehicle.csv --trials 20 --seed 0 --output lines.jsonl

Same space, budget, replicates and stopping rule; the tuner's own settings are its defaults (so its first
18 trials, three per dimension, are random). Prints one JSON line per trial (see `points.TrialLog`).
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from points import QUIET, Table, TrialLog, add_arguments, prepare

os.environ.update(QUIET)

import keras
import keras_tuner
from hpo_spaces.mlp import ACTIVATIONS, MLP
from keras_tuner.engine.trial import Trial
from plain_keras import fit_model, make_model, score_model

from hpo.data.prepared import ReplicateData
from hpo.seeds import integer_seed


def suggest(hp: keras_tuner.HyperParameters) -> dict[str, Any]:
    """A point of the space `mlp`."""
    return {
        "dropout": hp.Float("dropout", 0.0, 0.5),
        "learning_rate": hp.Float("learning_rate", 1e-4, 1e-1, sampling="log"),
        "neuron_percent": hp.Float("neuron_percent", 0.01, 1.0),
        "neuron_shrink": hp.Float("neuron_shrink", 0.01, 1.0),
        "activation": hp.Choice("activation", list(ACTIVATIONS)),
        "batch_exponent": hp.Int("batch_exponent", 4, 9),
    }


class MlpHyperModel(keras_tuner.HyperModel):
    """Builds and fits the network of one replicate."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self._table = table

    def build(self, hp: keras_tuner.HyperParameters, seed: int = 0) -> keras.Sequential:
        """A compiled model."""
        architecture = MLP.architecture(suggest(hp))
        return make_model(architecture, self._table, seed)

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Sequential, data: ReplicateData
    ) -> keras.callbacks.History:
        """Train with the trial's batch size and early stopping."""
        return fit_model(model, data, 2 ** hp.get("batch_exponent"))


class ReplicateTuner(keras_tuner.BayesianOptimization):
    """Judges a trial by the score losses of all replicates."""

    def __init__(self, table: Table, log: TrialLog, *, seed: int, **options: Any) -> None:  # noqa: ANN401
        self._table, self._log, self._seed = table, log, seed
        super().__init__(MlpHyperModel(table), seed=seed, **options)

    def run_trial(self, trial: Trial, *, verbose: int) -> list[float]:
        """Score losses, one per replicate; the oracle takes their mean."""
        self._log.start_trial()
        hp, slot = trial.hyperparameters, int(trial.trial_id)
        losses = []
        for index, data in enumerate(self._table.replicates):
            seed = integer_seed(self._seed, "weights", slot=slot, replicate=index)
            model = self.hypermodel.build(hp, seed)
            self.hypermodel.fit(hp, model, data)
            losses.append(score_model(model, data, self._table.head))
        self._log.finish_trial(hp.values, losses)
        return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = prepare(options.data, options.target, options.seed, Path(folder))
        log = TrialLog(options.output)
        tuner = ReplicateTuner(
            table, log, seed=options.seed, max_trials=options.trials, directory=folder, project_name="peer"
        )
        tuner.search(verbose=0)


if __name__ == "__main__":
    main()
