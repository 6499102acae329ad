"""One trial: train its replicates in blocks, race them against the incumbent, judge by score loss."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from hpo.data.prepared import ReplicateData
from hpo.errors import DivergedError
from hpo.evaluation.job import Job
from hpo.evaluation.metrics import log_loss
from hpo.evaluation.statistics import standard_error
from hpo.network.architecture import Architecture
from hpo.search.pruners import Incumbent, curve_is_hopeless, race_is_lost, raced_value
from hpo.seeds import generator
from hpo.training.fit import Fit, Lane, fit_stack, predict
from hpo.training.stack import Backend
from storage.records import Outcome, ReplicateRecord

STACKED_PARAMETERS = 100_000
"""Networks below this size train their replicates in one stack; larger ones fill the cache alone."""

OnProgress = Callable[[int, int, float], None]


def evaluate(
    job: Job,
    data: Sequence[ReplicateData],
    classes: int,
    backend: Backend,
    on_progress: OnProgress = lambda replicate, epoch, loss: None,
) -> Outcome:
    """Train and score the trial's replicates; `on_progress(replicate, epoch, stop loss)` is told each epoch."""
    info = _describe(job.architecture, data[0].train_x.shape[1], classes)
    done: list[ReplicateRecord] = []
    try:
        for block in blocks(job, data, info["parameters"]):
            records, pruned = _train_block(job, block, data, classes, backend, on_progress)
            done += records
            if pruned:
                return _cut_short("pruned", done, info, "learning curve cannot reach the incumbent's")
            if len(done) < len(data) and job.racing and job.incumbent and race_is_lost(job.incumbent, _losses(done)):
                return _raced_out(job.incumbent, done, info)
    except DivergedError as error:
        return _cut_short("failed", done, info, str(error))
    losses = list(_losses(done).values())
    return Outcome(
        state="complete",
        value=float(np.mean(losses)),
        standard_error=standard_error(losses),
        info=info,
        replicates=tuple(done),
    )


def blocks(job: Job, data: Sequence[ReplicateData], parameters: int) -> list[list[int]]:
    """Replicates that are trained together, in the order of training.

    With a race the first replicate goes alone: most trials are decided by it. A small network trains
    the others as a stack of equally many training rows, a large one trains them one by one.
    """
    order = list(range(len(data)))
    if parameters >= STACKED_PARAMETERS:
        return [[r] for r in order]
    first = [order[:1]] if job.racing and job.incumbent and job.incumbent.score_deviation is not None else []
    by_rows: dict[int, list[int]] = {}
    for replicate in order[len(first) :]:
        by_rows.setdefault(len(data[replicate].train_y), []).append(replicate)
    return first + list(by_rows.values())


def _train_block(
    job: Job,
    block: Sequence[int],
    data: Sequence[ReplicateData],
    classes: int,
    backend: Backend,
    on_progress: OnProgress,
) -> tuple[list[ReplicateRecord], bool]:
    """Records of the block's replicates, and whether a curve was pruned."""

    def should_prune(replicate: int, curve: Sequence[float]) -> bool:
        if not (job.pruning and job.incumbent):
            return False
        return curve_is_hopeless(job.incumbent, replicate, curve, job.evaluation.max_epochs)

    started = time.perf_counter()
    fits = fit_stack(
        backend,
        job.architecture,
        [_lane(job, replicate, data[replicate]) for replicate in block],
        classes,
        job.evaluation,
        should_prune=should_prune,
        on_epoch=lambda epoch, loss: on_progress(block[0], epoch, loss),
    )
    for fit in fits:
        if fit.diverged:
            raise DivergedError(f"loss was not finite at epoch {len(fit.curve)} of replicate {fit.replicate}")
    pruned = any(fit.pruned for fit in fits)
    scores = [None] * len(fits) if pruned else _score(job, fits, data, backend)
    seconds = (time.perf_counter() - started) / len(fits)
    return [_record(fit, score, seconds) for fit, score in zip(fits, scores, strict=True)], pruned


def _lane(job: Job, replicate: int, data: ReplicateData) -> Lane:
    return Lane(
        replicate=replicate,
        data=data,
        weights=generator(job.seed, "weights", slot=job.slot, replicate=replicate),
        order=generator(job.seed, "order", slot=job.slot, replicate=replicate),
        dropout=generator(job.seed, "dropout", slot=job.slot, replicate=replicate),
    )


def _score(job: Job, fits: Sequence[Fit], data: Sequence[ReplicateData], backend: Backend) -> list[float]:
    inputs = [data[fit.replicate].score_x for fit in fits]
    logits = predict(backend, job.architecture, [fit.weights for fit in fits], inputs)
    losses = [log_loss(data[fit.replicate].score_y, part) for fit, part in zip(fits, logits, strict=True)]
    for fit, loss in zip(fits, losses, strict=True):
        if not np.isfinite(loss):
            raise DivergedError(f"score loss of replicate {fit.replicate} was not finite: {loss}")
    return losses


def _record(fit: Fit, score: float | None, seconds: float) -> ReplicateRecord:
    return ReplicateRecord(
        index=fit.replicate,
        stop_loss=fit.stop_loss,
        score_loss=score,
        best_epoch=fit.best_epoch,
        seconds=seconds,
        curve=fit.curve,
    )


def _describe(architecture: Architecture, inputs: int, classes: int) -> dict[str, Any]:
    return {
        "parameters": architecture.parameter_count(inputs, classes),
        "widths": list(architecture.widths),
        "batch_size": architecture.batch_size,
    }


def _losses(records: Sequence[ReplicateRecord]) -> dict[int, float]:
    return {record.index: record.score_loss for record in records if record.score_loss is not None}


def _cut_short(
    state: Literal["pruned", "failed"], done: Sequence[ReplicateRecord], info: dict[str, Any], reason: str
) -> Outcome:
    return Outcome(state=state, reason=reason, info=info, replicates=tuple(done))


def _raced_out(incumbent: Incumbent, done: Sequence[ReplicateRecord], info: dict[str, Any]) -> Outcome:
    losses = _losses(done)
    return Outcome(
        state="complete",
        value=raced_value(incumbent, losses),
        standard_error=standard_error(list(losses.values())),
        raced_out=True,
        reason=f"raced out after {len(losses)} of {len(incumbent.score_losses)} replicates",
        info=info,
        replicates=tuple(done),
    )
