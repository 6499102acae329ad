"""The core's own speed, measured in the run whose figures are set against it."""

import time

import numpy as np


def sgemm_gflops(size: int = 1024, repeats: int = 5, rounds: int = 5) -> float:
    """The best rate of several rounds of float32 matrix products by TensorFlow on this thread, GFLOP/s."""
    import tensorflow as tf

    a = tf.constant(np.random.default_rng(0).random((size, size), dtype=np.float32))
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            product = tf.matmul(a, a)
        product.numpy()
        best = max(best, 2 * size**3 * repeats / (time.perf_counter() - start) / 1e9)
    return best
