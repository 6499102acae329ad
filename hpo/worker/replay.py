"""`hpo replay`: trains a stored trial again, without a race and without pruning, and compares the losses."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hpo_storage.database import connect
from hpo_storage.records import VALUED, Outcome, StudyRecord, TrialRecord
from hpo_storage.slots import Claim
from hpo_storage.studies import read_study

from hpo.errors import StudyError, do, use
from hpo.machine import choose_backend, trainer_environment
from hpo.processes import working_folder
from hpo.search.rules import Rules
from hpo.study.resolve import ResolvedStudy, reopen, trainer_of
from hpo.study.spec import StudySpec
from hpo.worker.membership import patient
from hpo.worker.pool import TrainerPool
from hpo.worker.preparation import prepare_study
from hpo.worker.progress import ProgressView, Snapshot, preparing

TOLERANCE = 1e-4
"""A relative difference of losses below this is rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A loss of one replicate, as stored and as it came out now; `loss` is "stop" or "score"."""

    replicate: int
    loss: str
    stored: float
    new: float

    @property
    def difference(self) -> float:
        """Relative to the stored one."""
        return abs(self.new - self.stored) / max(abs(self.stored), 1e-12)


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A trial and its losses, compared; `backend` trained it now."""

    trial: TrialRecord
    backend: str
    losses: tuple[Compared, ...]

    @property
    def difference(self) -> float:
        """The largest relative one."""
        return max(compared.difference for compared in self.losses)

    @property
    def same(self) -> bool:
        """Whether all losses came out as they are stored."""
        return self.difference < TOLERANCE


def replay(name: str, number: int, *, url: str, backend: str | None, view: ProgressView) -> Replay:
    """Train the replicates of a trial again that were trained; raises InputError where that cannot be done."""
    backend = choose_backend(backend)
    database = connect(url, create=False, patience=patient(view))
    with ExitStack() as stack:
        stack.callback(database.close)
        stack.callback(view.close)
        record = read_study(database, name)
        trial = _find(record, number)
        study = reopen(StudySpec.from_json(record.spec))
        folder = stack.enter_context(working_folder())
        pool = TrainerPool(trainer_environment(backend))
        stack.callback(pool.close)
        pool.grow(trainer_of(study), 1)
        started = time.monotonic()

        def show_preparation(step: str, share: float | None) -> None:
            view.update(preparing(name, 1, time.monotonic() - started, step, share))

        def show_training() -> None:
            phase = f"training trial {number} again"
            view.update(Snapshot(study=name, phase=phase, budget=1, seconds=time.monotonic() - started))

        prepare_study(database, study, record.dataset, folder, show_preparation, reads_source=False)
        outcome = _train(pool, study, trial, folder, show_training)
        return Replay(trial=trial, backend=backend, losses=tuple(_compared(trial, outcome)))


def _find(study: StudyRecord, number: int) -> TrialRecord:
    trial = next((trial for trial in study.trials if trial.number == number), None)
    if trial is None:
        raise StudyError(
            f"a trial must be there to be replayed, got {number} of {study.name!r}; see {do('trials', study.name)}",
            setting="trial",
        )
    if not trial.replicates:
        others = any(other.replicates for other in study.trials)
        raise StudyError(
            f"a replay trains the replicates of a trial again from their seeds and compares their losses, "
            f"got trial {number} of {study.name!r}, which is {trial.state} and has no replicates; "
            + ("choose another one" if others else "none of its trials has any, evaluate its point yourself"),
            setting="trial",
        )
    return trial


def _train(
    pool: TrainerPool, study: ResolvedStudy, trial: TrialRecord, folder: Path, show: Callable[[], None]
) -> Outcome:
    (trainer,) = pool
    wanted = {replicate.index for replicate in trial.replicates}
    trainer.open(folder, replicates=max(wanted) + 1)
    trainer.claims[trial.slot] = Claim(
        slot=trial.slot, attempt=trial.attempt, token="", trial_id=0, number=trial.number, params=trial.params
    )
    trainer.train([study.objective.order(study.spec, study.space, trial.slot, trial.params, Rules())], float("inf"))
    while True:
        show()
        for ended in pool.listen():
            if ended.outcome is None or wanted - {replicate.index for replicate in ended.outcome.replicates}:
                reason = ended.reason if ended.outcome is None else ended.outcome.reason
                raise StudyError(
                    f"trial {trial.number} could not be trained again: {reason}; replay another one, or use another "
                    f"{use('backend')}",
                    setting="trial",
                )
            return ended.outcome


def _compared(trial: TrialRecord, outcome: Outcome) -> Iterator[Compared]:
    """Stop losses and score losses. A training that was cut short goes on now: of it the loss after the epoch counts
    whose weights were kept then. That need not be the least, which may be lower by less than an improvement."""
    new = {replicate.index: replicate for replicate in outcome.replicates}
    for stored in trial.replicates:
        now = new[stored.index]
        cut_short = trial.state not in VALUED and stored.best_epoch < len(now.curve)
        stop = now.curve[stored.best_epoch] if cut_short else now.stop_loss
        yield Compared(replicate=stored.index, loss="stop", stored=stored.stop_loss, new=stop)
        if stored.score_loss is not None and now.score_loss is not None:
            yield Compared(replicate=stored.index, loss="score", stored=stored.score_loss, new=now.score_loss)
