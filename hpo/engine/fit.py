"""Training of one stack: epochs, early stopping per lane, the best weights kept, finished lanes dropped or their places
given to others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hpo.data.prepared import ReplicateData
from hpo.engine.layout import Layout
from hpo.engine.places import Places
from hpo.engine.program import Backend, Epoch, FloatArray, Weights, no_rows
from hpo.engine.stack import Lane, Stack
from hpo.engine.weights import lane_settings, lane_weights, new_state, stack_weights
from hpo.losses import Head, mean_loss
from hpo.settings import EvaluationSpec

MAX_PREDICTED_BYTES = 64 * 2**20
"""What the values of one layer may take while predicting."""
ShouldPrune = Callable[[Lane, Sequence[float]], bool]
OnEpoch = Callable[[int, float], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A trained network. `curve` is the stop loss after each epoch; `weights` are those of `best_epoch`."""

    lane: Lane
    curve: tuple[float, ...]
    best_epoch: int
    weights: Weights
    pruned: bool

    @property
    def diverged(self) -> bool:
        """Whether training ended on a loss that is not finite."""
        return not np.isfinite(self.curve[-1])

    @property
    def stop_loss(self) -> float:
        """The stop loss of the weights that were kept."""
        return self.curve[self.best_epoch]


@dataclass
class _Progress:
    """What early stopping remembers of one lane, as Keras' EarlyStopping does."""

    curve: list[float] = field(default_factory=list)
    best: float = np.inf
    best_epoch: int = 0
    weights: Weights = field(default_factory=dict)
    pruned: bool = False

    def observe(self, loss: float, min_delta: float) -> bool:
        """Record an epoch's stop loss; whether it counts as an improvement."""
        self.curve.append(loss)
        improved = loss < self.best - min_delta
        if improved:
            self.best, self.best_epoch = loss, len(self.curve) - 1
        return improved

    @property
    def waited(self) -> int:
        """Epochs since the last improvement."""
        return len(self.curve) - 1 - self.best_epoch

    @property
    def diverged(self) -> bool:
        """Whether the last loss is not finite."""
        return not np.isfinite(self.curve[-1])

    @property
    def is_cut_short(self) -> bool:
        """Whether its trial is over, too."""
        return self.pruned or self.diverged


def fit_stack(
    backend: Backend,
    lanes: Sequence[Lane],
    head: Head,
    protocol: EvaluationSpec,
    *,
    should_prune: ShouldPrune = lambda lane, curve: False,
    on_epoch: OnEpoch = lambda epoch, loss: None,
) -> list[Fit]:
    """Train one network per lane; the lanes must be `stackable` and have equally many rows.

    `should_prune(lane, curve)` is asked after each epoch; `on_epoch(epoch, mean stop loss)` is told. A lane that is
    pruned or diverges ends the other lanes of its trial too; those that have not begun by then are left out.
    """
    stack = Stack(lanes, head, backend.widths_for)
    program = backend.program(stack.layout.kind)
    program.start(stack.rows())
    progress = [_Progress() for _ in lanes]
    places = Places.new(backend, stack)
    while places.live:
        epochs = [len(progress[i].curve) for i in places.held]
        if places.changed:
            program.hold(places.state(program), stack.settings(places.held))
            stop_rows = backend.tensor(pad_rows([lanes[i].data.stop_x for i in places.held]))
        for part in stack.epoch(places.held, epochs, stop_rows):
            result = program.run(part)
        predicted = dict(zip(places.held, result, strict=True))
        losses = {i: _stop_loss(head, lanes[i].data, predicted[i]) for i in places.live}
        improved = {i for i in places.live if progress[i].observe(losses[i], protocol.min_delta)}
        if improved:
            weights = program.weights()
            for i in improved:
                place, own = places.held.index(i), lanes[i].architecture
                progress[i].weights = lane_weights(weights, place, own, stack.features)
        on_epoch(len(progress[places.live[0]].curve) - 1, float(np.mean(list(losses.values()))))
        over = {i for i in places.live if _is_over(progress[i], lanes[i], protocol, should_prune)}
        decided = {lanes[i].slot for i in over if progress[i].is_cut_short}
        places = places.after({i for i, lane in enumerate(lanes) if i in over or lane.slot in decided})
    program.release()
    return [_finished(lane, part) for lane, part in zip(lanes, progress, strict=True) if part.curve]


def predict(
    backend: Backend, layout: Layout, networks: Sequence[Weights], inputs: Sequence[FloatArray]
) -> list[FloatArray]:
    """Outputs (rows, outputs) of each network of a stack for its own inputs (rows, features), a part at a time."""
    widths, count, features = layout.widths, len(networks), inputs[0].shape[1]
    first = layout.architectures[0]
    program = backend.program(layout.kind)
    program.start(no_rows(layout.kind, features, networks[0]["bias_out"].shape[1]))
    program.hold(new_state(layout.kind, stack_weights(networks, layout)), lane_settings(layout))
    epoch = Epoch(
        order=np.empty((count, 0), np.int32),
        bits=np.empty((count, 0, sum(widths)), np.uint8),
        input_bits=np.empty((count, 0, features), np.uint8),
        noise=np.empty((count, 0, features), np.float32),
        batch_size=first.batch_size,
        learning_rates=np.empty((count, 0), np.float32),
        first_steps=np.zeros(count, np.float32),
        predict=np.empty(0, np.float32),
    )
    rows = pad_rows(inputs)
    part = max(1, MAX_PREDICTED_BYTES // (4 * count * max(first.embedded(features), *widths)))
    starts = range(0, rows.shape[1], part)
    parts = [program.run(replace(epoch, predict=backend.tensor(rows[:, at : at + part]))) for at in starts]
    program.release()
    predicted = np.concatenate(parts, axis=1)
    return [own[: len(x)] for own, x in zip(predicted, inputs, strict=True)]


def pad_rows(arrays: Sequence[FloatArray]) -> FloatArray:
    """Stack (rows_i, features) arrays as (s, most rows, features); missing rows are zero."""
    padded = np.zeros((len(arrays), max(map(len, arrays)), arrays[0].shape[1]), np.float32)
    for index, array in enumerate(arrays):
        padded[index, : len(array)] = array
    return padded


def _stop_loss(head: Head, data: ReplicateData, outputs: FloatArray) -> float:
    return mean_loss(head.name, data.stop_y, outputs[: len(data.stop_y)], data.stop_w)


def _is_over(progress: _Progress, lane: Lane, protocol: EvaluationSpec, should_prune: ShouldPrune) -> bool:
    if progress.diverged or progress.waited >= protocol.patience:
        return True
    progress.pruned = should_prune(lane, progress.curve)
    return progress.pruned or len(progress.curve) >= protocol.max_epochs


def _finished(lane: Lane, progress: _Progress) -> Fit:
    return Fit(
        lane=lane,
        curve=tuple(progress.curve),
        best_epoch=progress.best_epoch,
        weights=progress.weights,
        pruned=progress.pruned,
    )
