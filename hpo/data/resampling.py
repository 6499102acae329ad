"""Rows of each replicate's parts: `train`, `stop` and `score`, disjoint and stratified; `hpo.data.forward` divides
rows that are in time.

A unit is what is never split: a row, or all rows of one group; its stratum is its most frequent class, and one
class is all where the target has none. A draw
is one number per unit: how often it is in `train`, or SCORE, or STOP. So the parts are disjoint and together
hold all rows by construction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpo.errors import DataError, use
from hpo.seeds import generator
from hpo.settings import EvaluationSpec

IntArray = npt.NDArray[np.intp]
RowNumbers = npt.NDArray[np.int32]
"""Half of what other numbers take: those of all replicates are in memory together."""
BoolArray = npt.NDArray[np.bool_]
STOP, SCORE, TRAIN = -1, 0, 1


@dataclass(frozen=True, slots=True)
class Resample:
    """Sorted row numbers of one replicate's parts; `train` holds a row as often as it was drawn."""

    train: RowNumbers
    stop: RowNumbers
    score: RowNumbers


@dataclass(frozen=True, slots=True)
class _Units:
    """`of_row` (rows,): the unit of each row; `stratum` (units,); `presence` (units, classes) of groups."""

    of_row: IntArray
    stratum: IntArray
    presence: BoolArray | None

    @property
    def counts(self) -> IntArray:
        """Units per stratum."""
        return np.bincount(self.stratum)


def resamples(
    labels: npt.NDArray[np.integer],
    evaluation: EvaluationSpec,
    seed: int,
    groups: npt.NDArray[np.integer] | None = None,
    *,
    names: Sequence[str] | None = None,
) -> tuple[Resample, ...]:
    """The resamples of a study, one per replicate.

    Args:
        labels: class number of each row, (rows,), 0 … classes − 1; all 0 where rows are not stratified.
        evaluation: its method, replicates, fractions and `stop_on` are used.
        seed: the study's.
        groups: group number of each row, (rows,); rows of one group stay together.
        names: of the classes, for messages.

    Raises DataError where a class has one row (or one group), or where the rows cannot be divided.
    """
    units = _units(labels, groups)
    _check_classes(labels, units, names)
    rngs = [generator(seed, "resample", replicate=r) for r in range(evaluation.replicates)]
    draws = _METHODS[evaluation.method](units, evaluation, rngs)
    if (presence := units.presence) is not None:
        draws = (_repaired(draw, presence, _open_parts(evaluation)) for draw in draws)
    parts = [_rows(draw[units.of_row]) for draw in draws]  # one draw is in memory at a time
    if evaluation.stop_on == "score":
        parts = [Resample(part.train, part.score, part.score) for part in parts]
    if units.presence is not None and evaluation.method == "bootstrap":
        parts = _of_equal_length(parts, len(labels), evaluation, rngs)
    _check_parts(parts, len(labels))
    return tuple(parts)


def _units(labels: npt.NDArray[np.integer], groups: npt.NDArray[np.integer] | None) -> _Units:
    if groups is None:
        return _Units(np.arange(len(labels)), labels.astype(np.intp), None)
    _, of_row = np.unique(groups, return_inverse=True)
    table = np.zeros((of_row.max(initial=-1) + 1, labels.max(initial=-1) + 1), np.intp)
    np.add.at(table, (of_row, labels), 1)
    return _Units(of_row.astype(np.intp), table.argmax(axis=1), table > 0)


def _check_classes(labels: npt.NDArray[np.integer], units: _Units, names: Sequence[str] | None) -> None:
    counts = np.bincount(labels) if units.presence is None else units.presence.sum(axis=0)
    for number in np.flatnonzero(counts == 1):
        unit = "row" if units.presence is None else "group"
        if len(counts) == 1:
            raise DataError(
                f"a table needs at least 2 {unit}s, one to train on and one to score, it has 1; add {unit}s"
            )
        name = repr(names[int(number)]) if names else int(number)
        raise DataError(
            f"every class needs at least 2 {unit}s, one to train on and one to score; class {name} has 1; "
            f"add {unit}s of it, join it with another class, remove it from the data, "
            f"or use {use('task', 'regression')} where these are no classes but a quantity",
            setting="target",
        )


def _check_parts(parts: Sequence[Resample], rows: int) -> None:
    for part, name in ((p, n) for p in parts for n in ("train", "stop", "score")):
        if len(getattr(part, name)) == 0:
            raise DataError(
                f"the rows must suffice for training, early stopping and scoring, got {rows} rows, "
                f"which leaves none for {name!r}; add rows, at least 3 (of one class), or 3 groups"
            )


def _bootstrap(units: _Units, evaluation: EvaluationSpec, rngs: Sequence[np.random.Generator]) -> Iterable[IntArray]:
    """Set `stop` aside, then draw as many units as are left from those left, with replacement."""
    counts = units.counts
    aside = _quotas(counts * _stop_fraction(evaluation), counts >= 3, np.maximum(counts - 2, 0))
    return (_bootstrap_draw(units, aside, rng) for rng in rngs)


def _bootstrap_draw(units: _Units, aside: IntArray, rng: np.random.Generator) -> IntArray:
    draw = np.full(len(units.stratum), STOP)
    for members, quota in zip(_shuffled_strata(units, rng), aside, strict=True):
        rest = members[quota:]
        times = np.bincount(rng.integers(len(rest), size=len(rest)), minlength=len(rest))
        if len(rest) > 1 and times.min() == 1:  # each drawn exactly once: none is left to score
            times[0], times[-1] = 2, SCORE
        draw[rest] = times
    return draw


def _shuffle(units: _Units, evaluation: EvaluationSpec, rngs: Sequence[np.random.Generator]) -> Iterable[IntArray]:
    """Divide the units at random, without replacement."""
    counts, fraction = units.counts, _stop_fraction(evaluation)
    most = np.maximum(counts - np.where((counts >= 3) & (fraction > 0), 2, 1), 0)
    score = _quotas(counts * evaluation.score_fraction, counts >= 2, most)
    stop = _quotas(counts * fraction, counts >= 3, np.maximum(counts - score - 1, 0))
    return (_shuffle_draw(units, score, stop, rng) for rng in rngs)


def _shuffle_draw(units: _Units, score: IntArray, stop: IntArray, rng: np.random.Generator) -> IntArray:
    draw = np.full(len(units.stratum), TRAIN)
    for members, to_score, to_stop in zip(_shuffled_strata(units, rng), score, stop, strict=True):
        draw[members[: to_score + to_stop]] = STOP
        draw[members[:to_score]] = SCORE
    return draw


def _holdout(units: _Units, evaluation: EvaluationSpec, rngs: Sequence[np.random.Generator]) -> Iterable[IntArray]:
    """One division for all replicates, which then differ in their networks' seeds only."""
    return [*_shuffle(units, evaluation, rngs[:1])] * len(rngs)


def _kfold(units: _Units, evaluation: EvaluationSpec, rngs: Sequence[np.random.Generator]) -> Iterable[IntArray]:
    """As many folds as replicates, each scored once; a class with fewer units than folds misses in some."""
    folds, size = len(rngs), len(units.stratum)
    if not 2 <= folds <= size:
        raise DataError(
            f"kfold needs at least 2 replicates and no more than rows or groups ({size}), got {folds}; "
            f"use {use('replicates', max(2, min(5, size)))}, or {use('method', 'bootstrap')}",
            setting="replicates",
        )
    fold = np.empty(size, np.intp)
    fold[np.concatenate(_shuffled_strata(units, rngs[0]))] = np.arange(size) % folds
    return (_fold_draw(units, fold == number, evaluation, rng) for number, rng in enumerate(rngs))


def _fold_draw(units: _Units, scored: BoolArray, evaluation: EvaluationSpec, rng: np.random.Generator) -> IntArray:
    rest = np.bincount(units.stratum[~scored], minlength=len(units.counts))
    aside = _quotas(units.counts * _stop_fraction(evaluation), rest >= 2, np.maximum(rest - 1, 0))
    draw = np.where(scored, SCORE, TRAIN)
    for members, quota in zip(_shuffled_strata(units, rng), aside, strict=True):
        draw[members[~scored[members]][:quota]] = STOP
    return draw


_METHODS = {"bootstrap": _bootstrap, "shuffle": _shuffle, "kfold": _kfold, "holdout": _holdout}


def _stop_fraction(evaluation: EvaluationSpec) -> float:
    """The part of all rows set aside for early stopping: none where it stops on `score`."""
    return evaluation.stop_fraction if evaluation.stop_on == "stop" else 0.0


def _shuffled_strata(units: _Units, rng: np.random.Generator) -> list[IntArray]:
    """Unit numbers of each stratum in random order."""
    shuffled = rng.permutation(len(units.stratum))
    by_stratum = shuffled[np.argsort(units.stratum[shuffled], kind="stable")]
    return np.split(by_stratum, np.cumsum(units.counts)[:-1])


def _quotas(wanted: npt.NDArray[np.floating], at_least_one: BoolArray, most: IntArray) -> IntArray:
    """Units to take from each stratum, (strata,): `wanted` by largest remainders, within the bounds, so that
    their sum is that of `wanted`, rounded, where the bounds allow it. None where none is wanted."""
    least = at_least_one.astype(np.intp)
    if not wanted.any():
        return np.zeros_like(least)
    total = int(wanted.sum() + 0.5)
    quotas: IntArray = np.clip(np.floor(wanted).astype(np.intp), least, most)
    while quotas.sum() != total:
        step = 1 if quotas.sum() < total else -1
        free = quotas < most if step > 0 else quotas > least
        if not free.any():
            break
        quotas[np.where(free, (wanted - quotas) * step, -np.inf).argmax()] += step
    return quotas


def _open_parts(evaluation: EvaluationSpec) -> list[int]:
    """The parts that groups may be moved between: all that there are, but each fold is scored as it is."""
    parts = [TRAIN]
    if evaluation.method != "kfold":
        parts.append(SCORE)
    if evaluation.stop_on == "stop":
        parts.append(STOP)
    return parts


def _repaired(draw: IntArray, presence: BoolArray, parts: Sequence[int]) -> IntArray:
    """Move the fewest groups so that each class is in each of `parts`, as far as its groups allow it.

    A class in 2 groups belongs in train and score, one in 3 or more in all parts. A group is moved only where
    no class loses its last group in the part it leaves; the first such group is taken.
    """
    draw = draw.copy()
    for number in range(presence.shape[1]):
        members = np.flatnonzero(presence[:, number])
        for place in parts:
            if (place == STOP and len(members) < 3) or (np.sign(draw[members]) == place).any():
                continue
            for unit in members.tolist():
                if np.sign(draw[unit]) in parts and _is_spare(unit, np.sign(draw), presence):
                    draw[unit] = place
                    break
    return draw


def _is_spare(unit: int, part: IntArray, presence: BoolArray) -> bool:
    """Whether every class of the unit has another unit in the same part, where it must have one."""
    classes = presence[unit]
    others = presence[part == part[unit]][:, classes].sum(axis=0) - 1
    if part[unit] == STOP:
        return bool((others[presence[:, classes].sum(axis=0) >= 3] > 0).all())
    return bool((others > 0).all())


def _rows(draw: IntArray) -> Resample:
    """The parts of a draw, (rows,), of rows."""
    return Resample(
        train=np.repeat(np.arange(len(draw), dtype=np.int32), np.maximum(draw, 0)),
        stop=np.flatnonzero(draw == STOP).astype(np.int32),
        score=np.flatnonzero(draw == SCORE).astype(np.int32),
    )


def _of_equal_length(
    parts: Sequence[Resample], rows: int, evaluation: EvaluationSpec, rngs: Sequence[np.random.Generator]
) -> list[Resample]:
    """Bring all `train` to the same length: groups differ in size, stacked networks need equally many rows.

    The length is that without groups, or more where a replicate has more different rows. Surplus copies are
    removed, missing ones drawn from the train rows; no row is lost and none is new.
    """
    distinct = [np.unique(part.train) for part in parts]
    length = max(rows - int(rows * _stop_fraction(evaluation) + 0.5), *(len(d) for d in distinct), 1)
    result = []
    for part, once, rng in zip(parts, distinct, rngs, strict=True):
        again = part.train[np.flatnonzero(np.diff(part.train, prepend=-1) == 0)]
        spare = length - len(once)
        if spare <= len(again):
            more = rng.permutation(again)[:spare]
        else:
            more = np.concatenate([again, rng.choice(part.train, spare - len(again))])
        result.append(Resample(np.sort(np.concatenate([once, more])), part.stop, part.score))
    return result
