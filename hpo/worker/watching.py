"""`hpo run --workers 0`: shows what other workers do on a study, until it is over."""

import time
from collections.abc import Callable

from hpo_storage import workers
from hpo_storage.database import Database
from hpo_storage.records import StudyHeader, StudyProgress, TrialRecord, TrialState
from hpo_storage.timing import Timing

from hpo.errors import do, use
from hpo.search.history import History
from hpo.study.standing import is_over
from hpo.worker.membership import Outage
from hpo.worker.progress import ProgressView, line_of, snapshot_of
from hpo.worker.signals import StopRequest

LOOK_SECONDS = 1.0


def watch(
    database: Database,
    study: StudyHeader,
    view: ProgressView,
    stop: StopRequest,
    check: Callable[[], None] | None = None,
    *,
    wants_workers: bool = True,
) -> None:
    """Return when the study is over, or the user has asked to stop; its workers go on.

    Where workers were launched, `check` is called with each look and raises when they cannot work. A study that
    `wants_workers` says so while it has none.
    """
    started, outage = time.monotonic(), Outage(view, stop)
    watcher = Watcher(database, study, outage, warn=view.message if wants_workers else None)
    _, progress = outage.insist(watcher.look)
    news, before = list[TrialRecord](), progress.finished
    while True:
        snapshot = snapshot_of(
            study,
            progress,
            watcher.history,
            phase="watching its workers",
            seconds=time.monotonic() - started,
            finished_before=before,
        )
        for trial in news:
            if trial.state != TrialState.INTERRUPTED and trial.seconds is not None:
                is_best = trial.number == watcher.history.best_trial
                view.trial(line_of(trial.number, trial.params, trial, trial.seconds, is_best=is_best), snapshot)
        view.update(snapshot)
        if stop.count or is_over(progress):
            return
        if check is not None:
            check()
        stop.wait(LOOK_SECONDS)
        news, progress = outage.insist(watcher.look)


class Watcher:
    """Looks at a study, and after its workers: gives others what the dead have left, and says when nobody is there."""

    def __init__(
        self, database: Database, study: StudyHeader, outage: Outage, warn: Callable[[str], None] | None
    ) -> None:
        self._database, self._study, self._outage, self._warn = database, study, outage, warn
        self._timing, self._warned = Timing.from_environment(), False
        self._care_at, self._sweep_at = 0.0, time.monotonic() + self._timing.lease
        self.history = History(database, study.id)

    def look(self) -> tuple[list[TrialRecord], StudyProgress]:
        """The trials that have ended since the last look, and how far the study is."""
        if self._outage.is_on:  # once the database is back, the living come first
            self._sweep_at = time.monotonic() + self._timing.lease
        news, progress = self.history.look()
        if time.monotonic() >= self._care_at:
            self._care_at = time.monotonic() + self._timing.sweep
            self._care(progress)
        return news, progress

    def _care(self, progress: StudyProgress) -> None:
        if time.monotonic() >= self._sweep_at:
            workers.sweep(self._database, study_id=self._study.id)
        if progress.claimed or workers.is_served(self._database, self._study.id):
            self._warned = False
        elif self._warn and progress.open and not self._warned:
            self._warn(
                f"no worker serves {self._study.name} now; start some on the same {use('storage')}: {do('worker')}"
            )
            self._warned = True
