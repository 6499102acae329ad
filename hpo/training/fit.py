"""Training of one stack: epochs, early stopping per lane, the best weights kept, finished lanes dropped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hpo.data.prepared import ReplicateData
from hpo.evaluation.metrics import LossFunction, loss_function
from hpo.network.architecture import Architecture
from hpo.study.spec import EvaluationSpec
from hpo.training.kind import Kind, stacked_widths
from hpo.training.lanes import Lane, Stack
from hpo.training.stack import Backend, Epoch, FloatArray, Weights, lane_settings, lane_weights, no_rows, stack_weights

MAX_PREDICTED_BYTES = 64 * 2**20
"""Of the values of one layer while predicting."""
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


def fit_stack(
    backend: Backend,
    lanes: Sequence[Lane],
    head: str,
    outputs: int,
    protocol: EvaluationSpec,
    *,
    should_prune: ShouldPrune = lambda lane, curve: False,
    on_epoch: OnEpoch = lambda epoch, loss: None,
) -> list[Fit]:
    """Train one network with so many outputs per lane; the lanes must be `stackable` and have equally many rows.

    `should_prune(lane, curve)` is asked after each epoch; `on_epoch(epoch, mean stop loss)` is told. A lane that is
    pruned or diverges ends the other lanes of its trial too.
    """
    stack, judge = Stack(lanes, head, outputs), loss_function(head)
    program = backend.program(stack.kind)
    program.start(stack.initial_weights(), stack.settings, stack.rows())
    progress = [_Progress() for _ in lanes]
    held = live = list(range(len(lanes)))
    stop_rows = backend.tensor(pad_rows([lane.data.stop_x for lane in lanes]))
    for epoch in range(protocol.max_epochs):
        for part in stack.epoch(held, epoch, stop_rows):
            result = program.run(part)
        predicted = dict(zip(held, result, strict=True))
        losses = {i: _stop_loss(judge, lanes[i].data, predicted[i]) for i in live}
        improved = {i for i in live if progress[i].observe(losses[i], protocol.min_delta)}
        if improved:
            weights = program.weights()
            for i in improved:
                progress[i].weights = lane_weights(weights, held.index(i), lanes[i].architecture, stack.features)
        on_epoch(epoch, float(np.mean(list(losses.values()))))
        over = {i for i in live if _is_over(progress[i], lanes[i], protocol, should_prune)}
        decided = {lanes[i].trial for i in over if progress[i].pruned or not np.isfinite(progress[i].curve[-1])}
        live = [i for i in live if i not in over and lanes[i].trial not in decided]
        if not live:
            break
        if (size := backend.lanes_for(len(live))) < len(held):
            finished = [i for i in held if i not in live]
            kept = sorted([*live, *finished[: size - len(live)]])
            program.keep([held.index(i) for i in kept])
            held = kept
            stop_rows = backend.tensor(pad_rows([lanes[i].data.stop_x for i in held]))
    program.release()
    return [_finished(lane, part) for lane, part in zip(lanes, progress, strict=True)]


def predict(
    backend: Backend,
    kind: Kind,
    architectures: Sequence[Architecture],
    networks: Sequence[Weights],
    inputs: Sequence[FloatArray],
) -> list[FloatArray]:
    """Outputs (rows, outputs) of each network of a stack for its own inputs (rows, features), a part at a time."""
    widths, count, features = stacked_widths(architectures), len(networks), inputs[0].shape[1]
    program = backend.program(kind)
    program.start(
        stack_weights(networks, architectures),
        lane_settings(architectures, widths),
        no_rows(kind.head, features, networks[0]["bias_out"].shape[1]),
    )
    epoch = Epoch(
        order=np.empty((count, 0), np.int32),
        bits=np.empty((count, 0, sum(widths)), np.uint8),
        input_bits=np.empty((count, 0, features), np.uint8),
        noise=np.empty((count, 0, features), np.float32),
        batch_size=architectures[0].batch_size,
        learning_rates=np.empty((count, 0), np.float32),
        first_step=0,
        predict=np.empty(0, np.float32),
    )
    rows = pad_rows(inputs)
    part = max(1, MAX_PREDICTED_BYTES // (4 * count * max(architectures[0].embedded(features), *widths)))
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


def _stop_loss(judge: LossFunction, data: ReplicateData, outputs: FloatArray) -> float:
    return judge(data.stop_y, outputs[: len(data.stop_y)], data.stop_w)


def _is_over(progress: _Progress, lane: Lane, protocol: EvaluationSpec, should_prune: ShouldPrune) -> bool:
    if not np.isfinite(progress.curve[-1]) or progress.waited >= protocol.patience:
        return True
    progress.pruned = should_prune(lane, progress.curve)
    return progress.pruned


def _finished(lane: Lane, progress: _Progress) -> Fit:
    return Fit(
        lane=lane,
        curve=tuple(progress.curve),
        best_epoch=progress.best_epoch,
        weights=progress.weights,
        pruned=progress.pruned,
    )
