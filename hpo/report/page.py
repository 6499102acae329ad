"""One standalone HTML file per report: everything is inside, and the page may load nothing from elsewhere."""

import base64
import hashlib
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from hpo_storage.records import StudyRecord
from markupsafe import Markup
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from hpo.errors import PYTHON, Face, InputError, written
from hpo.objectives.base import Part
from hpo.objectives.registry import parts_of
from hpo.report import answer, sections
from hpo.report.axes import axes
from hpo.report.figures import FIGURES
from hpo.report.markup import asset, render

CAPTIONS = {
    "history": (
        "Optimization history",
        "Each mark is a trial; the lower the better. The strip below holds trials without a value.",
    ),
    "curves": ("Learning curves", "Loss by epoch, the mean over a trial's replicates."),
    "importances": (
        "Parameter importances",
        "How much each parameter decides whether a trial is among the best (PED-ANOVA).",
    ),
    "slice": ("Slices", "Value by each parameter. The star is the best trial."),
    "parallel": (
        "Parallel coordinates",
        "One line per trial, the best in orange. Drag along an axis to pick a range, click it to let go.",
    ),
    "timeline": ("Timeline", "One bar per trial, one row per trainer. Dotted lines mark pauses."),
}
"""Figure -> title and explanation."""
MORE: dict[str, tuple[Part, str]] = {
    "history": (
        "races",
        "Raced-out trials (open circles) were given up after some of their replicates: their value is an estimate.",
    ),
    "curves": (
        "table",
        "It is measured on the stop rows; a replicate that has stopped counts with the weights it kept.",
    ),
}
"""Figure -> what there is to add to its explanation where a study has that part."""
_NEIGHBOURS: dict[str, Part] = {"curves": "curves", "importances": "curves", "timeline": "replicates"}
"""Figures that are half as wide as the page, where a study has what stands beside them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureCard:
    """A figure with its title and explanation, or `nothing`, the reason why there is none.

    `data` is plotly's JSON, as markup; a figure that `is_wide` is scrolled sideways on a narrow screen.
    """

    name: str
    title: str
    caption: str
    width: str
    nothing: str = ""
    data: str = ""
    is_wide: bool = False


def write_report(study: StudyRecord, path: Path, face: Face = PYTHON) -> Path:
    """Write the whole report and return `path`; `face` writes what to do next.

    What was there is replaced at once or, where writing fails (OSError), left as it was.
    """
    command, purpose = answer.next_command(study)
    parts = parts_of(study.spec, study.trials)
    left_away = {"curves"} if "curves" not in parts else set()
    left_away |= {"importances", "parallel"} if len(axes(study)) == 1 else set()  # they compare parameters
    figures = [name for name in FIGURES if name not in left_away]
    listings = [sections.data_notes(study, face), sections.spec(study), sections.environment(study)]
    return _write(
        "report.html",
        study,
        path,
        title=f"{study.name}: hpo report",
        answer=answer.answer(study),
        progress=answer.progress(study),
        figures=[figure_card(study, name, "half" if _NEIGHBOURS.get(name) in parts else "full") for name in figures],
        replicates=sections.replicates(study) if "replicates" in parts else None,
        trials=sections.trials(study),
        command=written(command, face),
        purpose=purpose,
        listings=[listing for listing in listings if listing.groups or listing.notes],
    )


def write_plot(study: StudyRecord, name: str, path: Path) -> Path:
    """Write a page with one figure and return `path`; InputError where there is no figure of that name."""
    if name not in FIGURES:
        raise InputError(
            f"a plot must be one of {', '.join(FIGURES)}, got {name!r}; choose one of them", setting="name"
        )
    title = f"{study.name}: {CAPTIONS[name][0]}"
    return _write("plot.html", study, path, title=title, figure=figure_card(study, name, "full"))


def figure_card(study: StudyRecord, name: str, width: str) -> FigureCard:
    """The figure of that name; `width` is full or half of a wide screen."""
    title, caption = CAPTIONS[name]
    part, more = MORE.get(name, (None, ""))
    if part in parts_of(study.spec, study.trials):
        caption = f"{caption} {more}"
    figure = FIGURES[name](study)
    card = FigureCard(name=name, title=title, caption=caption, width=width, is_wide=name == "parallel")
    if not figure.data:
        message = figure.layout.annotations[0].text
        return replace(card, nothing=f"{message[:1].upper()}{message[1:]}.")
    # The encoder writes `<`, `>` and `/` as \u003c and so on: no text can end the script element.
    return replace(card, data=Markup(to_json_plotly(figure, engine="json")))


def _write(template: str, study: StudyRecord, path: Path, **values: object) -> Path:
    script, plotly = asset("page.js"), Markup(get_plotlyjs())
    page = render(
        template,
        policy=_policy(plotly, script),
        style=asset("page.css"),
        heading=answer.heading(study),
        version=version("hpo"),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        plotly=plotly,
        script=script,
        **values,
    )
    _replace(path, page.encode("utf-8", "backslashreplace"))
    return path


def _policy(*scripts: str) -> str:
    """A content security policy: these scripts run, no others, and nothing is loaded from anywhere.

    plotly.js needs `unsafe-eval` for the parallel coordinates, and inline styles.
    """
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"


def _replace(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename: a reader finds the old file or the new one, never half of one."""
    temporary = path.with_name(f".{path.name[:60]}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
