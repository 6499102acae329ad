"""From a stored study to plain tables. Losses per row as `losses` says, times in seconds; what is not known is NaN.

What is drawn and printed is decided here and tested; `figures` and `page` only show it.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from hpo_storage.records import RANKED, VALUED, ReplicateRecord, StudyRecord

from hpo.report.axes import axes
from hpo.study.facts import TrialInfo
from hpo.study.standing import is_finished, trial_state, winner

PAUSE_SECONDS = 60.0
"""A longer time without any trial is left out of the timeline."""
MOST_CURVE_POINTS = 12_000
FEWEST_POINTS_PER_CURVE = 12


def leader(study: StudyRecord) -> str:
    """What the best trial is called: "winner" once the budget is used up."""
    return "winner" if is_finished(study) else "best so far"


def history_table(study: StudyRecord) -> pd.DataFrame:
    """One row per trial: trial, state, value, standard_error and best, the least value of the trials so far
    that have all their replicates. Only complete and raced-out trials have a value."""
    rows = []
    best = math.nan
    for trial in study.trials:
        state = trial_state(study, trial)
        value = _number(trial.value) if state in VALUED else math.nan
        if state in RANKED:
            best = float(np.fmin(best, value))
        rows.append((trial.number, state, value, _number(trial.standard_error), best))
    return _table(rows, {"trial": int, "state": object, "value": float, "standard_error": float, "best": float})


def curves_table(study: StudyRecord, most_points: int = MOST_CURVE_POINTS) -> pd.DataFrame:
    """One row per trial and epoch (from 1): trial, state, epoch, loss.

    `loss` is the mean `stop` loss over the replicates that were trained; one that has stopped counts with the
    loss of the weights it kept. Curves are thinned out evenly to `most_points` in all, keeping their ends.
    """
    curves = [(trial, mean_curve(trial.replicates)) for trial in study.trials]
    curves = [(trial, curve) for trial, curve in curves if len(curve)]
    each = max(FEWEST_POINTS_PER_CURVE, most_points // max(1, len(curves)))
    rows = [
        (trial.number, trial_state(study, trial), epoch + 1, float(curve[epoch]))
        for trial, curve in curves
        for epoch in thinned(len(curve), each)
    ]
    return _table(rows, {"trial": int, "state": object, "epoch": int, "loss": float})


def mean_curve(replicates: Sequence[ReplicateRecord]) -> np.ndarray:
    """Mean `stop` loss after each epoch, shape (epochs of the longest replicate,)."""
    curves = [replicate.curve for replicate in replicates if replicate.curve]
    longest = max((len(curve) for curve in curves), default=0)
    held = np.full((len(curves), longest), math.nan)
    for row, curve in zip(held, curves, strict=True):
        row[: len(curve)] = curve
        row[len(curve) :] = min(curve)
    return held.mean(axis=0) if curves else np.empty(0)


def thinned(length: int, most: int) -> list[int]:
    """At most `most` (2 or more) even indices into `length` items, with the first and the last."""
    return [int(i) for i in np.unique(np.linspace(0, length - 1, min(length, most)).round())]


def parameters_table(study: StudyRecord) -> pd.DataFrame:
    """Positions on the axes, one row per trial (the index), one column per dimension of the space."""
    shown = axes(study)
    rows = [[axis.position(trial.params.get(axis.name)) for axis in shown] for trial in study.trials]
    return pd.DataFrame(
        rows,
        columns=[axis.name for axis in shown],
        index=pd.Index([trial.number for trial in study.trials], name="trial", dtype=int),
        dtype=float,
    )


def timeline_table(study: StudyRecord) -> pd.DataFrame:
    """One row per trial: trial, state, lane (worker and trainer), run, begin, seconds, started.

    `begin` counts from the first trial; pauses of more than PAUSE_SECONDS without any trial are left out, and
    `run` counts them. A trial that has not ended lasts to the latest moment that the study knows of.
    """
    if not study.trials:
        return _table([], _TIMELINE)
    known = [trial.started for trial in study.trials]
    latest = max([*known, *(trial.finished for trial in study.trials if trial.finished)])
    lanes = _lanes(study)
    rows = []
    run, left_out, busy_until, origin = 0, 0.0, 0.0, min(known)
    for trial in sorted(study.trials, key=lambda t: (t.started, t.number)):
        begin = (trial.started - origin).total_seconds()
        end = ((trial.finished or latest) - origin).total_seconds()
        if begin - busy_until > PAUSE_SECONDS:
            run, left_out = run + 1, left_out + begin - busy_until
        busy_until = max(busy_until, end)
        lane = lanes[trial.worker, trial.trainer]
        state = trial_state(study, trial)
        rows.append((trial.number, state, lane, run, begin - left_out, max(0.0, end - begin), trial.started))
    return _table(rows, _TIMELINE)


def trials_table(study: StudyRecord) -> pd.DataFrame:
    """One row per trial: trial, state, value, standard_error, replicates (scored), epochs (mean), layers
    (widths), weights, seconds, attempt, reason."""
    rows = []
    for trial in study.trials:
        info = TrialInfo.from_json(trial.info)
        scored = sum(replicate.score_loss is not None for replicate in trial.replicates)
        epochs = [len(replicate.curve) for replicate in trial.replicates]
        rows.append(
            (
                trial.number,
                trial_state(study, trial),
                _number(trial.value),
                _number(trial.standard_error),
                scored,
                float(np.mean(epochs)) if epochs else math.nan,
                info.widths,
                _number(info.parameters),
                _number(trial.seconds),
                trial.attempt,
                trial.reason or "",
            )
        )
    return _table(rows, _TRIALS)


def winner_table(study: StudyRecord) -> pd.DataFrame:
    """One row per replicate of the winner: replicate, score_loss, stop_loss, epochs, best_epoch (from 1),
    seconds; empty where there is no winner."""
    best = winner(study)
    replicates = best.replicates if best else ()
    rows = [
        (r.index, _number(r.score_loss), r.stop_loss, len(r.curve), r.best_epoch + 1, r.seconds)
        for r in sorted(replicates, key=lambda r: r.index)
    ]
    return _table(rows, _WINNER)


_TIMELINE = {
    "trial": int,
    "state": object,
    "lane": object,
    "run": int,
    "begin": float,
    "seconds": float,
    "started": object,
}
_TRIALS = {
    "trial": int,
    "state": object,
    "value": float,
    "standard_error": float,
    "replicates": int,
    "epochs": float,
    "layers": object,
    "weights": float,
    "seconds": float,
    "attempt": int,
    "reason": object,
}
_WINNER = {
    "replicate": int,
    "score_loss": float,
    "stop_loss": float,
    "epochs": int,
    "best_epoch": int,
    "seconds": float,
}


def _lanes(study: StudyRecord) -> dict[tuple[str, int], str]:
    """Workers numbered from 1 in the order of their first trial; not named where there is one alone."""
    ordered = sorted(study.trials, key=lambda t: (t.started, t.number))
    workers = {name: i + 1 for i, name in enumerate(dict.fromkeys(trial.worker for trial in ordered))}
    pairs = sorted({(workers[t.worker], t.trainer, t.worker) for t in ordered})
    several = len(workers) > 1
    return {
        (name, trainer): f"worker {number}, trainer {trainer}" if several else f"trainer {trainer}"
        for number, trainer, name in pairs
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _table(rows: Sequence[tuple[object, ...]], columns: dict[str, type]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns), dtype=object).astype(columns)
