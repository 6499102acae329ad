"""One trial: train its replicates in blocks, race them against the incumbent, judge by score loss."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from hpo_storage.records import Outcome, ReplicateRecord, TrialState

from hpo.data.prepared import ReplicateData
from hpo.engine.fit import Fit, OnEpoch, fit_stack, predict
from hpo.engine.layout import layout_of
from hpo.engine.program import Backend, FloatArray
from hpo.engine.stack import Lane, Streams
from hpo.errors import DivergedError
from hpo.evaluation.cost import training_cost
from hpo.evaluation.job import Job
from hpo.losses import Head, mean_loss
from hpo.network.architecture import Architecture
from hpo.search.pruners import Incumbent, raced_value
from hpo.search.rules import Rules
from hpo.statistics import standard_error
from hpo.study.facts import TrialInfo

OnProgress = Callable[[int, int, float], None]


def evaluate(
    job: Job,
    data: Sequence[ReplicateData],
    head: Head,
    backend: Backend,
    on_progress: OnProgress = lambda replicate, epoch, loss: None,
) -> Outcome:
    """Train and score the trial's replicates; `on_progress(replicate, epoch, stop loss)` is told each epoch."""
    inputs, done = data[0].train_x.shape[1], list[ReplicateRecord]()
    parameters = job.architecture.parameter_count(inputs, head.outputs)
    info = describe(job.architecture, inputs, head.outputs)
    try:
        together = backend.trains_together(parameters)
        for block in blocks(job.rules, [len(part.train_y) for part in data], together):
            records, pruned = _train_block(job, block, data, head, backend, on_progress)
            done += records
            if pruned:
                return cut_short(TrialState.PRUNED, done, info, job.rules.pruned_because)
            cost = training_cost(parameters, [r.best_epoch for r in done], job.evaluation.patience)
            if len(done) < len(data) and job.rules.incumbent and job.rules.drops(_losses(done), cost):
                return _raced_out(job.rules.incumbent, done, info)
    except DivergedError as error:
        return cut_short(TrialState.FAILED, done, info, str(error))
    return completed(done, info)


def blocks(rules: Rules, rows: Sequence[int], together: bool) -> list[list[int]]:
    """Replicates in the order of training, those in a list at once; `rows` of training data of each.

    With a race the first replicate goes alone: most trials are decided by it. Of the others, those with equally many
    rows train `together`, or all one by one.
    """
    order = list(range(len(rows)))
    if not together:
        return [[r] for r in order]
    first = [order[:1]] if rules.decides_early else []
    by_rows: dict[int, list[int]] = {}
    for replicate in order[len(first) :]:
        by_rows.setdefault(rows[replicate], []).append(replicate)
    return first + list(by_rows.values())


def _train_block(
    job: Job,
    block: Sequence[int],
    data: Sequence[ReplicateData],
    head: Head,
    backend: Backend,
    on_progress: OnProgress,
) -> tuple[list[ReplicateRecord], bool]:
    """Records of the block's replicates, and whether a curve was pruned."""
    lanes = [lane_of(job, replicate, data[replicate]) for replicate in block]
    scored = train({job.slot: job}, lanes, head, backend, lambda epoch, loss: on_progress(block[0], epoch, loss))
    return records_of(scored), any(one.fit.pruned for one in scored)


class Scored(NamedTuple):
    """How a network was trained, without its weights, with score loss and outputs for the score rows (rows, outputs),
    None where its trial is cut short; `seconds` of trainer time."""

    fit: Fit
    score: float | None
    outputs: FloatArray | None
    seconds: float


def train(
    jobs: Mapping[int, Job], lanes: Sequence[Lane], head: Head, backend: Backend, on_epoch: OnEpoch
) -> list[Scored]:
    """Train one stack and score the networks of its trials; `jobs` by slot."""

    def should_prune(lane: Lane, curve: Sequence[float]) -> bool:
        job = jobs[lane.slot]
        # With a schedule the curve's end is its steepest part, so its slope so far is no forecast.
        scheduled = job.architecture.is_scheduled
        return not scheduled and job.rules.prunes(lane.replicate, curve, job.evaluation.max_epochs)

    started = time.perf_counter()
    protocol = jobs[lanes[0].slot].evaluation
    fits = fit_stack(backend, lanes, head, protocol, should_prune=should_prune, on_epoch=on_epoch)
    over = {fit.lane.slot for fit in fits if fit.diverged or fit.pruned}
    scores = _score(head, fits, [i for i, fit in enumerate(fits) if fit.lane.slot not in over], backend)
    judged = [scores.get(i, (None, None)) for i in range(len(fits))]
    seconds = (time.perf_counter() - started) / len(fits)
    # Weights of a whole population would take up the host's memory.
    lighter = [replace(fit, weights={}) for fit in fits]
    return [Scored(fit, loss, outputs, seconds) for fit, (loss, outputs) in zip(lighter, judged, strict=True)]


def lane_of(job: Job, replicate: int, data: ReplicateData) -> Lane:
    """The replicate's network, whose random streams are the trial's own, on the data in its scaling."""
    streams, scaled = Streams.of(job.seed, job.slot, replicate), data.scaled(job.architecture.scaling)
    return Lane(architecture=job.architecture, slot=job.slot, replicate=replicate, data=scaled, streams=streams)


def _score(
    head: Head, fits: Sequence[Fit], whole: Sequence[int], backend: Backend
) -> dict[int, tuple[float, FloatArray]]:
    """Score loss and outputs of these of a stack's networks, as many at a time as were trained at once."""
    architectures, weighted = [fit.lane.architecture for fit in fits], fits[0].lane.data.train_w is not None
    layout = layout_of(architectures, head.name, weighted, backend.widths_for)
    most = backend.most_lanes(len(fits))
    scores: dict[int, tuple[float, FloatArray]] = {}
    for start in range(0, len(whole), most):
        part = list(whole[start : start + most])
        held = part + part[-1:] * (min(most, backend.lanes_for(len(part))) - len(part))
        rows, networks = [fits[i].lane.data.score_x for i in held], [fits[i].weights for i in held]
        for i, outputs in zip(part, predict(backend, layout.only(held), networks, rows), strict=False):
            data = fits[i].lane.data
            scores[i] = mean_loss(head.name, data.score_y, outputs, data.score_w), outputs
    return scores


def records_of(scored: Sequence[Scored]) -> list[ReplicateRecord]:
    """The records of replicates of one trial; DivergedError where a loss is not finite."""
    for fit, score, _, _ in scored:
        if fit.diverged:
            raise DivergedError(f"loss was not finite at epoch {len(fit.curve)} of replicate {fit.lane.replicate}")
        if score is not None and not np.isfinite(score):
            raise DivergedError(f"score loss of replicate {fit.lane.replicate} was not finite: {score}")
    return [
        ReplicateRecord(
            index=fit.lane.replicate,
            stop_loss=fit.stop_loss,
            score_loss=score,
            best_epoch=fit.best_epoch,
            seconds=seconds,
            curve=fit.curve,
            predictions=None if outputs is None else outputs.astype("<f4").tobytes(),
        )
        for fit, score, outputs, seconds in scored
    ]


def describe(architecture: Architecture, inputs: int, outputs: int) -> TrialInfo:
    """What a trial's outcome tells of its network."""
    return TrialInfo(
        parameters=architecture.parameter_count(inputs, outputs),
        widths=architecture.widths,
        batch_size=architecture.batch_size,
    )


def _losses(records: Sequence[ReplicateRecord]) -> dict[int, float]:
    return {record.index: record.score_loss for record in records if record.score_loss is not None}


def completed(done: Sequence[ReplicateRecord], info: TrialInfo) -> Outcome:
    """The outcome of a trial with all its replicates."""
    losses = list(_losses(done).values())
    return Outcome(
        state=TrialState.COMPLETE,
        value=float(np.mean(losses)),
        standard_error=standard_error(losses),
        info=info.to_json(),
        replicates=tuple(done),
    )


def _without_predictions(done: Sequence[ReplicateRecord]) -> tuple[ReplicateRecord, ...]:
    """Only trials with all their replicates keep them."""
    return tuple(replace(record, predictions=None) for record in done)


def cut_short(state: TrialState, done: Sequence[ReplicateRecord], info: TrialInfo, reason: str) -> Outcome:
    """The outcome of a trial without a value."""
    return Outcome(state=state, reason=reason, info=info.to_json(), replicates=_without_predictions(done))


def _raced_out(incumbent: Incumbent, done: Sequence[ReplicateRecord], info: TrialInfo) -> Outcome:
    losses = _losses(done)
    return Outcome(
        state=TrialState.RACED_OUT,
        value=raced_value(incumbent, losses),
        standard_error=standard_error(list(losses.values())),
        reason=f"raced out after {len(losses)} of {len(incumbent.score_losses)} replicates",
        info=info.to_json(),
        replicates=_without_predictions(done),
    )
