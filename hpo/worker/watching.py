"""`hpo run --workers 0`: shows what other workers do on a study, until it is over."""

import time
from collections.abc import Callable

from hpo.study.spec import StudySpec
from hpo.worker.history import History, line_of, snapshot_of
from hpo.worker.outage import Outage
from hpo.worker.progress import ProgressView
from hpo.worker.signals import StopRequest
from storage import studies, workers
from storage.database import Database
from storage.records import INTERRUPTED_REASON, StudyHeader, StudyProgress, TrialRecord

LOOK_SECONDS = 1.0


def watch(
    database: Database,
    study: StudyHeader,
    view: ProgressView,
    stop: StopRequest,
    check: Callable[[], None] | None = None,
) -> None:
    """Return when the study is over, or the user has asked to stop; its workers go on.

    Where workers were launched, `check` is called with each look and raises when they cannot work.
    """
    spec = StudySpec.model_validate(study.spec)
    started, history, outage = time.monotonic(), History(database, study.id, spec), Outage(view, stop)

    def look() -> tuple[list[TrialRecord], StudyProgress]:
        return history.news(), studies.progress(database, study.id)

    _, progress = outage.insist(look)
    before = progress.finished
    if check is None and not any(
        worker.study == study.name for worker in outage.insist(lambda: workers.list_workers(database))
    ):
        view.message(f"no worker serves {study.name} yet; start some with: hpo worker --storage URL")
    news: list[TrialRecord] = []
    while True:
        snapshot = snapshot_of(
            study,
            progress,
            history,
            phase="watching its workers",
            seconds=time.monotonic() - started,
            finished_before=before,
        )
        for trial in news:
            if trial.reason != INTERRUPTED_REASON and trial.finished is not None:
                seconds = (trial.finished - trial.started).total_seconds()
                is_best = trial.number == history.best_trial
                view.trial(line_of(trial.number, trial.params, trial, seconds, is_best=is_best), snapshot)
        view.update(snapshot)
        if stop.count or progress.limit is not None or not (progress.open or progress.claimed):
            return
        if check is not None:
            check()
        stop.wait(LOOK_SECONDS)
        news, progress = outage.insist(look)
