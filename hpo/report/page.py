"""One standalone HTML file per report: everything is inside, and the page may load nothing from elsewhere."""

import base64
import hashlib
import os
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

from hpo_storage.records import StudyRecord
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from hpo.errors import InputError
from hpo.report import answer, sections
from hpo.report.figures import FIGURES
from hpo.report.markup import card, nothing

CAPTIONS = {
    "history": (
        "Optimization history",
        "Each mark is a trial; the lower the better. Raced-out trials (open circles) were given up after "
        "some of their replicates: their value is an estimate. The strip below holds trials without a value.",
    ),
    "curves": (
        "Learning curves",
        "Loss on the stop rows, the mean over a trial's replicates; a replicate that has stopped counts with "
        "the weights it kept.",
    ),
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
_WIDTHS = {"curves": "half", "importances": "half", "timeline": "half"}


def write_report(study: StudyRecord, path: Path, *, next_command: str | None = None) -> Path:
    """Write the whole report and return `path`; `next_command` replaces the command the page ends with.

    What was there is replaced at once or, where writing fails (OSError), left as it was.
    """
    parts = [
        answer.answer(study),
        *(_figure_card(study, name) for name in FIGURES),
        sections.replicates(study),
        sections.trials(study),
        answer.next_card(study, next_command),
        sections.data_notes(study),
        sections.spec(study),
        sections.environment(study),
    ]
    return _write(f"{study.name}: hpo report", f"{answer.header(study)}<main>{''.join(parts)}</main>", path)


def write_plot(study: StudyRecord, name: str, path: Path) -> Path:
    """Write a page with one figure and return `path`; InputError where there is no figure of that name."""
    if name not in FIGURES:
        raise InputError(
            f"a plot must be one of {', '.join(FIGURES)}, got {name!r}; choose one of them", setting="name"
        )
    return _write(
        f"{study.name}: {CAPTIONS[name][0]}",
        f"{answer.header(study)}<main>{_figure_card(study, name, 'full')}</main>",
        path,
    )


def _figure_card(study: StudyRecord, name: str, width: str | None = None) -> str:
    """One figure with its title, or the reason why there is none."""
    title, caption = CAPTIONS[name]
    figure = FIGURES[name](study)
    head = f"<h2>{escape(title)}</h2>"
    place = width or _WIDTHS.get(name, "full")
    if not figure.data:
        return card(name, place, head + nothing(figure.layout.annotations[0].text))
    least = " least" if name == "parallel" else ""
    # The encoder writes `<`, `>` and `/` as \u003c and so on: no text can end the script element.
    text = to_json_plotly(figure, engine="json")
    data = f"<script type='application/json' id='plot-{name}-figure'>{text}</script>"
    plot = f"<div class='box'><div class='plot{least}' id='plot-{name}'></div></div>"
    return card(name, place, f"{head}<p class='caption'>{escape(caption)}</p>{plot}{data}")


def _write(title: str, body: str, path: Path) -> Path:
    template = files("hpo.report") / "template"
    style, script = ((template / name).read_text("utf-8") for name in ("page.css", "page.js"))
    written = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    footer = f"<footer>Written by hpo {escape(version('hpo'))} on {written}. This file needs no network.</footer>"
    plotly = get_plotlyjs()
    page = Template((template / "page.html").read_text("utf-8")).substitute(
        policy=_policy(plotly, script),
        title=escape(title),
        style=style,
        body=body + footer,
        plotly=plotly,
        script=script,
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
