"""Optimizers of a stack of networks, in `keras.ops`: each as the Keras optimizer of that name with its defaults."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from keras import ops

Tensor = Any
Moments = tuple[Tensor, ...]

EPSILON = 1e-7
RMSPROP_RHO = 0.9
ADADELTA_RHO = 0.95
LION_BETA_1, LION_BETA_2 = 0.9, 0.99
NADAM_DECAY = 0.96


@dataclass(frozen=True, slots=True)
class Adam:
    """Constants of Adam, and of what was made of it: AdamW, Adamax, Nadam."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = EPSILON


ADAM = Adam()


class OptimizerSettings(NamedTuple):
    """What may differ between the networks of a stack, each (s, 1, 1); `nesterov` is 0 or 1, `weight_decay` None where
    no network's weights decay."""

    learning_rate: Tensor
    momentum: Tensor
    nesterov: Tensor
    weight_decay: Tensor | None


Change = Callable[[Tensor, Moments], tuple[Tensor, Moments]]
"""(gradient, moments) of a weight -> (what to subtract from it, new moments)"""
Rule = Callable[[OptimizerSettings, Tensor], Change]
"""(settings, step) -> what that step does to every weight; so what is the same for all of them is computed once."""
Update = Callable[[Tensor, Tensor, Moments], tuple[Tensor, Moments]]
"""(weight, gradient, moments) -> (new weight, new moments)"""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer that keeps `moments` tensors of a weight's shape, all starting at `initial`."""

    rule: Rule
    moments: int
    initial: float = 0.0

    def at(self, settings: OptimizerSettings, step: Tensor) -> Update:
        """The update of every weight after `step` others, a float scalar or (s, 1, 1); weights, gradients and moments
        are (s, in, out) or (s, 1, out).

        The weight decays first, apart from the gradient (Loshchilov & Hutter 2019, arXiv:1711.05101). Zero weights
        without gradient stay exactly zero.
        """
        change = self.rule(settings, step)
        kept = None if settings.weight_decay is None else 1.0 - settings.learning_rate * settings.weight_decay

        def update(weight: Tensor, gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
            less, new_moments = change(gradient, moments)
            return (weight if kept is None else weight * kept) - less, new_moments

        return update


def clip_by_global_norm(gradients: Sequence[Tensor], clip_norm: Tensor) -> list[Tensor]:
    """Each network's gradients, scaled down to a joint norm of `clip_norm` (s, 1, 1) at most; 0 is off.

    A norm that is not finite makes that network's gradients NaN, as in Keras, so that its divergence shows.
    """
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient), axis=(1, 2), keepdims=True) for gradient in gradients))
    scale = clip_norm * ops.minimum(1.0 / norm, 1.0 / clip_norm) + (norm - norm)
    scale = ops.where(clip_norm > 0.0, scale, 1.0)
    return [gradient * scale for gradient in gradients]


def _constants(*values: float) -> list[Tensor]:
    """One tensor each for all weights: a graph would otherwise have one wherever they occur."""
    return [ops.convert_to_tensor(value, "float32") for value in values]


def _toward(average: Tensor, value: Tensor, share: Tensor) -> Tensor:
    """The moving average after one more value."""
    return average + (value - average) * share


def _sgd(settings: OptimizerSettings, _: Tensor) -> Change:
    """Momentum as in Sutskever et al. 2013; without it, plain descent."""
    rate, momentum, nesterov = settings.learning_rate, settings.momentum, settings.nesterov
    ahead, now = -nesterov, nesterov - 1.0

    def change(gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        (velocity,) = moments
        descent = rate * gradient
        velocity = momentum * velocity - descent
        return ahead * (momentum * velocity - descent) + now * velocity, (velocity,)

    return change


def _rmsprop(settings: OptimizerSettings, _: Tensor) -> Change:
    """Hinton 2012, not centred; the momentum is that of the increments."""
    rho, share, epsilon = _constants(RMSPROP_RHO, 1.0 - RMSPROP_RHO, EPSILON)

    def change(gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        square, velocity = moments
        square = rho * square + share * ops.square(gradient)
        velocity = settings.momentum * velocity + settings.learning_rate * gradient / ops.sqrt(square + epsilon)
        return velocity, (square, velocity)

    return change


def _adagrad(settings: OptimizerSettings, _: Tensor) -> Change:
    """Duchi et al. 2011."""
    (epsilon,) = _constants(EPSILON)

    def change(gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        square = moments[0] + ops.square(gradient)
        return settings.learning_rate * gradient / ops.sqrt(square + epsilon), (square,)

    return change


def _adadelta(settings: OptimizerSettings, _: Tensor) -> Change:
    """Zeiler 2012, arXiv:1212.5701."""
    rho, share, epsilon = _constants(ADADELTA_RHO, 1.0 - ADADELTA_RHO, EPSILON)

    def change(gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        square, square_change = moments
        square = rho * square + share * ops.square(gradient)
        step = ops.sqrt(square_change + epsilon) * gradient / ops.sqrt(square + epsilon)
        square_change = rho * square_change + share * ops.square(step)
        return settings.learning_rate * step, (square, square_change)

    return change


def _adam(settings: OptimizerSettings, step: Tensor) -> Change:
    """Kingma & Ba 2015, arXiv:1412.6980, in the form before section 2.1 (epsilon hat)."""
    bias_1, bias_2 = 1.0 - ops.power(ADAM.beta_1, step + 1.0), 1.0 - ops.power(ADAM.beta_2, step + 1.0)
    rate = settings.learning_rate * ops.sqrt(bias_2) / bias_1
    share_1, share_2, epsilon = _constants(1.0 - ADAM.beta_1, 1.0 - ADAM.beta_2, ADAM.epsilon)

    def change(gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        mean = _toward(moments[0], gradient, share_1)
        square = _toward(moments[1], ops.square(gradient), share_2)
        return mean * rate / (ops.sqrt(square) + epsilon), (mean, square)

    return change


def _adamax(settings: OptimizerSettings, step: Tensor) -> Change:
    """Kingma & Ba 2015, section 7.1."""
    rate = settings.learning_rate / (1.0 - ops.power(ADAM.beta_1, step + 1.0))
    share_1, beta_2, epsilon = _constants(1.0 - ADAM.beta_1, ADAM.beta_2, ADAM.epsilon)

    def change(gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        mean = _toward(moments[0], gradient, share_1)
        largest = ops.maximum(beta_2 * moments[1], ops.abs(gradient))
        return mean * rate / (largest + epsilon), (mean, largest)

    return change


def _nadam_momentum(step: Tensor) -> Tensor:
    """Nadam's beta_1 of the step after `step` others."""
    return ADAM.beta_1 * (1.0 - 0.5 * NADAM_DECAY ** (step + 1.0))


# The product of Nadam's momentums up to each step; after these, 1 minus it is 1 in float32.
_NADAM_PRODUCTS = np.cumprod(_nadam_momentum(np.arange(256.0))).astype(np.float32)


def _nadam(settings: OptimizerSettings, step: Tensor) -> Change:
    """Dozat 2016, with its schedule of momentums."""
    now, following = _nadam_momentum(step), _nadam_momentum(step + 1.0)
    product = ops.take(_NADAM_PRODUCTS, ops.cast(ops.minimum(step, len(_NADAM_PRODUCTS) - 1.0), "int32"))
    of_mean, of_gradient = following / (1.0 - product * following), (1.0 - now) / (1.0 - product)
    bias = 1.0 - ops.power(ADAM.beta_2, step + 1.0)
    share_1, share_2, epsilon = _constants(1.0 - ADAM.beta_1, 1.0 - ADAM.beta_2, ADAM.epsilon)

    def change(gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        mean = _toward(moments[0], gradient, share_1)
        square = _toward(moments[1], ops.square(gradient), share_2)
        ahead = of_mean * mean + of_gradient * gradient
        return ahead * settings.learning_rate / (ops.sqrt(square / bias) + epsilon), (mean, square)

    return change


def _lion(settings: OptimizerSettings, _: Tensor) -> Change:
    """Chen et al. 2023, arXiv:2302.06675."""
    beta_1, share_1, beta_2, share_2 = _constants(LION_BETA_1, 1.0 - LION_BETA_1, LION_BETA_2, 1.0 - LION_BETA_2)

    def change(gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
        (mean,) = moments
        direction = ops.sign(beta_1 * mean + share_1 * gradient)
        return settings.learning_rate * direction, (beta_2 * mean + share_2 * gradient,)

    return change


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(_sgd, moments=1),
    "rmsprop": Optimizer(_rmsprop, moments=2),
    "adagrad": Optimizer(_adagrad, moments=1, initial=0.1),
    "adadelta": Optimizer(_adadelta, moments=2),
    "adam": Optimizer(_adam, moments=2),
    "adamw": Optimizer(_adam, moments=2),
    "adamax": Optimizer(_adamax, moments=2),
    "nadam": Optimizer(_nadam, moments=2),
    "lion": Optimizer(_lion, moments=1),
}
