"""Early stopping, dropout, seeds and traces of the engine."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from hpo.engine.fit import fit_stack, predict
from hpo.engine.layout import layout_of
from hpo.engine.program import Epoch, Rows
from hpo.engine.stack import Stack, random_bits
from hpo.engine.step import noisy
from hpo.engine.weights import dropout_threshold, initial_weights, lane_settings, new_state, stack_weights
from hpo.network.keras_model import build_keras_model, compile_keras_model
from hpo.settings import EvaluationSpec
from tests.engine.engine import CLASSES, FEATURES, HEAD, architecture, lane, make_backend, replicate_data


@pytest.fixture(scope="module")
def backend():
    return make_backend()


def test_same_seed_same_fit_alone_and_in_company(backend):
    arch, protocol = architecture(dropout=0.3), EvaluationSpec(max_epochs=12)
    together = fit_stack(backend, [lane(r, arch) for r in range(4)], HEAD, protocol)
    alone = fit_stack(backend, [lane(2, arch)], HEAD, protocol)[0]
    assert len(alone.curve) == len(together[2].curve)
    np.testing.assert_allclose(alone.curve, together[2].curve, rtol=1e-4)
    assert together[0].curve != together[1].curve


@pytest.mark.parametrize("spare", [1, 3, 9])
def test_finished_lanes_that_stay_in_a_stack_change_nothing(backend, monkeypatch, spare):
    arch, protocol = architecture(dropout=0.3, learning_rate=0.05), EvaluationSpec(max_epochs=40, patience=3)
    lanes = [lane(r, arch) for r in range(5)]
    dropped = fit_stack(backend, lanes, HEAD, protocol)
    assert len({len(fit.curve) for fit in dropped}) > 2  # they end one after another
    monkeypatch.setattr(backend, "lanes_for", lambda live: live + spare)
    for fit, other in zip(fit_stack(backend, [lane(r, arch) for r in range(5)], HEAD, protocol), dropped, strict=True):
        np.testing.assert_allclose(fit.curve, other.curve, rtol=1e-4)


DIFFERENT = (
    {},
    {"widths": (9,), "activation": "tanh", "dropout": 0.3, "schedule": "cosine"},
    {"optimizer": "nadam", "learning_rate": 0.01},
    {"widths": (6, 5, 4), "optimizer": "sgd", "momentum": 0.9},
)


def of_different_trials(trials):
    return [lane(r, architecture(**DIFFERENT[t % 4]), slot=t) for t in range(trials) for r in range(2)]


def test_lanes_that_wait_for_a_place_have_the_same_curves(backend, monkeypatch):
    """With schedules and optimizers that count their own steps, and restored weights."""
    protocol = EvaluationSpec(max_epochs=12, patience=3)
    at_once = fit_stack(backend, of_different_trials(6), HEAD, protocol)
    assert len({len(fit.curve) for fit in at_once}) > 2  # they end one after another
    monkeypatch.setattr(backend, "most_lanes", lambda lanes: 4)
    for fit, other in zip(fit_stack(backend, of_different_trials(6), HEAD, protocol), at_once, strict=True):
        assert (fit.lane.slot, fit.lane.replicate, fit.best_epoch) == (
            other.lane.slot,
            other.lane.replicate,
            other.best_epoch,
        )
        np.testing.assert_allclose(fit.curve, other.curve, rtol=1e-4)
        for name, weight in fit.weights.items():
            np.testing.assert_allclose(weight, other.weights[name], rtol=1e-2, atol=1e-4)


def test_a_trial_that_is_pruned_takes_no_more_places(backend, monkeypatch):
    monkeypatch.setattr(backend, "most_lanes", lambda lanes: 1)
    fits = fit_stack(
        backend,
        of_different_trials(3),
        HEAD,
        EvaluationSpec(max_epochs=2),
        should_prune=lambda lane, curve: lane.slot == 1,
    )
    assert [(fit.lane.slot, fit.lane.replicate, fit.pruned) for fit in fits] == [
        (0, 0, False),
        (0, 1, False),
        (1, 0, True),
        (2, 0, False),
        (2, 1, False),
    ]


def test_early_stopping_is_that_of_keras(backend):
    """The same weights, batches and rule: the same epoch wins, with the same loss."""
    arch = architecture(learning_rate=0.05, batch_size=120)  # one batch an epoch, so that order does not matter
    protocol = EvaluationSpec(max_epochs=60, patience=4, min_delta=1e-2)
    data = replicate_data(5)
    fit = fit_stack(backend, [lane(0, arch, data=data)], HEAD, protocol)[0]

    model = build_keras_model(arch, FEATURES, CLASSES)
    start = initial_weights(arch, FEATURES, CLASSES, lane(0).streams.initial)
    model.set_weights([w.reshape(v.shape) for w, v in zip(start.values(), model.get_weights(), strict=True)])
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
    ours = predict(backend, layout_of([arch]), [fit.weights], [data.score_x])[0]
    np.testing.assert_allclose(ours, model.predict(data.score_x, verbose=0), rtol=1e-2, atol=1e-3)


def test_kept_weights_give_the_best_epochs_loss(backend):
    arch = architecture(learning_rate=0.3)
    fits = fit_stack(backend, [lane(r, arch) for r in range(3)], HEAD, EvaluationSpec(max_epochs=40))
    assert any(fit.best_epoch < len(fit.curve) - 1 for fit in fits)
    for fit in fits:
        data = replicate_data(fit.lane.replicate)
        logits = predict(backend, layout_of([arch]), [fit.weights], [data.stop_x])[0].astype(float)
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(data.stop_y)), data.stop_y]
        assert losses.mean() == pytest.approx(fit.stop_loss, rel=1e-5)


def test_one_trace_per_depth_and_activation():
    backend = make_backend()
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
        lanes = [lane(r, arch) for r in range(1 + trial % 5)]
        fit_stack(backend, lanes, HEAD, EvaluationSpec(max_epochs=3))
    assert backend.traces == len(kinds)


def test_epochs_in_parts_equal_whole_epochs(backend, monkeypatch):
    arch, protocol = (
        architecture(widths=(13, 7), dropout=0.2, input_dropout=0.1, noise=0.2),
        EvaluationSpec(max_epochs=4),
    )
    whole = fit_stack(backend, [lane(0, arch), lane(1, arch)], HEAD, protocol)
    monkeypatch.setattr("hpo.engine.stack.MAX_RANDOM_BYTES", 1)
    parts = fit_stack(backend, [lane(0, arch), lane(1, arch)], HEAD, protocol)
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


def test_a_batch_is_no_larger_than_the_table(backend):
    """JAX fills the last batch up: of a hundred rows in a batch of 512 it would train on four hundred copies."""
    large = architecture(batch_size=512)
    stack = Stack([lane(0, large)], HEAD, backend.widths_for)
    (epoch,) = stack.epoch([0], [0], np.empty((1, 0, FEATURES), np.float32))
    assert epoch.batch_size == epoch.order.shape[1] == len(stack.lanes[0].data.train_y)


def test_dropout_masks_and_scales_as_written_out(backend):
    """Known bits, a few steps: the same weights as Keras' Adam on `relu(x W + b) * mask * 2`."""
    arch = architecture(widths=(12,), learning_rate=0.01, dropout=0.5)
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(64, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, 64).astype(np.int32)
    bits = rng.integers(0, 256, (64, 12), dtype=np.uint8)
    start = initial_weights(arch, FEATURES, CLASSES, rng)
    layout = layout_of([arch])
    program = backend.program(layout.kind)
    program.start(Rows(x, y, np.ones(64, np.float32)))
    program.hold(new_state(layout.kind, stack_weights([start], layout)), lane_settings(layout))
    program.run(
        Epoch(
            order=np.arange(64, dtype=np.int32)[None],
            bits=bits[None],
            input_bits=np.zeros((1, 64, 0), np.uint8),
            noise=np.zeros((1, 64, 0), np.float32),
            batch_size=16,
            learning_rates=np.full((1, 4), 0.01, np.float32),
            first_steps=np.zeros(1, np.float32),
            predict=backend.tensor(np.zeros((1, 0, FEATURES), np.float32)),
        )
    )
    names = ("kernel_0", "bias_0", "kernel_out", "bias_out")
    variables = [tf.Variable(start[name]) for name in names]
    optimizer = keras.optimizers.Adam(0.01)
    for step in range(4):
        rows = slice(16 * step, 16 * step + 16)
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(x[rows] @ variables[0] + variables[1]) * (bits[rows] >= 128).astype(np.float32) * 2.0
            logits = hidden @ variables[2] + variables[3]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y[rows], logits))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    for name, theirs in zip(names, variables, strict=True):
        np.testing.assert_allclose(program.weights()[name][0], theirs.numpy(), rtol=1e-3, atol=1e-5)


def test_pruned_lane_ends_its_trial(backend):
    fits = fit_stack(
        backend,
        [*(lane(r) for r in range(3)), lane(1, slot=2)],
        HEAD,
        EvaluationSpec(max_epochs=15, patience=15),
        should_prune=lambda lane, curve: (lane.slot, lane.replicate) == (1, 1) and len(curve) == 5,
    )
    assert [len(fit.curve) for fit in fits] == [5, 5, 5, 15]
    assert [fit.pruned for fit in fits] == [False, True, False, False]


def test_divergence_ends_the_trial(backend):
    data = replicate_data(0)
    broken = replace(data, train_x=data.train_x * np.float32(1e36))
    lanes = [lane(0, data=broken), lane(1), lane(1, slot=2)]
    fits = fit_stack(backend, lanes, HEAD, EvaluationSpec(max_epochs=8))
    assert fits[0].diverged
    assert not fits[1].diverged
    assert len(fits[1].curve) == len(fits[0].curve) < len(fits[2].curve) == 8


# What can share a stack: widths, depths, activations, optimizers, schedules and amounts may differ.
COMPANY = [
    {},
    {"widths": (20,), "activation": "gelu", "optimizer": "sgd", "momentum": 0.9, "dropout": 0.4},
    {
        "widths": (5, 9, 4),
        "activation": "exponential",
        "optimizer": "lion",
        "learning_rate": 1e-3,
        "schedule": "cosine",
    },
    {"widths": (7, 7), "activation": "prelu", "noise": 0.3, "input_dropout": 0.2, "warmup": 0.1, "schedule_epochs": 20},
]


@pytest.mark.parametrize("changes", COMPANY, ids=str)
def test_same_trial_alone_and_among_others(backend, changes):
    protocol = EvaluationSpec(max_epochs=12)
    arch = architecture(**{"dropout": 0.3, **changes})
    alone = fit_stack(backend, [lane(r, arch) for r in range(2)], HEAD, protocol)
    others = [lane(0, architecture(**other), slot=place) for place, other in enumerate(COMPANY, start=2)]
    together = fit_stack(backend, [*others, *(lane(r, arch) for r in range(2))], HEAD, protocol)
    for mine, theirs in zip(alone, together[-2:], strict=True):
        assert len(mine.curve) == len(theirs.curve)
        np.testing.assert_allclose(mine.curve, theirs.curve, rtol=1e-4)
        assert mine.weights.keys() == theirs.weights.keys()
        for name, weight in mine.weights.items():
            assert weight.shape == theirs.weights[name].shape


def test_inputs_are_disturbed_as_written_out():
    """Noise of each lane's own deviation, then dropout of each lane's own share, the rest scaled up."""
    rng = np.random.default_rng(2)
    x, noise = rng.normal(size=(2, 2, 400, 5)).astype(np.float32)
    bits = rng.integers(0, 256, x.shape, dtype=np.uint8)
    lanes = [architecture(noise=0.5, input_dropout=0.25), architecture(noise=0.1)]
    got = np.asarray(noisy(x, noise, bits, lane_settings(layout_of(lanes))))
    np.testing.assert_allclose(got[0], (x[0] + 0.5 * noise[0]) * (bits[0] >= 64) / 0.75, rtol=1e-5)
    np.testing.assert_allclose(got[1], x[1] + 0.1 * noise[1], rtol=1e-5)
    assert (got[0] == 0).mean() == pytest.approx(0.25, abs=0.03)


def test_predictions_in_parts_equal_those_at_once(backend, monkeypatch):
    archs = [architecture(), architecture(widths=(5, 4, 3))]
    networks = [initial_weights(arch, FEATURES, CLASSES, np.random.default_rng(0)) for arch in archs]
    inputs = [replicate_data(seed, rows).train_x for seed, rows in ((1, 30), (2, 41))]
    whole = predict(backend, layout_of(archs), networks, inputs)
    monkeypatch.setattr("hpo.engine.fit.MAX_PREDICTED_BYTES", 4 * 2 * 12 * 7)  # seven rows
    parts = predict(backend, layout_of(archs), networks, inputs)
    assert [len(part) for part in parts] == [30, 41]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
