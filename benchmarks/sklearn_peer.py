"""scikit-learn's MLPClassifier on the trials that it can express, one `partial_fit` per epoch.

`compare.py` starts it: it trains a list of points (standard input) to their end on the replicates prepared in a
folder, with hpo's stopping rule, and prints one JSON object. MLPClassifier has no dropout, so the points must have
none, and of the activations of the space `mlp` it has three. Its kernels start from Glorot's uniform (for sigmoid a
third of that variance), its biases at random; both losses are of clipped probabilities, as `sklearn.metrics` has it.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from points import Table, read_points
from processes import PROTOCOL, EarlyStopping, train_points
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from hpo.network.architecture import Architecture
from hpo.seeds import integer_seed

KERAS_EPSILON = 1e-7
ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}


def train_replicate(architecture: Architecture, table: Table, replicate: int, seed: int, slot: int) -> float:
    """The score loss (nats) of one replicate, by the weights of the best epoch; not finite where it diverged."""
    data = table.replicates[replicate]
    x, y = data.train_x, numbers(data.train_y)
    classes = np.arange(table.classes)
    model = MLPClassifier(
        hidden_layer_sizes=architecture.widths,
        activation=ACTIVATIONS[architecture.activation],
        alpha=0.0,
        batch_size=min(architecture.batch_size, len(x)),
        learning_rate_init=architecture.learning_rate,
        epsilon=KERAS_EPSILON,
        random_state=integer_seed(seed, "weights", slot=slot, replicate=replicate),
    )
    stopping = EarlyStopping()
    for _ in range(PROTOCOL.max_epochs):
        try:
            model.partial_fit(x, y, classes=classes)
        except ValueError as error:
            if "non-finite" in str(error):
                return np.nan
            raise
        loss = log_loss(numbers(data.stop_y), model.predict_proba(data.stop_x), labels=classes)
        if not stopping.goes_on(loss, lambda: [w.copy() for w in (*model.coefs_, *model.intercepts_)]):
            break
    layers = len(model.coefs_)
    model.coefs_, model.intercepts_ = stopping.weights[:layers], stopping.weights[layers:]
    return float(log_loss(numbers(data.score_y), model.predict_proba(data.score_x), labels=classes))


def numbers(labels: np.ndarray) -> np.ndarray:
    """Class numbers, (rows,), also where hpo has one output for two classes."""
    return labels.reshape(-1).astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="the prepared table")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    options = parser.parse_args()
    points = read_points(sys.stdin.read())
    print(json.dumps(train_points(train_replicate, options.folder, points, options.processes, options.threads)))


if __name__ == "__main__":
    main()
