"""The engine and the reference model hold on JAX what they hold on TensorFlow: Keras has one backend in a process, so
their tests run once more in another."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = (
    HERE / "test_equality.py",
    HERE / "test_backends.py",
    HERE / "test_optimizers.py",
    f"{HERE / 'test_fit.py'}::test_same_trial_alone_and_among_others",
    f"{HERE / 'test_fit.py'}::test_lanes_that_wait_for_a_place_have_the_same_curves",
    f"{HERE / 'test_fit.py'}::test_a_trial_that_is_pruned_takes_no_more_places",
    f"{HERE / 'test_fit.py'}::test_predictions_in_parts_equal_those_at_once",
    HERE.parent / "network" / "test_activations.py",
    HERE.parent / "network" / "test_keras_model.py",
)

QUICK_TO_COMPILE = "--xla_backend_optimization_level=0"
"""XLA rewrites and fuses as always; only its machine code, of programs that run for milliseconds, is not polished."""


@pytest.mark.slow
def test_the_same_on_jax():
    pytest.importorskip("jax", reason="needs jax: pip install hpo[jax]")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *map(str, TESTS)]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK_TO_COMPILE}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
