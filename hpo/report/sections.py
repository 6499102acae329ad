"""The tables of the page: the winner's replicates, all trials, and what the study was made of."""

from collections.abc import Mapping
from html import escape
from typing import Any

from hpo_storage.records import StudyRecord

from hpo.objectives.registry import described
from hpo.report.axes import Axis, axes
from hpo.report.data import leader, trials_table, winner_table
from hpo.report.losses import loss_of
from hpo.report.markup import Cell, card, flat, html_table, nothing, pairs
from hpo.words import ABSENT, duration_text, loss_text, widths_text

MOST_CLASSES = 20


def replicates(study: StudyRecord) -> str:
    """The winner's replicates, with their mean and its standard error."""
    best, table = study.best, winner_table(study)
    if best is None:
        return card("replicates", "half", "<h2>Replicates</h2>" + nothing("there is no winner yet"))
    rows = [
        [
            Cell(str(row["replicate"]), row["replicate"]),
            _loss(row["score_loss"]),
            _loss(row["stop_loss"]),
            Cell(f"{row['epochs']} ({row['best_epoch']})", row["epochs"]),
            Cell(duration_text(row["seconds"]), row["seconds"]),
        ]
        for row in table.to_dict("records")
    ]
    foot = [
        [
            "mean",
            loss_text(best.value),
            loss_text(table["stop_loss"].mean()),
            f"{table['epochs'].mean():.1f}",
            "",
        ],
        ["standard error", loss_text(best.standard_error), "", "", ""],
    ]
    columns = ["replicate", "score loss", "stop loss", "epochs (best)", "time"]
    body = html_table(columns, rows, foot=foot, left={"replicate"})
    caption = (
        f"Trial {best.number}. Each replicate trains the network on one resample, stops early on the stop "
        f"rows and is scored on rows it has not seen. Losses are the {loss_of(study.facts).title}."
    )
    whose = "winner" if leader(study) == "winner" else "best trial"
    title = f"<h2>The {whose}'s replicates</h2><p class='caption'>{caption}</p>"
    return card("replicates", "half", f"{title}<div class='box'>{body}</div>")


def trials(study: StudyRecord) -> str:
    """All trials, to be sorted by a click."""
    table = trials_table(study)
    if table.empty:
        return card("trials", "full", "<h2>Trials</h2>" + nothing("no trial has started yet"))
    shown, loss = axes(study), loss_of(study.facts)
    columns = ["trial", "state", loss.name, *(axis.title for axis in shown), "hidden layers"]
    columns += ["weights", "replicates", "epochs", "time", "attempt", "reason"]
    rows = []
    for trial, row in zip(study.trials, table.to_dict("records"), strict=True):
        params = []
        for axis in shown:
            value = trial.params.get(axis.name)
            place = axis.position(value)
            params.append(Cell(axis.text(value), place if place == place else ""))
        rows.append([*_trial_start(row), *params, *_trial_end(row)])
    best = study.best.number if study.best else None
    body = html_table(
        columns,
        rows,
        left={"state", "hidden layers", "reason", *(a.title for a in shown if a.scale == "categories")},
        sortable=True,
        marked=[trial.number == best for trial in study.trials],
    )
    caption = (
        f"Losses in {loss.unit}. The value of a raced-out trial is an estimate (~). Click a column's name to sort."
    )
    title = f"<h2>Trials</h2><p class='caption'>{caption}</p>"
    return card("trials", "full", f"{title}<div class='box tall' tabindex='0'>{body}</div>")


def data_notes(study: StudyRecord) -> str:
    """What is known of the data, and the notes made about it."""
    facts, objective = study.facts, described(study.spec)
    about = {"source": objective.source, "target": objective.target, "sha256": objective.sha256}
    known: dict[str, object] = {name: text for name, text in about.items() if text}
    names = {
        "rows": "rows",
        "features": "features, encoded",
        "train_rows": "training rows per replicate",
        "target_mean": "mean of the target",
        "target_deviation": "standard deviation of the target",
        "prior_loss": f"{loss_of(facts).name} of {loss_of(facts).baseline}",
    }
    for key, title in names.items():
        if (value := facts.get(key)) is not None:
            known[title] = loss_text(value) if key == "prior_loss" else f"{value:,.6g}"
    classes = list(zip(facts.get("classes", ()), facts.get("class_counts", ()), strict=False))
    listed = ", ".join(f"{name} ({count:,})" for name, count in classes[:MOST_CLASSES])
    if listed:
        known["labels (rows)" if facts.get("task") == "multilabel" else "classes (rows)"] = listed + (
            f", and {len(classes) - MOST_CLASSES} more" if classes[MOST_CLASSES:] else ""
        )
    notes = "".join(f"<li>{escape(str(note))}</li>" for note in facts.get("notes", ()))
    listing = f"<h3>Notes</h3><ul class='notes'>{notes}</ul>" if notes else ""
    return card("data", "third", f"<h2>Data</h2>{pairs(known)}{listing}")


def spec(study: StudyRecord) -> str:
    """The study's immutable settings and its search space."""
    settings = {**described(study.spec).settings, "search": study.spec["search"]}
    groups = [f"<h3>{escape(name.capitalize())}</h3>{pairs(flat(values))}" for name, values in settings.items()]
    space = study.spec["space"]
    fields = space["description"]["dimensions"]
    ranges = {axis.title: _range(axis, each) for axis, each in zip(axes(study), fields, strict=True)}
    fixed = flat(space["description"].get("settings", {}))
    groups.append(f"<h3>Search space {escape(str(space['reference']))}</h3>{pairs({**ranges, **fixed})}")
    return card("spec", "third", f"<h2>Settings</h2>{''.join(groups)}")


def environment(study: StudyRecord) -> str:
    """The versions and the machine that the study first ran on."""
    known = {
        **flat(study.environment),
        "created": f"{study.created:%Y-%m-%d %H:%M} {study.created.tzname() or ''}",
    }
    return card("environment", "third", f"<h2>Environment</h2>{pairs(known)}")


def _trial_start(row: Mapping[Any, Any]) -> list[Cell]:
    value = row["value"]
    estimate = "~ " if row["state"] == "raced out" and value == value else ""
    loss = Cell(estimate + loss_text(value, row["standard_error"]), value) if value == value else Cell(ABSENT)
    return [Cell(str(row["trial"]), row["trial"]), Cell(row["state"], row["state"]), loss]


def _trial_end(row: Mapping[Any, Any]) -> list[Cell]:
    weights, epochs, seconds = row["weights"], row["epochs"], row["seconds"]
    return [
        Cell(widths_text(row["layers"]), len(row["layers"])),
        Cell(f"{weights:,.0f}", weights) if weights == weights else Cell(ABSENT),
        Cell(str(row["replicates"]), row["replicates"]),
        Cell(f"{epochs:.1f}", epochs) if epochs == epochs else Cell(ABSENT),
        Cell(duration_text(seconds), seconds) if seconds == seconds else Cell(ABSENT),
        Cell(str(row["attempt"]), row["attempt"]),
        Cell(row["reason"], row["reason"]),
    ]


def _loss(value: float) -> Cell:
    return Cell(loss_text(value), value if value == value else "")


def _range(axis: Axis, fields: Mapping[str, Any]) -> str:
    """What the dimension ranges over: `0.0001 to 0.1, log`, `relu, elu`."""
    if "choices" in fields:
        text = ", ".join(axis.text(choice) for choice in fields["choices"])
    else:
        text = f"{axis.text(fields['low'])} to {axis.text(fields['high'])}{', log' if axis.scale == 'log' else ''}"
    if "when" not in fields:
        return text
    name, values = fields["when"]
    return f"{text} (where {name} is {' or '.join(str(value) for value in values)})"
