"""Every optimizer moves a stack of networks as the Keras optimizer of its name moves each alone, on both backends.

The backend is the one that KERAS_BACKEND names.
"""

import keras
import numpy as np
import pytest

from hpo.engine.optimizers import OPTIMIZERS, OptimizerSettings, clip_by_global_norm
from hpo.network.architecture import OPTIMIZER_NAMES

STACK, STEPS = 3, 50
SHAPES = ((5, 4), (1, 4))
KERAS = {
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "adamax": keras.optimizers.Adamax,
    "nadam": keras.optimizers.Nadam,
    "lion": keras.optimizers.Lion,
}
RATES = {"sgd": (0.01, 0.03, 0.1), "adagrad": (0.01, 0.1, 0.3), "adadelta": (0.5, 1.0, 3.0)}
NOTHING = {"momentum": (0.0,) * 3, "nesterov": (0.0,) * 3, "weight_decay": (0.0,) * 3, "clip_norm": (0.0,) * 3}
VARIANTS = {
    "plain": {},
    "decay": {"weight_decay": (0.0, 0.1, 0.5)},
    "clip": {"clip_norm": (0.0, 4.0, 5.0)},  # some of the second network's gradients are shorter
    "momentum": {"momentum": (0.0, 0.5, 0.9)},
    "nesterov": {"momentum": (0.0, 0.9, 0.9), "nesterov": (1.0, 0.0, 1.0)},
}
CASES = [(name, variant) for name in OPTIMIZER_NAMES for variant in ("plain", "decay", "clip")]
CASES += [("sgd", "momentum"), ("sgd", "nesterov"), ("rmsprop", "momentum")]


def per_network(values):
    return np.array(values, np.float32)[:, None, None]


def compiled(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, autograph=False)


def start_and_gradients(seed=7):
    """Weights (s, in, out) of each shape, and gradients (STEPS, s, in, out), larger for later networks.

    Those of the first unit are so small that it shows where an optimizer adds its epsilon.
    """
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0.0, 0.1, (STACK, *shape)).astype(np.float32) for shape in SHAPES]
    sizes = per_network((0.1, 1.0, 3.0))
    gradients = [(rng.normal(size=(STEPS, STACK, *shape)) * sizes).astype(np.float32) for shape in SHAPES]
    for part in gradients:
        part[..., 0] *= 1e-4
    return weights, gradients


def stacked(name, settings, clip_norm, weights, gradients):
    optimizer = OPTIMIZERS[name]

    @compiled
    def train(weights, moments, gradients, settings, clip_norm, step):
        clipped = clip_by_global_norm(gradients, clip_norm)
        parts = zip(weights, clipped, moments, strict=True)
        updated = [optimizer.at(settings, step)(weight, gradient, kept) for weight, gradient, kept in parts]
        return [weight for weight, _ in updated], [kept for _, kept in updated]

    moments = [tuple(np.full_like(weight, optimizer.initial) for _ in range(optimizer.moments)) for weight in weights]
    for step in range(STEPS):
        now = [part[step] for part in gradients]
        weights, moments = train(weights, moments, now, settings, clip_norm, np.float32(step))
    return [np.asarray(weight) for weight in weights]


def alone(name, network, values, weights, gradients):
    """The same training of one network by Keras."""
    keras_settings = {"weight_decay": values["weight_decay"][network], "learning_rate": values["rate"][network]}
    if name in ("sgd", "rmsprop"):
        keras_settings["momentum"] = values["momentum"][network]
    if name == "sgd":
        keras_settings["nesterov"] = bool(values["nesterov"][network])
    optimizer = KERAS[name](**keras_settings, global_clipnorm=values["clip_norm"][network] or None)
    return keras_moves(optimizer, [w[network] for w in weights], [part[:, network] for part in gradients])


def keras_moves(optimizer, weights, gradients):
    """One network's weights after a step of Keras' optimizer for each of the gradients, (steps, in, out)."""
    variables = [keras.Variable(weight) for weight in weights]
    optimizer.build(variables)
    apply = compiled(optimizer.stateless_apply)
    state, moved = ([variable.value for variable in part] for part in (optimizer.variables, variables))
    for parts in zip(*gradients, strict=True):
        moved, state = apply(state, list(parts), moved)
    return [np.asarray(weight) for weight in moved]


def check(name, variant):
    """How far each network moved, relative to its largest move, agrees to 1e-4."""
    values = {**NOTHING, **VARIANTS[variant], "rate": RATES.get(name, (0.001, 0.01, 0.05))}
    weights, gradients = start_and_gradients()
    settings = OptimizerSettings(
        *(per_network(values[field]) for field in ("rate", "momentum", "nesterov", "weight_decay")),
    )
    ours = stacked(name, settings, per_network(values["clip_norm"]), weights, gradients)
    for network in range(STACK):
        theirs = alone(name, network, values, weights, gradients)
        for start, our, their in zip(weights, ours, theirs, strict=True):
            moved = their - start[network]
            largest = np.abs(moved).max()
            assert largest > 1e-3
            np.testing.assert_allclose(our[network] - start[network], moved, rtol=0, atol=1e-4 * largest)


def test_registry_has_the_names_of_architectures():
    assert tuple(OPTIMIZERS) == OPTIMIZER_NAMES


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_stack_moves_as_keras(name, variant):
    check(name, variant)


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_networks_of_a_stack_may_have_taken_different_numbers_of_steps(name):
    optimizer, (weights, gradients) = OPTIMIZERS[name], start_and_gradients()
    settings = OptimizerSettings(
        *(per_network(values) for values in ((0.1, 0.2, 0.3), (0.0, 0.5, 0.9), (0, 1, 1), (0, 0, 0.1)))
    )
    steps = per_network((0, 7, 400))
    moments = [np.abs(gradients[0][i + 1]) for i in range(optimizer.moments)]
    together, kept = optimizer.at(settings, steps)(weights[0], gradients[0][0], moments)
    for network, step in enumerate(steps.ravel()):
        one = slice(network, network + 1)
        own = OptimizerSettings(*(values[one] for values in settings))
        weight, kept_alone = optimizer.at(own, step)(weights[0][one], gradients[0][0][one], [m[one] for m in moments])
        np.testing.assert_allclose(together[one], weight, rtol=1e-6, atol=1e-7)
        for ours, theirs in zip(kept, kept_alone, strict=True):
            np.testing.assert_allclose(ours[one], theirs, rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_padding_stays_exactly_zero(name):
    optimizer, zeros = OPTIMIZERS[name], np.zeros((STACK, 2, 3), np.float32)
    settings = OptimizerSettings(*(per_network((value,) * STACK) for value in (0.1, 0.9, 1.0, 0.1)))
    weight, moments = zeros, [np.full_like(zeros, optimizer.initial) for _ in range(optimizer.moments)]
    for step in range(3):
        weight, moments = optimizer.at(settings, np.float32(step))(weight, zeros, moments)
    np.testing.assert_array_equal(weight, zeros)


def test_nadam_is_keras_past_its_table_of_products():
    """One weight, 300 steps, so that the product of momentums has long reached zero."""
    settings = OptimizerSettings(*(per_network((value,)) for value in (0.01, 0.0, 0.0, 0.0)))
    gradients = np.random.default_rng(2).normal(size=(300, 1, 1, 1)).astype(np.float32)
    update = compiled(lambda step, *of_weight: OPTIMIZERS["nadam"].at(settings, step)(*of_weight))
    weight = np.zeros((1, 1, 1), np.float32)
    moments = (weight, weight)
    for step, gradient in enumerate(gradients):
        weight, moments = update(np.float32(step), weight, gradient, moments)
    theirs = keras_moves(keras.optimizers.Nadam(0.01), [np.zeros((1, 1), np.float32)], [gradients[:, 0]])
    np.testing.assert_allclose(weight[0], theirs[0], rtol=1e-4)


def test_clipping_without_gradient_and_with_an_infinite_one():
    gradients = [np.zeros((3, 2, 2), np.float32), np.zeros((3, 1, 2), np.float32)]
    gradients[0][2, 0, 0] = np.inf
    *tensors, clip_norm = map(keras.ops.convert_to_tensor, (*gradients, per_network((0.0, 1.0, 1.0))))
    kernel, bias = (np.asarray(part) for part in clip_by_global_norm(tensors, clip_norm))
    assert not kernel[:2].any()
    assert not bias[:2].any()
    assert np.isnan(kernel[2]).all()
    assert np.isnan(bias[2]).all()
