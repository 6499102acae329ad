"""The head of the page: what the study is about, its winner, how far it is and what to do next."""

import shlex
from collections import Counter
from html import escape

from hpo_storage.records import StudyRecord, TrialRecord

from hpo.objectives.registry import described
from hpo.report.axes import axes
from hpo.report.data import attempts_repeated, counts, leader, state_of
from hpo.report.losses import error_text, loss_of, target_text
from hpo.report.markup import card
from hpo.words import count_text, loss_text, widths_text

MOST_REASONS = 3


def header(study: StudyRecord) -> str:
    """The study's name and what it is about."""
    objective, facts = described(study.spec), study.facts
    about = [
        f"{objective.source}, target {objective.target}" if objective.source else objective.title,
        count_text(facts["rows"], "row") if "rows" in facts else "",
        count_text(facts["features"], "feature") if "features" in facts else "",
        target_text(facts) if "classes" in facts else "",
    ]
    return (
        f"<header><p class='over'>hyperparameter study</p><h1>{escape(study.name)}</h1>"
        f"<p class='under'>{escape(' · '.join(part for part in about if part))}</p></header>"
    )


def answer(study: StudyRecord) -> str:
    """The winner, its parameters, and how far the study is."""
    best = study.best
    left = _no_winner(study) if best is None else _winner(study, best)
    right = "" if best is None else f"<dl class='facts'>{_winner_facts(study, best)}</dl>"
    return card("answer", "full", f"<div class='answer'><div>{left}</div>{right}</div>{_progress(study)}")


def next_step(study: StudyRecord, command: str | None) -> str:
    """The command to type next, and what it does."""
    usual, purpose = next_command(study)
    body = f"<h2>Next</h2><p>{escape(purpose)}</p><pre>{escape(command or usual)}</pre>"
    return card("next", "full", body)


def next_command(study: StudyRecord) -> tuple[str, str]:
    """The command to type next and its purpose; on studies of a data frame it is Python."""
    name = study.name
    if study.running:
        return shlex.join(["hpo", "status", "--study", name]), "The study is running. See how far it is:"
    if study.finished >= study.budget and study.best is None:
        return shlex.join(["hpo", "trials", "--study", name]), "No trial succeeded. See why:"
    done = study.finished >= study.budget
    trials = 2 * study.budget if done else study.budget
    purpose = "Extend the study:" if done else "Resume the study:"
    objective = described(study.spec)
    if objective.needs_python:
        return f"hpo.tune(frame, target={objective.target!r}, study={name!r}, trials={trials})", purpose
    more = ["--trials", str(trials)] if done else []
    return shlex.join(["hpo", "run", "--study", name, *more]), purpose


def _winner(study: StudyRecord, best: TrialRecord) -> str:
    count = count_text(len(best.replicates), "replicate")
    value, _, error = loss_text(best.value, best.standard_error).partition(" ± ")
    error = f" ± {escape(error)}" if error else ""
    loss = loss_of(study.facts)
    return (
        f"<p class='over'>{leader(study).capitalize()}: trial {best.number}</p>"
        f"<p class='value'>{escape(value)}<small>{error} {loss.unit}</small></p>"
        f"<p class='under'>{loss.name[:1].upper()}{loss.name[1:]}, the mean over {count}, "
        f"scored on rows they were not trained on{', with its standard error' if error else ''}. "
        f"{escape(_compared(study, best))}</p>"
        f"{_honesty(study)}"
    )


def _compared(study: StudyRecord, best: TrialRecord) -> str:
    """The winner's value beside the loss of the best guess that is the same for all rows."""
    prior = study.facts.get("prior_loss")
    if prior is None or best.value is None:
        return ""
    loss = loss_of(study.facts)
    guess = f"Predicting {loss.baseline} alone gives {loss_text(prior)}"
    error = error_text(study.facts, best.value)
    lower = loss.compared(best.value, prior)
    result = f"{guess}; the winner's is {lower}." if lower else f"{guess}: the winner is no better."
    return f"{result} It is {error}." if error else result


def _honesty(study: StudyRecord) -> str:
    notes = []
    if len(study.ranked) > 1:
        notes.append(
            f"It was chosen from {study.finished} trials by this very number, so expect slightly worse on new rows."
        )
    if caution := described(study.spec).caution:
        notes.append(caution)
    return "".join(f"<p class='note'>{escape(note)}</p>" for note in notes)


def _winner_facts(study: StudyRecord, best: TrialRecord) -> str:
    shown = [axis for axis in axes(study) if axis.name in best.params]  # the others' condition does not hold
    facts = {axis.title: axis.text(best.params[axis.name]) for axis in shown}
    info = best.info
    if "batch_size" in info:
        facts["batch size"] = f"{info['batch_size']:,}"
    if "parameters" in info:
        facts["weights"] = f"{info['parameters']:,}"
    cells = [f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts.items()]
    if info.get("widths"):
        layers = f"{widths_text(info['widths'])} units"
        cells.append(f"<div class='long'><dt>hidden layers</dt><dd>{escape(layers)}</dd></div>")
    return "".join(cells)


def _no_winner(study: StudyRecord) -> str:
    """Why there is no winner: nothing has ended, or everything failed and for which reasons."""
    ended = counts(study)
    if study.finished == 0:
        return "<p class='value'>No result yet</p><p class='under'>No trial has ended.</p>"
    if ended["failed"] < study.finished:
        return "<p class='value'>No winner yet</p><p class='under'>No trial has all its replicates.</p>"
    reasons = Counter(
        trial.reason or "no reason was stored" for trial in study.trials if state_of(study, trial) == "failed"
    )
    lines = "".join(
        f"<li>{escape(reason)} ({count_text(count, 'attempt')})</li>"
        for reason, count in reasons.most_common(MOST_REASONS)
    )
    title = "The one trial failed" if study.finished == 1 else f"All {study.finished} trials failed"
    return f"<p class='value'>{title}</p><ul class='notes'>{lines}</ul>"


def _progress(study: StudyRecord) -> str:
    """A bar of how the trials ended, with its legend."""
    states = {name: count for name, count in counts(study).items() if count}
    parts = [(escape(name), name.replace(" ", "-"), count) for name, count in states.items()]
    bar = "".join(f"<span class='{style}' style='flex:{count} 1 0'></span>" for _, style, count in parts)
    legend = "".join(f"<li><span class='mark {style}'></span>{count:,} {name}</li>" for name, style, count in parts)
    again = attempts_repeated(study)
    repeated = (
        f" {count_text(again, 'attempt')} broke off and {'was' if again == 1 else 'were'} repeated." if again else ""
    )
    state = "Running: this page shows the study as it was when it was written." if study.running else ""
    return (
        f"<div class='progress'><p><strong>{study.finished:,} of {study.budget:,}</strong> trials done. "
        f"{state}{repeated}</p>"
        f"<div class='bar' aria-hidden='true'>{bar}</div><ul class='states'>{legend}</ul></div>"
    )
