"""TensorFlow backend: compile, gradient and update for CPU.

A whole epoch is one graph with a while loop, run by the single-threaded executor, which costs well under a
microsecond per operation. Variables have no fixed shape, so one trace serves every width, stack size and batch size.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hpo.engine.backend.cache import ProgramCache
from hpo.engine.backend.tensorflow_functions import CompiledFunction, FunctionStore
from hpo.engine.backend.tensorflow_fused import FusedProgram
from hpo.engine.backend.tensorflow_gradients import known_repetition
from hpo.engine.backend.tensorflow_kernels import has_onednn, onednn_matmul, read, shapeless_variable
from hpo.engine.layout import ProgramKind, Widths
from hpo.engine.program import Epoch, FloatArray, LaneSettings, Rows, State, Weights
from hpo.engine.step import Batch, dropout_factors, forward, loss, noisy, update

MATRICES = ("kernel", "frequencies")
"""Names of weights begin so; others are vectors (s, 1, units)."""
STACKED_PARAMETERS = 100_000
"""Networks of fewer weights train their replicates in one stack."""
MOST_GENERAL = 32
"""General programs in memory, 2 to 3 MB each: a space with many choices has a kind for almost every trial."""


def use_one_thread() -> None:
    """Pin TensorFlow to one thread; call before the first operation."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # A program is written as it should run: rewriting it takes a quarter of the time to trace it.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


class GeneralProgram:
    """Any kind of stack, with TensorFlow's gradients and the update in single operations.

    See `hpo.engine.program.Program` for what it does.
    """

    def __init__(self, kind: ProgramKind, matmul: Callable[..., tf.Tensor], store: FunctionStore) -> None:
        self._kind, self._matmul, self._store = kind, matmul, store
        self._state: State | None = None  # of variables
        self._settings: dict[str, tf.Tensor] = {}
        self._widths = np.zeros(kind.depth, np.int32)
        self._rows: Rows | None = None  # of tensors
        self._epoch: CompiledFunction | None = None

    def start(self, rows: Rows) -> None:
        """Begin a new stack, whose lanes train on these rows."""
        self._rows = Rows(*map(tf.constant, rows))

    def hold(self, state: State, settings: LaneSettings) -> None:
        """Go on with these lanes."""
        if self._state is None:
            self._state = tf.nest.map_structure(lambda _: shapeless_variable(), state)
        self._assign(state)
        self._settings = {name: tf.constant(array) for name, array in settings.items()}
        self._widths = np.array([state.weights[f"kernel_{i}"].shape[2] for i in range(self._kind.depth)], np.int32)

    def run(self, epoch: Epoch) -> FloatArray:
        """Train, then predict: outputs (s, m, outputs of the head)."""
        variables = tf.nest.flatten(self._state)
        if self._epoch is None:
            self._epoch = self._store.get(self._kind, self._trace_epoch, self._signature(), variables)
        arguments = (
            self._settings,
            self._rows,
            self._widths,
            epoch.order,
            epoch.bits,
            epoch.input_bits,
            epoch.noise,
            epoch.learning_rates,
            np.int32(epoch.batch_size),
            epoch.first_steps,
            epoch.predict,
        )
        return np.asarray(self._epoch(arguments, variables))

    def weights(self) -> Weights:
        """Copies of the current weights, and of the statistics."""
        assert self._state is not None
        return {n: variable.numpy() for n, variable in {**self._state.weights, **self._state.statistics}.items()}

    def state(self) -> State:
        """A copy of the whole state, of arrays of the host."""
        copy: State = tf.nest.map_structure(lambda variable: variable.numpy(), self._state)
        return copy

    def release(self) -> None:
        """Give the stack's memory back; the compiled program stays."""
        self._assign(tf.nest.map_structure(lambda _: tf.zeros((1, 1, 1)), self._state))
        self._rows = None

    def forget(self) -> None:
        """Give the compiled program's memory back."""
        if self._epoch is not None:
            self._epoch.forget()

    def _assign(self, values: State) -> None:
        for variable, value in zip(tf.nest.flatten(self._state), tf.nest.flatten(values), strict=True):
            variable.assign(value, read_value=False)

    def _signature(self) -> list[Any]:
        def spec(rank: int, dtype: tf.DType = tf.float32) -> tf.TensorSpec:
            return tf.TensorSpec([None] * rank, dtype)

        settings = {
            name: tf.TensorSpec([None, 1, None if name.startswith("units") else 1], tensor.dtype)
            for name, tensor in self._settings.items()
        }
        random = [spec(3, tf.uint8), spec(3, tf.uint8), spec(3)]
        targets = spec(1, tf.int32) if self._kind.takes_class_numbers else spec(2)
        return [
            settings, Rows(spec(2), targets, spec(1)), spec(1, tf.int32), spec(2, tf.int32), *random, spec(2),
            spec(0, tf.int32), spec(1), spec(3),
        ]  # fmt: skip

    def _read_state(self) -> State:
        """The state's tensors, vectors with a shape that says so."""
        state: State = tf.nest.map_structure(read, self._state)
        for name, tensor in {**state.weights, **state.statistics}.items():
            if not name.startswith(MATRICES):
                tensor.set_shape([None, 1, None])
        return state

    def _trace_epoch(
        self,
        settings: Mapping[str, tf.Tensor],
        rows: Rows,
        widths: tf.Tensor,
        order: tf.Tensor,
        bits: tf.Tensor,
        input_bits: tf.Tensor,
        noise: tf.Tensor,
        rates: tf.Tensor,
        batch_size: tf.Tensor,
        first_steps: tf.Tensor,
        predict: tf.Tensor,
    ) -> tf.Tensor:
        assert self._state is not None
        kind, count = self._kind, tf.shape(order)[1]

        def step(start: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            part = slice(start, tf.minimum(start + batch_size, count))
            index = order[:, part]
            inputs = tf.gather(rows.x, index)
            if kind.noisy:
                inputs = noisy(inputs, noise[:, part], input_bits[:, part], settings)
            hidden = tf.split(bits[:, part], widths, axis=2, num=kind.depth)
            row_weights = tf.gather(rows.row_weights, index) if kind.weighted else None
            batch = Batch(inputs, tf.gather(rows.y, index), dropout_factors(hidden, settings), row_weights)
            state = self._read_state()
            with known_repetition():
                total, statistics = loss(kind, state.weights, state.statistics, settings, self._matmul, batch)
            names = list(state.weights)
            gradients = dict(zip(names, tf.gradients(total, [state.weights[n] for n in names]), strict=True))
            taken = (first_steps + tf.cast(number, tf.float32))[:, None, None]
            new = update(kind, state, gradients, settings, rates[:, number, None, None], taken)
            self._assign(new._replace(statistics=statistics))
            return part.stop, number + 1

        tf.while_loop(lambda start, _: start < count, step, [0, 0], parallel_iterations=1)
        trained = {name: read(variable) for name, variable in {**self._state.weights, **self._state.statistics}.items()}
        return forward(kind, trained, predict, settings, self._matmul)[0]


class TensorFlowBackend:
    """Programs by kind (see `hpo.engine.program.Backend`)."""

    def __init__(self, cache: ProgramCache | None = None) -> None:
        self._matmul = onednn_matmul if has_onednn() else tf.matmul
        self._store = FunctionStore(self._matmul.__name__, cache)
        self._fused: dict[ProgramKind, FusedProgram] = {}
        self._general: dict[ProgramKind, GeneralProgram] = {}  # the one used last at the end

    @property
    def traces(self) -> int:
        """How often an epoch was traced so far."""
        return self._store.traces

    def program(self, kind: ProgramKind) -> FusedProgram | GeneralProgram:
        """The program for stacks of this kind; compiled at its first epoch."""
        if kind.is_plain:  # there are few such kinds
            if kind not in self._fused:
                self._fused[kind] = FusedProgram(kind, self._matmul, self._store)
            return self._fused[kind]
        if kind not in self._general and len(self._general) >= MOST_GENERAL:
            self._general.pop(next(iter(self._general))).forget()
        program = self._general.pop(kind, None) or GeneralProgram(kind, self._matmul, self._store)
        self._general[kind] = program
        return program

    def tensor(self, array: npt.NDArray[Any]) -> tf.Tensor:
        """A copy of `array` on the device."""
        return tf.constant(array)

    def trains_together(self, parameters: int) -> bool:
        """Whether networks are small: their step is mostly the cost of operations, and larger ones fill the cache."""
        return parameters < STACKED_PARAMETERS

    def most_lanes(self, lanes: int) -> int:
        """All lanes train at once."""
        return lanes

    def predicted_rows(self, rows: int) -> int:
        """All rows are predicted at once."""
        return rows

    def lanes_for(self, live: int) -> int:
        """A stack keeps no others, as shapes cost nothing to change."""
        return live

    def widths_for(self, widths: Widths) -> Widths:
        """Layers are as wide as their widest lane needs."""
        return widths
