"""Commands that draw: report and plot."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from hpo_storage.urls import database_url

from hpo.cli.errors import NO_RESULT, complain
from hpo.cli.options import Figure, Open, Storage, StudyName, read, with_storage
from hpo.cli.output import write_text
from hpo.report.place import page_path

if TYPE_CHECKING:
    from hpo_storage.records import StudyRecord

Output = Annotated[Path | None, typer.Option("--output", metavar="FILE", help="HTML file to write.")]
FigureName = Annotated[Figure, typer.Argument(help="What to plot.", metavar="NAME", show_default=False)]


def report_path(study: str) -> Path:
    """Where the report goes unless told otherwise."""
    return Path(f"report-{study}.html")


def report(study: StudyName, storage: Storage = None, output: Output = None, open_: Open = False) -> int:
    """Write a study's report: one HTML file that needs no network. Default: report-STUDY.html."""
    path = page_path(output or report_path(study), "output")
    return _finish(write_report(read(storage, study), path, database_url(storage)), open_)


def plot(
    name: FigureName, study: StudyName, storage: Storage = None, output: Output = None, open_: Open = False
) -> int:
    """Write one plot as an HTML file: history, curves, importances, slice, parallel or timeline.

    Default: plot-NAME-STUDY.html.
    """
    path = page_path(output or Path(f"plot-{name}-{study}.html"), "output")
    return _finish(_write_plot(read(storage, study), name, path), open_)


def write_report(study: "StudyRecord", path: Path, url: str) -> Path | None:
    """Write the report and return its path; where that fails say why and return None."""
    from hpo.report.answer import next_command
    from hpo.report.page import write_report as write

    usual, _ = next_command(study)
    command = with_storage(usual, url) if usual.startswith("hpo ") else None
    try:
        return write(study, path, next_command=command).absolute()
    except OSError as error:
        complain(f"the report could not be written to {str(path)!r}: {error.strerror}; choose another place")
        return None


def _write_plot(study: "StudyRecord", name: Figure, path: Path) -> Path | None:
    from hpo.report.page import write_plot

    try:
        return write_plot(study, name, path).absolute()
    except OSError as error:
        complain(f"the plot could not be written to {str(path)!r}: {error.strerror}; choose another place")
        return None


def _finish(path: Path | None, open_: bool) -> int:
    if path is None:
        return NO_RESULT
    write_text(str(path))
    if open_:
        import webbrowser

        webbrowser.open(path.as_uri())
    return 0
