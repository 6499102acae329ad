"""Several trials at once: all replicates of trials whose networks can share a stack train together.

Curves are pruned as in a trial alone. There is no race: most replicates of a trial train at the same time, so none of
them can decide whether the others are worth training.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise, takewhile

import numpy as np
from hpo_storage.records import Outcome, TrialState

from hpo.data.prepared import ReplicateData
from hpo.engine.layout import stackable, stacked_widths
from hpo.engine.optimizers import OPTIMIZERS
from hpo.engine.program import Backend
from hpo.engine.stack import MAX_RANDOM_BYTES, Lane
from hpo.errors import DivergedError
from hpo.evaluation.job import Job
from hpo.evaluation.trial import OnProgress, Scored, completed, cut_short, describe, lane_of, records_of, train
from hpo.losses import Head
from hpo.network.architecture import Architecture

FLOAT_BYTES = 4


def evaluate_population(
    jobs: Sequence[Job],
    data: Sequence[ReplicateData],
    head: Head,
    backend: Backend,
    most_bytes: int,
    on_outcome: Callable[[int, Outcome], None],
    on_progress: OnProgress = lambda replicate, epoch, loss: None,
) -> None:
    """Train and score trials of one study in stacks of at most so many bytes; `on_outcome(slot, outcome)` is told
    of each trial as soon as its last stack has ended, `on_progress(first replicate, epoch, mean stop loss)` each epoch.
    """
    by_slot = {job.slot: job for job in jobs}
    lanes = [lane_of(job, replicate, part) for job in jobs for replicate, part in enumerate(data)]
    waiting = Counter(lane.slot for lane in lanes)
    done: dict[int, list[Scored]] = {job.slot: [] for job in jobs}
    for stack in stacks(lanes, head.outputs, most_bytes, backend):
        live = [lane for lane in stack if waiting[lane.slot]]  # a trial that is cut short waits for nothing
        if not live:
            continue
        for one in train(by_slot, live, head, backend, partial(on_progress, live[0].replicate)):
            done[one.fit.lane.slot].append(one)
            waiting[one.fit.lane.slot] -= 1
        for slot in dict.fromkeys(lane.slot for lane in live):
            outcome = _outcome(by_slot[slot], data, head, done[slot])
            if outcome.state != TrialState.COMPLETE or not waiting[slot]:
                waiting[slot] = 0
                on_outcome(slot, outcome)


def _outcome(job: Job, data: Sequence[ReplicateData], head: Head, done: Sequence[Scored]) -> Outcome:
    """Of a trial, as if the replicates done were all."""
    info = describe(job.architecture, data[0].train_x.shape[1], head.outputs)
    try:
        records = records_of(done)
    except DivergedError as error:
        whole = list(takewhile(lambda one: one.score is not None and np.isfinite(one.score), done))
        return cut_short(TrialState.FAILED, records_of(whole), info, str(error))
    if any(one.fit.pruned for one in done):
        return cut_short(TrialState.PRUNED, records, info, job.rules.pruned_because)
    return completed(records, info)


def stacks(lanes: Sequence[Lane], outputs: int, most_bytes: int, backend: Backend) -> Iterator[list[Lane]]:
    """Lanes that are trained together: what can share a stack, in the order of widths, within the memory given."""
    groups: dict[tuple[object, ...], list[Lane]] = {}
    for lane in sorted(lanes, key=lambda lane: (lane.architecture.widths, lane.slot, lane.replicate)):
        groups.setdefault((len(lane.data.train_y), *stackable(lane.architecture)), []).append(lane)
    for group in groups.values():
        stack: list[Lane] = []
        for lane in group:
            if stack and stack_bytes([*stack, lane], outputs, backend) > most_bytes:
                yield stack
                stack = []
            stack.append(lane)
        yield stack


def stack_bytes(lanes: Sequence[Lane], outputs: int, backend: Backend) -> int:
    """About what a stack takes on its device: weights with their moments and gradients, the activations of a batch and
    of a prediction, inputs to predict, random bits of the lanes that train at once; without the training rows, which
    lanes share."""
    architectures: list[Architecture] = [lane.architecture for lane in lanes]
    first, data = architectures[0], lanes[0].data
    features, batch = int(data.train_x.shape[1]), min(first.batch_size, len(data.train_y))
    widths = backend.widths_for(stacked_widths(architectures))
    sizes = (first.embedded(features), *widths, outputs)
    moments = sum(OPTIMIZERS[name].moments for name in {a.optimizer for a in architectures})
    weights = sum(above * (below + 1) for below, above in pairwise(sizes))
    predicted = backend.predicted_rows(max(max(len(lane.data.stop_y), len(lane.data.score_y)) for lane in lanes))
    # Of a hidden layer: its values, normalized, after each of the stack's activations, after dropout, and a gradient.
    activations = len({a.activation for a in architectures})
    values = 3 + activations + 2 * (first.normalization != "none")
    # Of a prediction, one layer and the next.
    numbers = (2 + moments) * weights + values * batch * sum(sizes) + predicted * (features + 2 * max(sizes))
    count = backend.most_lanes(len(lanes))
    bits = count * batch * (sum(widths) + 5 * features)
    return FLOAT_BYTES * count * numbers + max(bits, MAX_RANDOM_BYTES)
