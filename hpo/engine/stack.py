"""The host's side of a stack: its lanes, and what each epoch needs of their random streams.

A lane draws from streams of its own, row by row, so that its numbers depend neither on its neighbours nor on how an
epoch is divided.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hpo.data.prepared import ReplicateData
from hpo.engine.layout import Layout, Widths, layout_of
from hpo.engine.program import Epoch, LaneSettings, Rows, State, Tensor
from hpo.engine.schedules import learning_rates
from hpo.engine.weights import initial_weights, lane_settings, new_state, stack_weights
from hpo.losses import Head
from hpo.network.architecture import Architecture
from hpo.seeds import generator

MAX_RANDOM_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Streams:
    """A network's random streams: of its initial weights, the order of its rows, dropout, and noise on its inputs."""

    initial: np.random.Generator
    order: np.random.Generator
    dropout: np.random.Generator
    noise: np.random.Generator

    @classmethod
    def of(cls, seed: int, slot: int, replicate: int) -> Self:
        """The streams of a replicate of the slot's trial, in a study with that seed."""
        own = partial(generator, seed, slot=slot, replicate=replicate)
        return cls(initial=own("weights"), order=own("order"), dropout=own("dropout"), noise=own("noise"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """One network in a stack: a replicate of the trial in that slot, and its own random streams."""

    architecture: Architecture
    slot: int
    replicate: int
    data: ReplicateData
    streams: Streams


@dataclass(frozen=True)
class Stack:
    """Lanes that are trained together with one head; all have equally many training rows.

    `widths_for` as in `hpo.engine.program.Backend`.
    """

    lanes: Sequence[Lane]
    head: Head
    widths_for: Callable[[Widths], Widths]

    @cached_property
    def layout(self) -> Layout:
        """How the lanes' networks lie in the stack."""
        architectures = [lane.architecture for lane in self.lanes]
        return layout_of(architectures, self.head.name, self.lanes[0].data.train_w is not None, self.widths_for)

    @property
    def features(self) -> int:
        """Inputs of the networks."""
        return int(self.lanes[0].data.train_x.shape[1])

    def fresh(self, lanes: Sequence[int]) -> State:
        """The state that these lanes start with, each one's weights from its own stream."""
        networks = [
            initial_weights(lane.architecture, self.features, self.head.outputs, lane.streams.initial)
            for lane in map(self.lanes.__getitem__, lanes)
        ]
        return new_state(self.layout.kind, stack_weights(networks, self.layout.only(lanes)))

    def settings(self, lanes: Sequence[int]) -> LaneSettings:
        """What these lanes are trained with."""
        return lane_settings(self.layout.only(lanes))

    def rows(self) -> Rows:
        """Training rows of all replicates; lanes of one replicate share theirs."""
        parts = list({id(lane.data): lane.data for lane in self.lanes}.values())
        alike = np.ones(len(parts[0].train_y), np.float32)
        row_weights = [alike if part.train_w is None else part.train_w for part in parts]
        x, y = np.concatenate([part.train_x for part in parts]), np.concatenate([part.train_y for part in parts])
        return Rows(x, y, np.concatenate(row_weights))

    @cached_property
    def _first_rows(self) -> dict[int, int]:
        """Where a replicate's rows begin, by the identity of its data."""
        rows = len(self.lanes[0].data.train_y)
        first: dict[int, int] = {}
        for lane in self.lanes:
            first.setdefault(id(lane.data), rows * len(first))
        return first

    def epoch(self, held: Sequence[int], numbers: Sequence[int], predict: Tensor) -> Iterator[Epoch]:
        """Each of these lanes' epoch of that number, in parts whose random numbers fit in memory; the last predicts."""
        lanes = [self.lanes[i] for i in held]
        rows = len(lanes[0].data.train_y)
        batch = min(rows, lanes[0].architecture.batch_size)
        steps = -(-rows // batch)
        noisy = self.features if self.layout.kind.noisy else 0
        order = np.stack(
            [lane.streams.order.permutation(rows).astype(np.int32) + self._first_rows[id(lane.data)] for lane in lanes]
        )
        taken = np.array(numbers, np.float32) * steps
        rates = np.stack(
            [learning_rates(a.architecture, n * steps, steps, steps) for a, n in zip(lanes, numbers, strict=True)]
        )
        part_steps = max(1, MAX_RANDOM_BYTES // (len(lanes) * (sum(self.layout.widths) + 5 * noisy) * batch))
        for first in range(0, steps, part_steps):
            part = order[:, first * batch : (first + part_steps) * batch]
            count = part.shape[1]
            bits, input_bits, noise = zip(*(self._random(lane, count) for lane in lanes), strict=True)
            yield Epoch(
                order=part,
                bits=_joined(bits),
                input_bits=_joined(input_bits),
                noise=_joined(noise),
                batch_size=batch,
                learning_rates=rates[:, first : first + part_steps],
                first_steps=taken + first,
                predict=predict if first + part_steps >= steps else predict[:, :0],
            )

    def _random(
        self, lane: Lane, rows: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """A lane's next bits of the stack's hidden units, bits of its inputs and noise, each (rows, …)."""
        own, hidden = lane.architecture, sum(lane.architecture.widths)
        room = self.features if self.layout.kind.noisy else 0
        if not own.is_noisy:
            bits = self._placed(own, random_bits(lane.streams.dropout, rows, hidden))
            return bits, np.zeros((rows, room), np.uint8), np.zeros((rows, room), np.float32)
        bits = random_bits(lane.streams.dropout, rows, hidden + room)
        noise = lane.streams.noise.standard_normal((rows, room), np.float32)
        return self._placed(own, bits[:, :hidden]), bits[:, hidden:], noise

    def _placed(self, own: Architecture, bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The bits of a lane's hidden units at the places of the stack's units."""
        if own.widths == self.layout.widths:
            return bits
        placed = np.zeros((len(bits), sum(self.layout.widths)), np.uint8)
        source = target = 0
        for width, room in zip(own.widths, self.layout.widths, strict=False):
            placed[:, target : target + width] = bits[:, source : source + width]
            source, target = source + width, target + room
        return placed


def random_bits(rng: np.random.Generator, rows: int, units: int) -> npt.NDArray[np.uint8]:
    """Eight random bits for each row and unit, (rows, units); every row starts with a fresh 64-bit word."""
    words = rng.integers(-(2**63), 2**63 - 1, (rows, -(-units // 8)), dtype=np.int64, endpoint=True)
    return words.view(np.uint8)[:, :units]


def _joined(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
