"""JAX backend: compile and gradient, for GPU and CPU.

XLA compiles a program for each kind of stack and its shapes. The compiled programs are kept in the user's cache folder,
so that a later study on the same machine need not wait for them.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import numpy.typing as npt
from jax import lax
from jax import numpy as jnp

from hpo.engine.backend.cache import cache_folder, make_room
from hpo.engine.layout import ProgramKind, Widths
from hpo.engine.program import Epoch, FloatArray, LaneSettings, Rows, State, Weights
from hpo.engine.step import Batch, dropout_factors, forward, loss, noisy, update

LEAST_ROUNDED = 8
PREDICTED_ROWS = 128
"""At a time: predictions of other numbers of rows would be other programs."""
MOST_COMPILED = 16
"""Compiled programs in memory, each tens of MiB; those on disk are quickly loaded again."""
Array = Any
_NO_OUTPUTS = np.empty((0, 0, 0), np.float32)


def use_cache() -> None:
    """Keep compiled programs in the user's cache folder."""
    if folder := cache_folder("xla"):
        make_room(folder)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


class JaxProgram:
    """Any kind of stack (see `hpo.engine.program.Program`)."""

    def __init__(self, kind: ProgramKind) -> None:
        self.traces = 0
        self._kind = kind
        self._state: State | None = None
        self._settings: dict[str, Array] = {}
        self._rows: Rows | None = None  # of JAX's arrays
        self._train = jax.jit(self._trace_training, donate_argnums=0, static_argnames="batch_size")
        self._predict = jax.jit(self._trace_prediction)

    def start(self, rows: Rows) -> None:
        """Begin a new stack, whose lanes train on these rows."""
        self._rows = jax.device_put(rows)

    def hold(self, state: State, settings: LaneSettings) -> None:
        """Go on with these lanes, of arrays of the host: any operation of JAX would be compiled for each shape."""
        self._state = None  # before the device has to hold both
        self._state, self._settings = jax.device_put((state, settings), may_alias=False)

    def run(self, epoch: Epoch) -> FloatArray:
        """Train, then predict: outputs (s, m, outputs of the head)."""
        assert self._state is not None
        rows, batch = epoch.order.shape[1], epoch.batch_size
        if rows:
            # Rows that fill the last batch up count nothing. They repeat the row before: others could overflow where
            # a lane's own do not, and what is not finite stays so when it is multiplied by 0.
            missing = -rows % batch
            present = np.concatenate([np.ones(rows, np.float32), np.zeros(missing, np.float32)])
            room = [(0, 0), (0, missing), (0, 0)]
            random = [np.pad(part, room, "edge") for part in (epoch.bits, epoch.input_bits, epoch.noise)]
            self._state = self._train(
                self._state,
                self._settings,
                self._rows,
                np.pad(epoch.order, room[:2], "edge"),
                random,
                present,
                epoch.learning_rates,
                epoch.first_steps,
                batch_size=batch,
            )
        return self._predicted(epoch.predict)

    def weights(self) -> Weights:
        """Copies of the current weights, and of the statistics."""
        assert self._state is not None
        return {name: np.array(w) for name, w in {**self._state.weights, **self._state.statistics}.items()}

    def state(self) -> State:
        """A copy of the whole state, of arrays of the host."""
        copy: State = jax.tree.map(np.array, self._state)
        return copy

    def release(self) -> None:
        """Give the stack's memory back; the compiled program stays."""
        self._state, self._settings = None, {}
        self._rows = None

    def _trace_training(
        self,
        state: State,
        settings: Mapping[str, Array],
        rows: Rows,
        order: Array,
        random: Sequence[Array],
        present: Array,
        rates: Array,
        first_steps: Array,
        batch_size: int,
    ) -> State:
        self.traces += 1
        kind = self._kind
        edges = np.cumsum([state.weights[f"kernel_{i}"].shape[2] for i in range(kind.depth)])[:-1]
        gradient = jax.value_and_grad(partial(_loss, kind), has_aux=True)

        def step(number: Array, state: State) -> State:
            def part(array: Array) -> Array:
                return lax.dynamic_slice_in_dim(array, number * batch_size, batch_size, 1)

            index = part(order)
            bits, input_bits, noise = map(part, random)
            inputs = noisy(rows.x[index], noise, input_bits, settings) if kind.noisy else rows.x[index]
            factors = dropout_factors(jnp.split(bits, edges, axis=2), settings)
            row_weights = rows.row_weights[index] if kind.weighted else None
            there = lax.dynamic_slice_in_dim(present, number * batch_size, batch_size)
            batch = Batch(inputs, rows.y[index], factors, row_weights, there)
            (_, statistics), gradients = gradient(state.weights, state.statistics, settings, batch)
            rate, taken = rates[:, number, None, None], first_steps[:, None, None] + number
            new = update(kind, state, gradients, settings, rate, taken)
            return new._replace(statistics=statistics)

        trained: State = lax.fori_loop(0, rates.shape[1], step, state)
        return trained

    def _predicted(self, x: FloatArray) -> FloatArray:
        assert self._state is not None
        weights = {**self._state.weights, **self._state.statistics}
        rows = x.shape[1]
        parts = []
        for start in range(0, rows, PREDICTED_ROWS):
            part = x[:, start : start + PREDICTED_ROWS]
            full = np.pad(part, [(0, 0), (0, PREDICTED_ROWS - part.shape[1]), (0, 0)])
            parts.append(self._predict(weights, self._settings, full))
        return np.concatenate([np.asarray(part) for part in parts], axis=1)[:, :rows] if parts else _NO_OUTPUTS

    def _trace_prediction(self, weights: Mapping[str, Array], settings: Mapping[str, Array], x: Array) -> Array:
        return forward(self._kind, weights, x, settings, jnp.matmul)[0]


def _loss(
    kind: ProgramKind,
    weights: Mapping[str, Array],
    statistics: Mapping[str, Array],
    settings: Mapping[str, Array],
    batch: Batch,
) -> tuple[Array, dict[str, Array]]:
    return loss(kind, weights, statistics, settings, jnp.matmul, batch)


class JaxBackend:
    """Programs by kind (see `hpo.engine.program.Backend`)."""

    def __init__(self) -> None:
        if jax.default_backend() != "cpu":  # which would round factors to 10 bits
            jax.config.update("jax_default_matmul_precision", "float32")
        self._programs: dict[ProgramKind, JaxProgram] = {}
        self._forgotten = 0  # traces whose programs are no longer in memory

    @property
    def traces(self) -> int:
        """How often training was compiled so far."""
        return sum(program.traces for program in self._programs.values())

    def program(self, kind: ProgramKind) -> JaxProgram:
        """The program for stacks of this kind; compiled for each new shape."""
        if self.traces - self._forgotten >= MOST_COMPILED:
            self._forgotten = self.traces
            jax.clear_caches()
        return self._programs.setdefault(kind, JaxProgram(kind))

    def tensor(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array itself: a program takes a part of it at a time."""
        return array

    def trains_together(self, parameters: int) -> bool:
        """Whether there is a GPU; a processor multiplies a stack no faster, and lanes that finish would wait."""
        return bool(jax.default_backend() != "cpu")

    def most_lanes(self, lanes: int) -> int:
        """Up to 8 lanes train at once, of 9 to 31 it is 8, of more a power of two, so that few numbers are compiled."""
        return lanes if lanes <= LEAST_ROUNDED else _power_of_two(lanes // 4 + 1)

    def predicted_rows(self, rows: int) -> int:
        """A prediction takes 128 rows at most."""
        return min(rows, PREDICTED_ROWS)

    def lanes_for(self, live: int) -> int:
        """A stack keeps the next power of two, at least 8."""
        return _power_of_two(live)

    def widths_for(self, widths: Widths) -> Widths:
        """Each layer gets the next of 8, 12, 16, 24, 32, 48, ... units: other widths would be other programs."""
        return tuple(map(_rounded, widths))


def _power_of_two(number: int) -> int:
    """The next one, of at least 8."""
    return max(LEAST_ROUNDED, 1 << (number - 1).bit_length())


def _rounded(width: int) -> int:
    power = _power_of_two(width)
    return 3 * power // 4 if power > LEAST_ROUNDED and width <= 3 * power // 4 else power
