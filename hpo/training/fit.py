"""Training of one stack: epochs, early stopping per lane, the best weights kept, finished lanes dropped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hpo.data.prepared import ReplicateData
from hpo.evaluation.metrics import log_loss
from hpo.network.architecture import Architecture
from hpo.study.spec import EvaluationSpec
from hpo.training.stack import Backend, Epoch, FloatArray, Program, initial_weights, stack_weights

MAX_RANDOM_BYTES = 64 * 2**20
ShouldPrune = Callable[[int, Sequence[float]], bool]
OnEpoch = Callable[[int, float], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """One network's place in a stack: its replicate and its own random streams."""

    replicate: int
    data: ReplicateData
    weights: np.random.Generator
    order: np.random.Generator
    dropout: np.random.Generator


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A trained network. `curve` is the stop loss (nats) after each epoch; `weights` are those of `best_epoch`."""

    replicate: int
    curve: tuple[float, ...]
    best_epoch: int
    weights: list[FloatArray]
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
    weights: list[FloatArray] = field(default_factory=list)
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
    architecture: Architecture,
    lanes: Sequence[Lane],
    classes: int,
    protocol: EvaluationSpec,
    *,
    should_prune: ShouldPrune = lambda replicate, curve: False,
    on_epoch: OnEpoch = lambda epoch, loss: None,
) -> list[Fit]:
    """Train one network per lane; the lanes must have equally many training rows.

    `should_prune(replicate, curve)` is asked after each epoch; `on_epoch(epoch, mean stop loss)` is told.
    """
    program = backend.program(architecture.depth, architecture.activation)
    _start(program, architecture, lanes, classes)
    progress = [_Progress() for _ in lanes]
    live = list(range(len(lanes)))
    stop_rows = backend.tensor(pad_rows([lanes[i].data.stop_x for i in live]))
    for epoch in range(protocol.max_epochs):
        logits = _run_epoch(program, architecture, lanes, live, epoch, stop_rows)
        losses = [_loss(lanes[i].data.stop_y, part) for i, part in zip(live, logits, strict=True)]
        improved = {i for i, loss in zip(live, losses, strict=True) if progress[i].observe(loss, protocol.min_delta)}
        if improved:
            _keep_best(program, progress, live, improved)
        on_epoch(epoch, float(np.mean(losses)))
        remaining = [i for i in live if not _is_over(progress[i], lanes[i], protocol, should_prune)]
        # A pruned or diverged network decides the whole trial.
        if not remaining or any(part.pruned or not np.isfinite(part.curve[-1]) for part in progress):
            break
        if len(remaining) < len(live):
            program.keep([live.index(i) for i in remaining])
            live = remaining
            stop_rows = backend.tensor(pad_rows([lanes[i].data.stop_x for i in live]))
    program.release()
    return [_finished(lane, part) for lane, part in zip(lanes, progress, strict=True)]


def predict(
    backend: Backend,
    architecture: Architecture,
    networks: Sequence[Sequence[FloatArray]],
    inputs: Sequence[FloatArray],
) -> list[FloatArray]:
    """Logits (rows, classes) of each network on its own inputs (rows, features)."""
    program = backend.program(architecture.depth, architecture.activation)
    features = inputs[0].shape[1]
    program.start(stack_weights(networks), np.empty((0, features), np.float32), np.empty(0, np.int32))
    nothing = np.empty((len(networks), 0), np.int32)
    epoch = Epoch(
        order=nothing,
        bits=np.empty((*nothing.shape, sum(architecture.widths)), np.uint8),
        threshold=0,
        batch_size=architecture.batch_size,
        learning_rate=architecture.learning_rate,
        first_step=0,
        predict=backend.tensor(pad_rows(inputs)),
    )
    logits = program.run(epoch)
    program.release()
    return [part[: len(rows)] for part, rows in zip(logits, inputs, strict=True)]


def pad_rows(arrays: Sequence[FloatArray]) -> FloatArray:
    """Stack (rows_i, features) arrays as (s, most rows, features); missing rows are zero."""
    padded = np.zeros((len(arrays), max(map(len, arrays)), arrays[0].shape[1]), np.float32)
    for index, array in enumerate(arrays):
        padded[index, : len(array)] = array
    return padded


def dropout_threshold(probability: float) -> int:
    """The dropout probability in units of 1/256, as the engine quantizes it."""
    return min(round(probability * 256), 255)


def _start(program: Program, architecture: Architecture, lanes: Sequence[Lane], classes: int) -> None:
    features = lanes[0].data.train_x.shape[1]
    networks = [initial_weights(architecture, features, classes, lane.weights) for lane in lanes]
    x = np.concatenate([lane.data.train_x for lane in lanes])
    y = np.concatenate([lane.data.train_y for lane in lanes])
    program.start(stack_weights(networks), x, y)


def _run_epoch(
    program: Program,
    architecture: Architecture,
    lanes: Sequence[Lane],
    live: Sequence[int],
    epoch: int,
    stop_rows: FloatArray,
) -> FloatArray:
    """One pass over the rows in random order, in parts whose random bits fit in memory; logits of `stop_rows`."""
    rows = len(lanes[0].data.train_y)
    units, batch = sum(architecture.widths), architecture.batch_size
    steps = -(-rows // batch)
    order = np.stack([lanes[i].order.permutation(rows).astype(np.int32) + i * rows for i in live])
    part_steps = max(1, MAX_RANDOM_BYTES // (len(live) * units * batch))
    logits = np.empty((len(live), 0, 0), np.float32)
    for first in range(0, steps, part_steps):
        part = order[:, first * batch : (first + part_steps) * batch]
        is_last = first + part_steps >= steps
        bits = _stack([random_bits(lanes[i].dropout, part.shape[1], units) for i in live])
        logits = program.run(
            Epoch(
                order=part,
                bits=bits,
                threshold=dropout_threshold(architecture.dropout),
                batch_size=batch,
                learning_rate=architecture.learning_rate,
                first_step=epoch * steps + first,
                predict=stop_rows if is_last else stop_rows[:, :0],
            )
        )
    return logits


def random_bits(rng: np.random.Generator, rows: int, units: int) -> npt.NDArray[np.uint8]:
    """Eight random bits for each row and unit, (rows, units)."""
    words = rng.integers(-(2**63), 2**63 - 1, -(-rows * units // 8), dtype=np.int64, endpoint=True)
    return words.view(np.uint8)[: rows * units].reshape(rows, units)


def _stack(arrays: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def _loss(labels: npt.NDArray[np.int32], logits: FloatArray) -> float:
    return log_loss(labels, logits[: len(labels)])


def _keep_best(program: Program, progress: list[_Progress], live: Sequence[int], improved: set[int]) -> None:
    weights = program.weights()
    for lane, i in enumerate(live):
        if i in improved:
            progress[i].weights = [w[lane].copy() if len(live) > 1 else w[lane] for w in weights]


def _is_over(progress: _Progress, lane: Lane, protocol: EvaluationSpec, should_prune: ShouldPrune) -> bool:
    if not np.isfinite(progress.curve[-1]) or progress.waited >= protocol.patience:
        return True
    progress.pruned = should_prune(lane.replicate, progress.curve)
    return progress.pruned


def _finished(lane: Lane, progress: _Progress) -> Fit:
    return Fit(
        replicate=lane.replicate,
        curve=tuple(progress.curve),
        best_epoch=progress.best_epoch,
        weights=progress.weights,
        pruned=progress.pruned,
    )
