"""The short cut for what most stacks are: one activation, Adam, dropout and nothing else.

Adam is TensorFlow's fused kernel; back-propagation is written out, and so are the losses' gradients but the Gaussian
one's: half as many operations as the general program has, and most of a small network's step is the cost of operations.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import raw_ops

from hpo.engine.backend.tensorflow_functions import CompiledFunction, FunctionStore
from hpo.engine.backend.tensorflow_kernels import read, shapeless_variable
from hpo.engine.heads import HEADS, TrainedHead
from hpo.engine.layout import ProgramKind
from hpo.engine.optimizers import ADAM
from hpo.engine.program import Epoch, FloatArray, LaneSettings, Rows, State, Weights
from hpo.network.activations import ACTIVATIONS


class _Layer(NamedTuple):
    """Kernel (s, in, out), bias (s, 1, out), slopes (s, 1, out) or None."""

    kernel: tf.Tensor
    bias: tf.Tensor
    slopes: tf.Tensor | None = None


class _Constants(NamedTuple):
    """Of the graph: one node each, as half of a program's nodes would otherwise be copies of them."""

    rows_axis: tf.Tensor
    beta_1: tf.Tensor
    beta_2: tf.Tensor
    epsilon: tf.Tensor

    @classmethod
    def new(cls) -> "_Constants":
        """In the graph that is being traced."""
        return cls(tf.constant([1]), *map(tf.constant, (ADAM.beta_1, ADAM.beta_2, ADAM.epsilon)))


class _Rates(NamedTuple):
    """Of one step: its learning rate, and Adam's betas to the power of the steps taken, this one included."""

    learning_rate: tf.Tensor
    power_1: tf.Tensor
    power_2: tf.Tensor


class _Pass(NamedTuple):
    """Logits (s, rows, classes); each layer's input; each hidden layer's values before and after its activation."""

    logits: tf.Tensor
    inputs: list[tf.Tensor]
    before: list[tf.Tensor]
    after: list[tf.Tensor]


class _Variables(NamedTuple):
    """Weights, and Adam's moments of each, in the order of the program's names."""

    weights: list[tf.Variable]
    means: list[tf.Variable]
    squares: list[tf.Variable]


class FusedProgram:
    """One function for plain networks of one depth and activation (see `hpo.engine.program.Program`)."""

    def __init__(self, kind: ProgramKind, matmul: Callable[..., tf.Tensor], store: FunctionStore) -> None:
        self._kind, self._store = kind, store
        self._activation = ACTIVATIONS[kind.activations[0]]
        self._matmul = matmul
        parts = ("kernel", "bias", "slopes") if self._activation.learns_slopes else ("kernel", "bias")
        self._names = [[f"{part}_{i}" for part in parts] for i in range(kind.depth)] + [["kernel_out", "bias_out"]]
        self._flat = [name for layer in self._names for name in layer]
        self._threshold, self._widths = np.uint8(0), np.zeros(kind.depth, np.int32)
        self._data: tuple[tf.Tensor, ...] = ()  # inputs and targets of the training rows
        self._variables = _Variables(*([shapeless_variable() for _ in self._flat] for _ in range(3)))
        self._epoch: CompiledFunction | None = None

    def start(self, rows: Rows) -> None:
        """Begin a new stack, whose lanes train on these rows."""
        self._data = (tf.constant(rows.x), tf.constant(rows.y))

    def hold(self, state: State, settings: LaneSettings) -> None:
        """Go on with these lanes. Their settings are all the same, as is the number of steps of those that learn."""
        moments = [state.moments["adam"][name] for name in self._flat]
        self._assign([state.weights[name] for name in self._flat], *zip(*moments, strict=True))
        self._threshold = settings["dropout_threshold"][0, 0, 0]
        self._widths = np.array([state.weights[f"kernel_{i}"].shape[2] for i in range(len(self._widths))], np.int32)

    def run(self, epoch: Epoch) -> FloatArray:
        """Train, then predict: outputs (s, m, outputs of the head)."""
        variables = [variable for part in self._variables for variable in part]
        if self._epoch is None:
            self._epoch = self._store.get(self._kind, self._trace_epoch, self._signature(), variables)
        learning = int(epoch.first_steps.argmax())  # lanes that have finished stay behind
        arguments = (
            *self._data,
            epoch.order,
            epoch.bits,
            self._widths,
            self._threshold,
            np.int32(epoch.batch_size),
            epoch.learning_rates[learning],
            epoch.first_steps[learning],
            epoch.predict,
        )
        return np.asarray(self._epoch(arguments, variables))

    def weights(self) -> Weights:
        """Copies of the current weights, and of the statistics."""
        return {name: variable.numpy() for name, variable in zip(self._flat, self._variables.weights, strict=True)}

    def state(self) -> State:
        """A copy of the whole state, of arrays of the host."""
        parts = zip(self._flat, self._variables.means, self._variables.squares, strict=True)
        moments = {name: (mean.numpy(), square.numpy()) for name, mean, square in parts}
        return State(self.weights(), {}, {"adam": moments})

    def release(self) -> None:
        """Give the stack's memory back; the compiled program stays."""
        nothing = [np.zeros((1, 1, 1), np.float32)] * len(self._flat)
        self._assign(nothing, nothing, nothing)
        self._data = ()

    def _assign(self, *values: Sequence[FloatArray]) -> None:
        for variables, arrays in zip(self._variables, values, strict=True):
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array, read_value=False)

    def _signature(self) -> list[tf.TensorSpec]:
        class_numbers, others = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.float32)
        targets = class_numbers if self._kind.takes_class_numbers else others
        return [
            tf.TensorSpec([None, None], tf.float32),
            targets,
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, None, None], tf.uint8),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([], tf.uint8),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([None, None, None], tf.float32),
        ]

    def _layers(self) -> list[_Layer]:
        values = map(read, self._variables.weights)
        return [_Layer(*(next(values) for _ in names)) for names in self._names]

    def _trace_epoch(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        order: tf.Tensor,
        bits: tf.Tensor,
        widths: tf.Tensor,
        threshold: tf.Tensor,
        batch_size: tf.Tensor,
        rates: tf.Tensor,
        first_step: tf.Tensor,
        predict: tf.Tensor,
    ) -> tf.Tensor:
        rows, scale = tf.shape(order)[1], 256.0 / (256.0 - tf.cast(threshold, tf.float32))
        constants = _Constants.new()
        classes = tf.shape(read(self._variables.weights[-1]))[2] if self._kind.takes_class_numbers else None

        def step(start: tf.Tensor, number: tf.Tensor, *powers: tf.Tensor) -> tuple[tf.Tensor, ...]:
            stop = tf.minimum(start + batch_size, rows)
            size = stop - start
            index = raw_ops.Slice(input=order, begin=tf.stack([0, start]), size=tf.stack([-1, size]))
            part = raw_ops.Slice(input=bits, begin=tf.stack([0, start, 0]), size=tf.stack([-1, size, -1]))
            kept = tf.cast(part >= threshold, tf.float32) * scale
            factors = tf.split(kept, widths, axis=2, num=len(self._widths))
            targets = tf.gather(y, index) if classes is None else tf.one_hot(tf.gather(y, index), classes)
            self._update(tf.gather(x, index), targets, factors, _Rates(tf.gather(rates, number), *powers), constants)
            return stop, number + 1, powers[0] * constants.beta_1, powers[1] * constants.beta_2

        powers = [beta ** (first_step + 1.0) for beta in (constants.beta_1, constants.beta_2)]
        tf.while_loop(lambda start, *_: start < rows, step, [0, 0, *powers], parallel_iterations=1)
        return self._forward(self._layers(), predict).logits

    def _forward(self, layers: Sequence[_Layer], x: tf.Tensor, factors: Sequence[tf.Tensor] | None = None) -> _Pass:
        inputs, before, after = [x], [], []
        for index, layer in enumerate(layers[:-1]):
            before.append(self._matmul(inputs[-1], layer.kernel) + layer.bias)
            after.append(self._activation.function(before[-1], layer.slopes))
            inputs.append(after[-1] if factors is None else after[-1] * factors[index])
        return _Pass(self._matmul(inputs[-1], layers[-1].kernel) + layers[-1].bias, inputs, before, after)

    def _update(
        self, x: tf.Tensor, y: tf.Tensor, factors: Sequence[tf.Tensor], rates: _Rates, constants: _Constants
    ) -> None:
        layers = self._layers()
        gradients = self._gradients(layers, self._forward(layers, x, factors), y, factors, constants)
        # A variable that is still to be read would be copied before it is updated.
        with tf.control_dependencies([tf.group(gradients)]):
            for variable, mean, square, gradient in zip(*self._variables, gradients, strict=True):
                raw_ops.ResourceApplyAdam(
                    var=variable.handle,
                    m=mean.handle,
                    v=square.handle,
                    beta1_power=rates.power_1,
                    beta2_power=rates.power_2,
                    lr=rates.learning_rate,
                    beta1=constants.beta_1,
                    beta2=constants.beta_2,
                    epsilon=constants.epsilon,
                    grad=gradient,
                )

    def _gradients(
        self,
        layers: Sequence[_Layer],
        result: _Pass,
        y: tf.Tensor,
        factors: Sequence[tf.Tensor],
        constants: _Constants,
    ) -> list[tf.Tensor]:
        """Back-propagation written out, of the loss to each weight, in the order of the variables.

        With shapes unknown until it runs, TensorFlow's own gradients of `+` and `*` do shape arithmetic that takes
        more operations than the rest of a small network's step; it differentiates activations only, and one loss.
        """
        upstream = _loss_gradient(HEADS[self._kind.head], y, result.logits)
        gradients: list[tf.Tensor] = []
        to_slopes: list[tf.Tensor] = []
        for index in reversed(range(len(layers))):
            to_kernel = self._matmul(result.inputs[index], upstream, transpose_a=True)
            to_bias = raw_ops.Sum(input=upstream, axis=constants.rows_axis, keep_dims=True)
            gradients = [to_kernel, to_bias, *to_slopes, *gradients]
            if index > 0:
                upstream = self._matmul(upstream, layers[index].kernel, transpose_b=True) * factors[index - 1]
                slopes = layers[index - 1].slopes
                sources = [result.before[index - 1], *([] if slopes is None else [slopes])]
                upstream, *to_slopes = tf.gradients(result.after[index - 1], sources, upstream)
        return gradients


def _loss_gradient(head: TrainedHead, y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Of the sum of the lanes' mean losses to the outputs (s, rows, outputs); classes are one-hot."""
    rows, count = tf.unstack(tf.cast(tf.shape(outputs)[1:], tf.float32), num=2)
    if head.gradient is not None:
        return head.gradient(y, outputs, rows, count)
    (gradient,) = tf.gradients(tf.reduce_sum(head.row_losses(y, outputs, None)) / rows, [outputs])
    return gradient
