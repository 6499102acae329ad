"""What the engine's tests share: the backend of this process, small networks and data."""

import keras
import numpy as np

from hpo.data.prepared import ReplicateData
from hpo.engine.stack import Lane, Streams
from hpo.losses import Head
from hpo.network.architecture import Architecture

FEATURES, CLASSES = 6, 3
HEAD = Head("softmax", CLASSES)


def make_backend():
    """A backend without programs, the one that Keras runs on; threads stay as other tests have set them."""
    if keras.backend.backend() == "jax":
        from hpo.engine.backend.jax import JaxBackend

        return JaxBackend()
    from hpo.engine.backend.tensorflow import TensorFlowBackend

    return TensorFlowBackend()


def architecture(**changes):
    values = {
        "widths": (12, 7),
        "activation": "relu",
        "initializer": "he_normal",
        "dropout": 0.0,
        "learning_rate": 0.02,
        "batch_size": 16,
    }
    return Architecture(**{**values, **changes})


def replicate_data(seed, rows=120):
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).normal(size=(CLASSES, FEATURES))

    def part(count):
        y = rng.integers(0, CLASSES, count).astype(np.int32)
        return (centers[y] + rng.normal(size=(count, FEATURES))).astype(np.float32), y

    return ReplicateData(*part(rows), *part(40), *part(50))


def lane(replicate, arch=None, seed=0, data=None, slot=1):
    return Lane(
        architecture=arch or architecture(),
        slot=slot,
        replicate=replicate,
        data=data or replicate_data(replicate),
        streams=Streams.of(seed, slot, replicate),
    )


__all__ = ["CLASSES", "FEATURES", "HEAD", "architecture", "lane", "make_backend", "replicate_data"]
