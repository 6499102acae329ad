"""TensorFlow backend: compile, gradient and fused update for CPU.

A whole epoch is one graph with a while loop, run by the single-threaded executor, which costs well under a
microsecond per operation. Variables have no fixed shape, so one trace serves every width, stack size and batch size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.eager import context  # function_executor_type has no public name

from hpo.network.activations import ACTIVATIONS
from hpo.training.optimizers import ADAM
from hpo.training.stack import Epoch, FloatArray, Weights
from hpo.training.step import Layer, Pass, forward, training_loss

EXECUTOR = "SINGLE_THREADED_EXECUTOR"


def use_one_thread() -> None:
    """Pin TensorFlow to one thread; call before the first operation."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _onednn_matmul(a: tf.Tensor, b: tf.Tensor, transpose_a: bool = False, transpose_b: bool = False) -> tf.Tensor:
    """Batched product by oneDNN's kernel, 1.7 to 2.5 times faster than Eigen's on stacks.

    TensorFlow puts this kernel in place of BatchMatMulV2 by itself, but not in loops of the single-threaded executor.
    """
    attributes = {
        "adj_x": tf.compat.v1.AttrValue(b=transpose_a),
        "adj_y": tf.compat.v1.AttrValue(b=transpose_b),
        "T": tf.compat.v1.AttrValue(type=tf.float32.as_datatype_enum),
        "_kernel": tf.compat.v1.AttrValue(s=b"MklNameChangeOp"),
    }
    graph = tf.compat.v1.get_default_graph()
    product = graph.create_op("_MklBatchMatMulV2", [a, b], [tf.float32], attrs=attributes, name="product").outputs[0]
    rows, columns = a.shape[-1 if transpose_a else -2], b.shape[-2 if transpose_b else -1]
    product.set_shape([a.shape[0], rows, columns])
    return product


def _has_onednn() -> bool:
    """Whether this build of TensorFlow carries oneDNN's batched product and it gives the right answer."""
    a, b = tf.constant([[[1.0, 2.0]]]), tf.constant([[[3.0], [4.0]]])
    try:
        return bool(tf.function(_onednn_matmul, autograph=False)(a, b)[0, 0, 0] == 11.0)
    except (tf.errors.OpError, ValueError, RuntimeError):
        return False


class TensorFlowProgram:
    """One trace for networks of one depth and activation (see `hpo.training.stack.Program`)."""

    def __init__(self, depth: int, activation: str, matmul: Callable[..., tf.Tensor]) -> None:
        self.traces = 0
        self._activation = ACTIVATIONS[activation]
        self._matmul = matmul
        per_hidden = 3 if self._activation.learns_slopes else 2
        self._layout = [per_hidden] * depth + [2]
        count = sum(self._layout)
        self._x: tf.Tensor | None = None
        self._y: tf.Tensor | None = None
        self._weights, self._means, self._squares = ([_shapeless_variable() for _ in range(count)] for _ in range(3))
        scalar, integer = tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.int32)
        self._epoch = tf.function(
            self._trace_epoch,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None, None, None], tf.uint8),
                tf.TensorSpec([], tf.uint8),
                integer,
                scalar,
                scalar,
                tf.TensorSpec([None, None, None], tf.float32),
            ],
        )

    def start(self, weights: Weights, x: FloatArray, y: npt.NDArray[np.int32]) -> None:
        """Begin a new stack with zero moments."""
        self._assign(weights, *([np.zeros_like(w) for w in weights] for _ in range(2)))
        self._x, self._y = tf.constant(x), tf.constant(y)

    def run(self, epoch: Epoch) -> FloatArray:
        """Train, then predict: logits (s, m, classes)."""
        with context.function_executor_type(EXECUTOR):
            logits = self._epoch(
                self._x,
                self._y,
                epoch.order,
                epoch.bits,
                np.uint8(epoch.threshold),
                np.int32(epoch.batch_size),
                np.float32(epoch.learning_rate),
                np.float32(epoch.first_step),
                epoch.predict,
            )
        return np.asarray(logits)

    def weights(self) -> Weights:
        """Copies of the current weights."""
        return [variable.numpy() for variable in self._weights]

    def keep(self, lanes: Sequence[int]) -> None:
        """Drop all lanes but these."""
        states = (self._weights, self._means, self._squares)
        self._assign(*([variable.numpy()[list(lanes)] for variable in state] for state in states))

    def release(self) -> None:
        """Give the stack's memory back; the compiled program stays."""
        nothing = [np.zeros((1, 1, 1), np.float32)] * len(self._weights)
        self._assign(nothing, nothing, nothing)
        self._x = self._y = None

    def _assign(self, *values: Weights) -> None:
        for variables, arrays in zip((self._weights, self._means, self._squares), values, strict=True):
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array, read_value=False)

    def _layers(self, weights: Sequence[tf.Tensor]) -> list[Layer]:
        layers, start = [], 0
        for length in self._layout:
            layers.append(Layer(*weights[start : start + length]))
            start += length
        return layers

    def _trace_epoch(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        order: tf.Tensor,
        bits: tf.Tensor,
        threshold: tf.Tensor,
        batch_size: tf.Tensor,
        learning_rate: tf.Tensor,
        first_step: tf.Tensor,
        predict: tf.Tensor,
    ) -> tf.Tensor:
        self.traces += 1
        stack, rows = tf.unstack(tf.shape(order))
        widths = [tf.shape(variable.read_value())[2] for variable in self._kernels()[:-1]]
        scale = 256.0 / (256.0 - tf.cast(threshold, tf.float32))

        def step(start: tf.Tensor, time: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            stop = tf.minimum(start + batch_size, rows)
            index = tf.reshape(order[:, start:stop], [-1])
            inputs = tf.reshape(tf.gather(x, index), [stack, stop - start, -1])
            kept = tf.cast(bits[:, start:stop] >= threshold, tf.float32) * scale
            masks = tf.split(kept, tf.stack(widths), axis=2, num=len(widths))
            self._update(inputs, tf.gather(y, index), masks, learning_rate, time)
            return stop, time + 1.0

        tf.while_loop(lambda start, _: start < rows, step, [0, first_step + 1.0], parallel_iterations=1)
        layers = self._layers([variable.read_value() for variable in self._weights])
        return forward(layers, predict, self._activation, self._matmul).logits

    def _kernels(self) -> list[tf.Variable]:
        starts = np.cumsum([0, *self._layout[:-1]])
        return [self._weights[start] for start in starts]

    def _update(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        masks: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
        time: tf.Tensor,
    ) -> None:
        layers = self._layers([variable.read_value() for variable in self._weights])
        result = forward(layers, x, self._activation, self._matmul, masks)
        gradients = self._gradients(layers, result, y, masks)
        power_1, power_2 = ADAM.beta_1**time, ADAM.beta_2**time
        for variable, mean, square, gradient in zip(self._weights, self._means, self._squares, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=power_1,
                beta2_power=power_2,
                lr=learning_rate,
                beta1=ADAM.beta_1,
                beta2=ADAM.beta_2,
                epsilon=ADAM.epsilon,
                grad=gradient,
            )

    def _gradients(
        self, layers: Sequence[Layer], result: Pass, y: tf.Tensor, masks: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Back-propagation written out, of the loss to each weight, in the order of the variables.

        With shapes unknown until it runs, TensorFlow's own gradients of `+` and `*` do shape arithmetic that takes
        more operations than the rest of a small network's step; it differentiates loss and activation only.
        """
        (upstream,) = tf.gradients(training_loss(y, result.logits), [result.logits])
        gradients: list[tf.Tensor] = []
        to_slopes: list[tf.Tensor] = []
        for index in reversed(range(len(layers))):
            to_kernel = self._matmul(result.inputs[index], upstream, transpose_a=True)
            to_bias = tf.reduce_sum(upstream, axis=1, keepdims=True)
            gradients = [to_kernel, to_bias, *to_slopes, *gradients]
            if index > 0:
                upstream = self._matmul(upstream, layers[index].kernel, transpose_b=True) * masks[index - 1]
                slopes = layers[index - 1].slopes
                sources = [result.before[index - 1], *([] if slopes is None else [slopes])]
                upstream, *to_slopes = tf.gradients(result.after[index - 1], sources, upstream)
        return gradients


def _shapeless_variable() -> tf.Variable:
    return tf.Variable(np.zeros((1, 1, 1), np.float32), shape=tf.TensorShape([None] * 3), validate_shape=False)


class TensorFlowBackend:
    """Programs by depth and activation (see `hpo.training.stack.Backend`)."""

    name = "tensorflow"

    def __init__(self) -> None:
        self._matmul = _onednn_matmul if _has_onednn() else tf.matmul
        self._programs: dict[tuple[int, str], TensorFlowProgram] = {}

    @property
    def traces(self) -> int:
        """How often an epoch was traced so far."""
        return sum(program.traces for program in self._programs.values())

    def program(self, depth: int, activation: str) -> TensorFlowProgram:
        """The program for networks with `depth` hidden layers; compiled at its first epoch."""
        key = (depth, activation)
        if key not in self._programs:
            self._programs[key] = TensorFlowProgram(depth, activation, self._matmul)
        return self._programs[key]

    def tensor(self, array: npt.NDArray[Any]) -> tf.Tensor:
        """A copy of `array` on the device."""
        return tf.constant(array)
