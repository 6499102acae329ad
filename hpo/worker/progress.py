"""What a run shows while it works."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from hpo_storage.records import Outcome, StudyHeader, StudyProgress, TrialRecord, TrialState

from hpo.search.history import History
from hpo.study.facts import Facts, TrialInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """What one trainer is doing. Of several trials the first is named; `others` is how many more."""

    trainer: int
    trial: int
    replicate: int
    epoch: int
    stop_loss: float | None
    others: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The state of a run at one moment. `best_value` is of trials with all replicates; `seconds` since the start;
    `share` is how much of the phase is done, where that is known."""

    study: str
    phase: str
    budget: int
    complete: int = 0
    raced_out: int = 0
    pruned: int = 0
    failed: int = 0
    best_value: float | None = None
    best_error: float | None = None
    best_trial: int | None = None
    prior_loss: float | None = None
    loss_name: str = "log loss"
    finished_here: int = 0
    seconds: float = 0.0
    running: tuple[Running, ...] = field(default=())
    share: float | None = None

    @property
    def finished(self) -> int:
        """Slots of the budget that are used up."""
        return self.complete + self.raced_out + self.pruned + self.failed


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialLine:
    """A trial that just ended, for one line of output. `value` is the study's loss."""

    trial: int
    state: TrialState
    value: float | None
    standard_error: float | None
    is_best: bool
    seconds: float
    description: str
    reason: str | None = None


class ProgressView(Protocol):
    """Shows a run; called from the supervisor's loop a few times a second."""

    def update(self, snapshot: Snapshot) -> None:
        """Show the state of the run."""

    def trial(self, line: TrialLine, snapshot: Snapshot) -> None:
        """A trial has ended."""

    def message(self, text: str) -> None:
        """Tell the user something once; the text may hold marks."""

    def close(self) -> None:
        """The run is over; give the terminal back."""


class SilentView:
    """Shows nothing."""

    def update(self, snapshot: Snapshot) -> None:
        """Show nothing."""

    def trial(self, line: TrialLine, snapshot: Snapshot) -> None:
        """Show nothing."""

    def message(self, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


def preparing(study: str, budget: int, seconds: float, step: str, share: float | None) -> Snapshot:
    """What to show while data is prepared: `step` is what is done now, empty where that is not worth a word."""
    phase = f"preparing data: {step}" if step else "preparing data"
    return Snapshot(study=study, phase=phase, budget=budget, seconds=seconds, share=share)


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
    best, facts = history.best, Facts.from_json(study.facts)
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
        prior_loss=facts.prior_loss,
        loss_name=facts.loss_name,
        seconds=seconds,
        running=running,
    )
    return replace(snapshot, finished_here=snapshot.finished - finished_before)


def line_of(
    number: int, params: Mapping[str, Any], result: Outcome | TrialRecord, seconds: float, *, is_best: bool
) -> TrialLine:
    """A trial that has ended, to show; `seconds` is how long it took."""
    widths = "-".join(str(width) for width in TrialInfo.from_json(result.info).widths)
    activation = params.get("activation", "") if widths else ""
    return TrialLine(
        trial=number,
        state=result.state,
        value=result.value,
        standard_error=result.standard_error,
        is_best=is_best,
        seconds=seconds,
        description=f"{widths} {activation}".strip(),
        reason=result.reason,
    )
