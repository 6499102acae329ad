"""The finished trials of a study, as far as this worker knows them: its own and those of others."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hpo.report.losses import loss_of
from hpo.search.incumbent import Leaderboard
from hpo.search.rules import Rules
from hpo.study.spec import EvaluationSpec, SearchSpec, StudySpec
from hpo.worker.progress import Running, Snapshot, TrialLine
from storage import studies
from storage.database import Database
from storage.records import Outcome, StudyHeader, StudyProgress, TrialRecord


class History:
    """Takes in what this worker finishes, and reads from the database what others do."""

    def __init__(self, database: Database, study_id: int, spec: StudySpec | None = None) -> None:
        """Who only looks on needs no spec: it is for `rules`."""
        search, evaluation = (spec.search, spec.evaluation) if spec else (SearchSpec(), EvaluationSpec())
        self._database, self._study_id, self._curves = database, study_id, search.compares_curves
        self._known: set[int] = set()
        self._after = -1
        self._leaderboard = Leaderboard(search, evaluation)
        self.best: Outcome | TrialRecord | None = None
        self.best_trial: int | None = None

    def news(self) -> list[TrialRecord]:
        """Trials that have ended and were not known, taken in now."""
        ended, self._after = studies.finished_since(
            self._database, self._study_id, self._after, known=self._known, curves=self._curves
        )
        return [trial for trial in ended if self.add(trial.number, trial)]

    def add(self, number: int, result: Outcome | TrialRecord) -> bool:
        """Take in a trial that has ended; return whether it was not known."""
        if number in self._known:
            return False
        self._known.add(number)
        self._leaderboard.add(number, result)
        best = self._leaderboard.best
        if best is not None and best.number == number:
            self.best, self.best_trial = result, number
        return True

    def rules(self, slot: int) -> Rules:
        """What may cut short the trial of this slot."""
        return self._leaderboard.rules(slot)


def snapshot_of(
    study: StudyHeader,
    progress: StudyProgress,
    history: History,
    *,
    phase: str,
    seconds: float,
    finished_before: int,
    running: tuple[Running, ...] = (),
) -> Snapshot:
    """What to show of a study; `finished_before` were finished when this process began, `seconds` ago."""
    best = history.best
    snapshot = Snapshot(
        study=study.name,
        phase=phase,
        budget=progress.budget,
        complete=progress.complete,
        raced_out=progress.raced_out,
        pruned=progress.pruned,
        failed=progress.failed,
        best_value=best.value if best else None,
        best_error=best.standard_error if best else None,
        best_trial=history.best_trial,
        prior_loss=study.facts.get("prior_loss"),
        loss_name=loss_of(study.facts).name,
        seconds=seconds,
        running=running,
    )
    return replace(snapshot, finished_here=snapshot.finished - finished_before)


def line_of(
    number: int, params: Mapping[str, Any], result: Outcome | TrialRecord, seconds: float, *, is_best: bool
) -> TrialLine:
    """A trial that has ended, to show; `seconds` is how long it took."""
    widths = "-".join(str(width) for width in result.info.get("widths", ()))
    return TrialLine(
        trial=number,
        state="raced out" if result.raced_out else result.state,
        value=result.value,
        standard_error=result.standard_error,
        is_best=is_best,
        seconds=seconds,
        description=f"{widths} {params.get('activation', '')}".strip(),
        reason=result.reason,
    )
