"""The tables of the page: the winner's replicates, all trials, and what the study was made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_spaces.dimensions import Value
from hpo_storage.records import StudyRecord

from hpo.errors import PYTHON, Face, written
from hpo.losses import loss_of
from hpo.objectives.base import Part
from hpo.objectives.registry import described, parts_of
from hpo.report.axes import Axis, axes
from hpo.report.data import leader, trials_table, winner_table
from hpo.study.facts import Facts
from hpo.study.standing import why_no_winner, winner
from hpo.words import ABSENT, duration_text, loss_text, value_text, widths_text

MOST_CLASSES = 20
_RESAMPLED = (
    "Each replicate trains the network on one resample, stops early on the stop rows and is scored on rows it has not "
    "seen."
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's cell: what is shown and what it is sorted by, "" for nothing, which sorts last."""

    shown: str
    key: float | str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnHeading:
    """A column's title and style: "" for numbers, `text`, or `text wrap` for long ones."""

    title: str
    style: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table under its title and caption.

    `nothing` says why there are no rows; `foot` holds lines of texts below them; the row of index `best` stands out.
    """

    title: str
    caption: str = ""
    nothing: str = ""
    columns: Sequence[ColumnHeading] = ()
    rows: Sequence[Sequence[Cell]] = ()
    foot: Sequence[Sequence[str]] = ()
    best: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Names and their values, in groups with a title each ("" for none), and notes below them."""

    name: str
    title: str
    groups: Mapping[str, Mapping[str, str]]
    notes: Sequence[str] = ()


def replicates(study: StudyRecord) -> Table:
    """The winner's replicates, with their mean and its standard error."""
    best, table, parts = winner(study), winner_table(study), parts_of(study.spec, study.trials)
    if best is None:
        return Table(title="Replicates", nothing=f"There is no winner: {why_no_winner(study)}.")
    trained = "curves" in parts
    rows = [
        [
            Cell(str(row["replicate"]), row["replicate"]),
            _loss(row["score_loss"]),
            *([_loss(row["stop_loss"]), Cell(f"{row['epochs']} ({row['best_epoch']})", row["epochs"])] * trained),
            Cell(duration_text(row["seconds"]), row["seconds"]),
        ]
        for row in table.to_dict("records")
    ]
    means = [loss_text(table["stop_loss"].mean()), f"{table['epochs'].mean():.1f}"] * trained
    titles = ["score loss", *(["stop loss", "epochs (best)"] * trained), "time"]
    whose = "winner" if leader(study) == "winner" else "best trial"
    return Table(
        title=f"The {whose}'s replicates",
        caption=f"Trial {best.number}. {_RESAMPLED if 'table' in parts else ''} "
        f"Losses are the {loss_of(Facts.from_json(study.facts)).title}.",
        columns=[
            ColumnHeading(title="replicate", style="text"),
            *(ColumnHeading(title=title) for title in titles),
        ],
        rows=rows,
        foot=[
            ["mean", loss_text(best.value), *means, ""],
            ["standard error", loss_text(best.standard_error), *([""] * len(means)), ""],
        ],
    )


def trials(study: StudyRecord) -> Table:
    """All trials, to be sorted by a click."""
    table = trials_table(study)
    if table.empty:
        return Table(title="Trials", nothing="No trial has started yet.")
    best, shown, loss = winner(study), axes(study), loss_of(Facts.from_json(study.facts))
    parts = parts_of(study.spec, study.trials)
    ends = [(heading, cell) for part, heading, cell in _TRIAL_ENDS if part is None or part in parts]
    rows = [
        [
            *_trial_start(row),
            *(_parameter(axis, trial.params.get(axis.name)) for axis in shown),
            *(cell(row) for _, cell in ends),
        ]
        for trial, row in zip(study.trials, table.to_dict("records"), strict=True)
    ]
    captions = {
        f"Losses in {loss.unit}.": bool(loss.unit),
        "The value of a raced-out trial is an estimate (~).": "races" in parts,
        "Click a column's name to sort.": True,
    }
    return Table(
        title="Trials",
        caption=" ".join(caption for caption, holds in captions.items() if holds),
        columns=[
            ColumnHeading(title="trial"),
            ColumnHeading(title="state", style="text"),
            ColumnHeading(title=loss.name),
            *(ColumnHeading(title=axis.title, style="text" if axis.scale == "categories" else "") for axis in shown),
            *(heading for heading, _ in ends),
        ],
        rows=rows,
        best=study.trials.index(best) if best else None,
    )


def data_notes(study: StudyRecord, face: Face = PYTHON) -> Listing:
    """What is known of the data, and the notes made about it."""
    facts, objective = Facts.from_json(study.facts), described(study.spec)
    loss = loss_of(facts)
    known = {"source": objective.source, "target": objective.target, "sha256": objective.sha256}
    numbers = {
        "rows": facts.rows,
        "features, encoded": facts.features,
        "training rows per replicate": facts.train_rows if facts.most_train_rows is None else None,
        "mean of the target": facts.target_mean,
        "standard deviation of the target": facts.target_deviation,
    }
    known |= {title: f"{value:,.6g}" for title, value in numbers.items() if value is not None}
    if facts.most_train_rows is not None:
        known["training rows of a replicate"] = f"{facts.train_rows:,} to {facts.most_train_rows:,}"
    if facts.prior_loss is not None:
        known[f"{loss.name} of {loss.baseline}"] = loss_text(facts.prior_loss)
    known["labels (rows)" if facts.task == "multilabel" else "classes (rows)"] = _classes_text(facts)
    known = {name: text for name, text in known.items() if text}
    return Listing(
        name="data",
        title="Data" if known else "Notes",
        groups={"": known} if known else {},
        notes=[written(note, face) for note in facts.notes],
    )


def spec(study: StudyRecord) -> Listing:
    """The study's immutable settings and its search space."""
    cut_short = () if "races" in parts_of(study.spec, study.trials) else ("racing", "pruner")
    search = {name: value for name, value in study.spec["search"].items() if name not in cut_short}
    settings = {**described(study.spec).settings, "search": search}
    groups = {name.capitalize(): flat(values) for name, values in settings.items() if values}
    space = study.spec["space"]
    fields = space["description"]["dimensions"]
    ranges = {axis.title: _range(axis, each) for axis, each in zip(axes(study), fields, strict=True)}
    groups[f"Search space {space['reference']}"] = {**ranges, **flat(space["description"].get("settings", {}))}
    return Listing(name="spec", title="Settings", groups=groups)


def environment(study: StudyRecord) -> Listing:
    """The versions and the machine that the study first ran on."""
    created = f"{study.created:%Y-%m-%d %H:%M} {study.created.tzname() or ''}"
    known = {**flat(study.environment), "created": created}
    return Listing(name="environment", title="Environment", groups={"": known})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one mapping of readable names and texts, without those that are not set."""
    result: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            result |= flat(value)
        elif isinstance(value, bool):
            result[name] = "yes" if value else "no"
        elif value is not None:
            result[name] = value_text(value)
    return result


def _classes_text(facts: Facts) -> str:
    """`no (600), yes (300)`."""
    classes = list(zip(facts.classes, facts.class_counts, strict=False))
    listed = ", ".join(f"{name} ({count:,})" for name, count in classes[:MOST_CLASSES])
    return listed + (f", and {len(classes) - MOST_CLASSES} more" if classes[MOST_CLASSES:] else "")


def _parameter(axis: Axis, value: Value | None) -> Cell:
    place = axis.position(value)
    return Cell(axis.text(value), place if place == place else "")


def _trial_start(row: Mapping[Any, Any]) -> list[Cell]:
    value = row["value"]
    estimate = "~ " if row["state"] == "raced out" and value == value else ""
    loss = Cell(estimate + loss_text(value, row["standard_error"]), value) if value == value else Cell(ABSENT)
    return [Cell(str(row["trial"]), row["trial"]), Cell(row["state"], row["state"]), loss]


def _number(value: float, text: str) -> Cell:
    """A number in this text; a mark where it is not known."""
    return Cell(text, value) if value == value else Cell(ABSENT)


_TRIAL_ENDS: tuple[tuple[Part | None, ColumnHeading, Callable[[Mapping[Any, Any]], Cell]], ...] = (
    (
        "networks",
        ColumnHeading(title="hidden layers", style="text"),
        lambda row: Cell(widths_text(row["layers"]), len(row["layers"])),
    ),
    ("networks", ColumnHeading(title="weights"), lambda row: _number(row["weights"], f"{row['weights']:,.0f}")),
    ("replicates", ColumnHeading(title="replicates"), lambda row: Cell(str(row["replicates"]), row["replicates"])),
    ("curves", ColumnHeading(title="epochs"), lambda row: _number(row["epochs"], f"{row['epochs']:.1f}")),
    (None, ColumnHeading(title="time"), lambda row: _number(row["seconds"], duration_text(row["seconds"]))),
    (None, ColumnHeading(title="attempt"), lambda row: Cell(str(row["attempt"]), row["attempt"])),
    (None, ColumnHeading(title="reason", style="text wrap"), lambda row: Cell(row["reason"], row["reason"])),
)
"""The last columns of the table of trials, where a study has that part."""


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
