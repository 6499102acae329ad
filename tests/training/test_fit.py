"""Early stopping, dropout, seeds and traces of the engine."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from hpo.data.prepared import ReplicateData
from hpo.network.architecture import Architecture
from hpo.network.keras_model import build_keras_model, compile_keras_model
from hpo.seeds import generator
from hpo.study.spec import EvaluationSpec
from hpo.training.backend.tensorflow import TensorFlowBackend
from hpo.training.fit import Lane, dropout_threshold, fit_stack, predict, random_bits
from hpo.training.stack import Epoch, initial_weights

FEATURES, CLASSES = 6, 3


@pytest.fixture(scope="module")
def backend():
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


def lane(replicate, seed=0, data=None):
    streams = {p: generator(seed, p, slot=1, replicate=replicate) for p in ("weights", "order", "dropout")}
    return Lane(replicate=replicate, data=data or replicate_data(replicate), **streams)


def test_same_seed_same_fit_alone_and_in_company(backend):
    arch, protocol = architecture(dropout=0.3), EvaluationSpec(max_epochs=12)
    together = fit_stack(backend, arch, [lane(r) for r in range(4)], CLASSES, protocol)
    alone = fit_stack(backend, arch, [lane(2)], CLASSES, protocol)[0]
    assert len(alone.curve) == len(together[2].curve)
    np.testing.assert_allclose(alone.curve, together[2].curve, rtol=1e-4)
    assert together[0].curve != together[1].curve


def test_early_stopping_is_that_of_keras(backend):
    """The same weights, batches and rule: the same epoch wins, with the same loss."""
    arch = architecture(learning_rate=0.05, batch_size=120)  # one batch an epoch, so that order does not matter
    protocol = EvaluationSpec(max_epochs=60, patience=4, min_delta=1e-2)
    data = replicate_data(5)
    fit = fit_stack(backend, arch, [lane(0, data=data)], CLASSES, protocol)[0]

    model = build_keras_model(arch, FEATURES, CLASSES)
    start = initial_weights(arch, FEATURES, CLASSES, lane(0).weights)
    model.set_weights([w.reshape(v.shape) for w, v in zip(start, model.get_weights(), strict=True)])
    compile_keras_model(model, arch)
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=4, min_delta=1e-2, restore_best_weights=True)
    history = model.fit(
        data.train_x,
        data.train_y,
        batch_size=arch.batch_size,
        epochs=60,
        validation_data=(data.stop_x, data.stop_y),
        callbacks=[stopping],
        verbose=0,
    )
    assert len(fit.curve) == len(history.history["val_loss"]) < 60
    assert fit.best_epoch == stopping.best_epoch
    np.testing.assert_allclose(fit.curve, history.history["val_loss"], rtol=2e-4)
    ours = predict(backend, arch, [fit.weights], [data.score_x])[0]
    np.testing.assert_allclose(ours, model.predict(data.score_x, verbose=0), rtol=1e-2, atol=1e-3)


def test_kept_weights_give_the_best_epochs_loss(backend):
    arch = architecture(learning_rate=0.3)
    fits = fit_stack(backend, arch, [lane(r) for r in range(3)], CLASSES, EvaluationSpec(max_epochs=40))
    assert any(fit.best_epoch < len(fit.curve) - 1 for fit in fits)
    for fit in fits:
        data = replicate_data(fit.replicate)
        logits = predict(backend, arch, [fit.weights], [data.stop_x])[0].astype(float)
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(data.stop_y)), data.stop_y]
        assert losses.mean() == pytest.approx(fit.stop_loss, rel=1e-5)


def test_one_trace_per_depth_and_activation():
    backend = TensorFlowBackend()
    rng = np.random.default_rng(0)
    kinds = set()
    for trial in range(30):
        depth, activation = int(rng.integers(1, 4)), ("relu", "prelu")[trial % 2]
        kinds.add((depth, activation))
        arch = architecture(
            widths=tuple(int(w) for w in rng.integers(1, 40, depth)),
            activation=activation,
            dropout=float(rng.uniform(0, 0.5)),
            learning_rate=float(rng.uniform(1e-4, 1e-1)),
            batch_size=int(2 ** rng.integers(4, 10)),
        )
        lanes = [lane(r) for r in range(1 + trial % 5)]
        fit_stack(backend, arch, lanes, CLASSES, EvaluationSpec(max_epochs=3))
    assert backend.traces == len(kinds)


def test_epochs_in_parts_equal_whole_epochs(backend, monkeypatch):
    arch, protocol = architecture(), EvaluationSpec(max_epochs=4)
    whole = fit_stack(backend, arch, [lane(0), lane(1)], CLASSES, protocol)
    monkeypatch.setattr("hpo.training.fit.MAX_RANDOM_BYTES", 1)
    parts = fit_stack(backend, arch, [lane(0), lane(1)], CLASSES, protocol)
    np.testing.assert_allclose(whole[1].curve, parts[1].curve, rtol=1e-4)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.25, 0.5])
def test_dropout_drops_that_share_of_units(probability):
    bits = random_bits(np.random.default_rng(1), 4000, 50)
    dropped = bits < dropout_threshold(probability)
    assert dropped.mean() == pytest.approx(probability, abs=1 / 512 + 0.005)
    assert np.abs(dropped.mean(axis=0) - dropped.mean()).max() < 0.04
    # Neighbouring units and rows are independent.
    if probability:
        assert abs(np.corrcoef(dropped[:, :-1].ravel(), dropped[:, 1:].ravel())[0, 1]) < 0.01
        assert abs(np.corrcoef(dropped[:-1].ravel(), dropped[1:].ravel())[0, 1]) < 0.01


def test_dropout_masks_and_scales_as_written_out(backend):
    """Known bits, a few steps: the same weights as Keras' Adam on `relu(x W + b) * mask * 2`."""
    arch = architecture(widths=(12,), learning_rate=0.01)
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(64, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, 64).astype(np.int32)
    bits = rng.integers(0, 256, (64, 12), dtype=np.uint8)
    start = initial_weights(arch, FEATURES, CLASSES, rng)
    program = backend.program(1, "relu")
    program.start([w[None] for w in start], x, y)
    program.run(
        Epoch(
            order=np.arange(64, dtype=np.int32)[None],
            bits=bits[None],
            threshold=128,
            batch_size=16,
            learning_rate=0.01,
            first_step=0,
            predict=backend.tensor(np.zeros((1, 0, FEATURES), np.float32)),
        )
    )
    variables = [tf.Variable(w) for w in start]
    optimizer = keras.optimizers.Adam(0.01)
    for step in range(4):
        rows = slice(16 * step, 16 * step + 16)
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(x[rows] @ variables[0] + variables[1]) * (bits[rows] >= 128).astype(np.float32) * 2.0
            logits = hidden @ variables[2] + variables[3]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y[rows], logits))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    for ours, theirs in zip(program.weights(), variables, strict=True):
        np.testing.assert_allclose(ours[0], theirs.numpy(), rtol=1e-3, atol=1e-5)


def test_pruned_lane_ends_its_stack(backend):
    fits = fit_stack(
        backend,
        architecture(),
        [lane(r) for r in range(3)],
        CLASSES,
        EvaluationSpec(max_epochs=15, patience=15),
        should_prune=lambda replicate, curve: replicate == 1 and len(curve) == 5,
    )
    assert [len(fit.curve) for fit in fits] == [5, 5, 5]
    assert [fit.pruned for fit in fits] == [False, True, False]


def test_divergence_ends_the_stack(backend):
    data = replicate_data(0)
    broken = replace(data, train_x=data.train_x * np.float32(1e36))
    fits = fit_stack(backend, architecture(), [lane(0, data=broken), lane(1)], CLASSES, EvaluationSpec(max_epochs=8))
    assert fits[0].diverged
    assert not fits[1].diverged
    assert len(fits[1].curve) == len(fits[0].curve) < 8
