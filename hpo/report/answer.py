"""The head of the page: what the study is about, its winner, how far it is and what to do next."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from hpo_storage.records import StudyRecord, TrialRecord, TrialState

from hpo.losses import loss_of
from hpo.objectives.registry import described
from hpo.report.axes import axes
from hpo.report.data import leader
from hpo.report.table_text import data_text, error_text
from hpo.study import standing
from hpo.study.facts import Facts, TrialInfo
from hpo.words import count_text, loss_text, widths_text

MOST_REASONS = 3
LIMIT_SETTINGS = {"wall time": "time_limit", "trainer seconds": "trainer_seconds"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """The study's name and what it is about."""

    name: str
    about: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The best trial, or why there is none.

    Attributes:
        value, unit: what is written large, and small behind it: the loss with its standard error and unit.
        over, under: a line above the value, and what explains it below.
        reasons: why the trials failed where all did, the most frequent first.
        notes: why the value may be too good.
        parameters: of the best trial, by their titles, and its batch size and weights.
        layers: its hidden layers.
    """

    value: str
    unit: str = ""
    over: str = ""
    under: str = ""
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    layers: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How many trials are done, what else there is to say, and how trials ended: those states that there are."""

    done: str
    remark: str
    states: Mapping[str, int]


def heading(study: StudyRecord) -> Heading:
    """The study's name and what it is about."""
    objective = described(study.spec)
    about = [objective.title]
    if objective.source:
        about = [f"{objective.source}, target {objective.target}", *data_text(Facts.from_json(study.facts))]
    return Heading(name=study.name, about=" · ".join(about))


def answer(study: StudyRecord) -> Answer:
    """The winner and its parameters, or why there is none."""
    best = standing.winner(study)
    return _no_winner(study) if best is None else _winner(study, best)


def progress(study: StudyRecord) -> Progress:
    """How far the study is."""
    again = standing.attempts_repeated(study)
    states = {
        **{str(state): count for state, count in standing.counts(study).items()},
        str(TrialState.RUNNING): len(standing.running(study)),
        "to do": standing.left(study),
    }
    remarks = [
        "Running: this page shows the study as it was when it was written." if study.running else "",
        f"{count_text(again, 'attempt')} broke off and {'was' if again == 1 else 'were'} repeated." if again else "",
    ]
    return Progress(
        done=f"{study.finished:,} of {study.budget:,}",
        remark=" ".join(remark for remark in remarks if remark),
        states={name: count for name, count in states.items() if count},
    )


def next_command(study: StudyRecord) -> tuple[str, str]:
    """The command to type next and its purpose; on studies of a data frame it is Python."""
    step = standing.next_step(study)
    if step.action == "status":
        purpose = "The study is running. See how far it is:"
    elif step.action == "trials":
        purpose = "No trial succeeded. See why:"
    else:
        purpose = "Extend the study:" if step.trials else "Resume the study:"
        if study.dataset is None and described(study.spec).needs_python:
            return _call(study, step), purpose
    settings = _settings(step)
    options = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["hpo", step.action, "--study", study.name, *options]), purpose


def _settings(step: standing.NextStep) -> dict[str, object]:
    """What a run changes of the study."""
    trials = {"trials": step.trials} if step.trials else {}
    return trials | ({LIMIT_SETTINGS[step.lifts]: "none"} if step.lifts else {})


def _call(study: StudyRecord, step: standing.NextStep) -> str:
    """The step in Python."""
    target = described(study.spec).target
    given = {"target": target, "study": study.name, "trials": study.budget, **_settings(step)}
    return f"hpo.tune(frame, {', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _winner(study: StudyRecord, best: TrialRecord) -> Answer:
    value, _, error = loss_text(best.value, best.standard_error).partition(" ± ")
    loss, info = loss_of(Facts.from_json(study.facts)), TrialInfo.from_json(best.info)
    with_error = ", with its standard error" if error else ""
    return Answer(
        over=f"{leader(study).capitalize()}: trial {best.number}",
        value=value,
        unit=f"± {error} {loss.unit}" if error else loss.unit,
        under=f"{loss.name[:1].upper()}{loss.name[1:]}, the mean over {count_text(len(best.replicates), 'replicate')}, "
        f"scored on rows they were not trained on{with_error}. {_compared(study, best)}",
        notes=_honesty(study),
        parameters=_parameters(study, best, info),
        layers=f"{widths_text(info.widths)} units" if info.widths else "",
    )


def _compared(study: StudyRecord, best: TrialRecord) -> str:
    """The winner's value beside the loss of the best guess that is the same for all rows."""
    facts = Facts.from_json(study.facts)
    if facts.prior_loss is None or best.value is None:
        return ""
    loss = loss_of(facts)
    guess = f"Predicting {loss.baseline} alone gives {loss_text(facts.prior_loss)}"
    error = error_text(facts, best.value)
    lower = loss.compared(best.value, facts.prior_loss)
    result = f"{guess}; the winner's is {lower}." if lower else f"{guess}: the winner is no better."
    return f"{result} It is {error}." if error else result


def _honesty(study: StudyRecord) -> tuple[str, ...]:
    notes = []
    if len(standing.ranked(study)) > 1:
        notes.append(
            f"It was chosen from {study.finished} trials by this very number, so expect slightly worse on new rows."
        )
    if caution := described(study.spec).caution:
        notes.append(caution)
    return tuple(notes)


def _parameters(study: StudyRecord, best: TrialRecord, info: TrialInfo) -> dict[str, str]:
    shown = [axis for axis in axes(study) if axis.name in best.params]  # the others' condition does not hold
    texts = {axis.title: axis.text(best.params[axis.name]) for axis in shown}
    sizes = {"batch size": info.batch_size, "weights": info.parameters}
    return texts | {name: f"{size:,}" for name, size in sizes.items() if size is not None}


def _no_winner(study: StudyRecord) -> Answer:
    """Why there is no winner: nothing has ended, or everything failed and for which reasons."""
    why = standing.why_no_winner(study)
    why = f"{why[:1].upper()}{why[1:]}."
    yet = "" if standing.is_over(study) else " yet"
    if study.finished == 0:
        return Answer(value=f"No result{yet}", under=why)
    if standing.counts(study)[TrialState.FAILED] < study.finished:
        return Answer(value=f"No winner{yet}", under=why)
    reasons = standing.failure_reasons(study)[:MOST_REASONS]
    return Answer(
        value="The one trial failed" if study.finished == 1 else f"All {study.finished} trials failed",
        reasons=tuple(f"{reason} ({count_text(count, 'trial')})" for reason, count in reasons),
    )
