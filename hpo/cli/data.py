"""The command data check: what is understood of a table, before anything trains."""

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.cli.errors import CommandLine
from hpo.cli.options import AsJson
from hpo.cli.output import Column, to_terminal, write_fields, write_json, write_lines, write_table, write_text
from hpo.cli.settings import with_settings
from hpo.declaration import Group, Setting
from hpo.errors import written
from hpo.settings import SETTINGS
from hpo.study.facts import kinds_text
from hpo.words import count_text, counts_text

if TYPE_CHECKING:
    from hpo.data.check import Understanding

app = typer.Typer(help="Look at a table before a study is made of it.", invoke_without_command=True)

MOST_SHOWN = 60
"""Columns that a terminal shows."""
NAME_WIDTH, BECOMES_WIDTH, LEAST_WIDTH, GAP = 20, 26, 12, 2
_HEADER = ("column", "kind", "becomes", "missing", "values")
CORRECTIONS = ("kind", "drop", "missing", "header", "target", "task")
"""Settings that correct what was understood."""

DataFile = Annotated[str, typer.Argument(metavar="FILE", help=SETTINGS["data"].about.help, show_default=False)]


def of_a_table() -> list[Setting]:
    """The settings of a table and of how it is judged, but the table itself."""
    groups = (Group.DATA, Group.JUDGE)
    return [
        each for each in SETTINGS.values() if each.about.group in groups and each.name not in ("data", "store_data")
    ]


@app.callback()
def _start(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)


@app.command()
@with_settings(of_a_table())
def check(
    file: DataFile,
    as_json: AsJson = False,
    **settings: Any,  # noqa: ANN401 - options of a table's settings
) -> int:
    """Show what is understood of a table: the target, what each column is and becomes, what is left out, warnings."""
    found = understood(file, settings)
    following = next_command(file, settings)
    if as_json:
        write_json({"data": file, **found.to_json(), "next": following})
    elif to_terminal():
        _show(file, found, following)
    else:
        _write(file, found, following)
    return 0


def understood(file: str, settings: dict[str, Any]) -> "Understanding":
    """What a child process understands of the table with these settings; InputError where it cannot be used."""
    from hpo.data.check import Understanding
    from hpo.handed import with_copy
    from hpo.objectives.mlp import MLP
    from hpo.processes import working_folder
    from hpo.study.resolve import request
    from hpo.worker.preparation import run_child

    with working_folder() as folder:
        asked_for = with_copy(request(study_name(file), data=file, **settings), folder)
        part = MLP.define(asked_for, None, works=True, has_copy=False)
        copy = None if asked_for.frame is None else str(asked_for.frame)
        return Understanding.from_json(run_child(lambda step, share: None, "hpo.data.check", {**part, "copy": copy}))


def study_name(file: str) -> str:
    """A name for a study of the table."""
    from hpo.handed import QUERY

    stem = "query" if file.lower().startswith(QUERY) else Path(file).name.partition(".")[0]
    letters = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in stem).strip("-_")
    return letters[:100] or "study"


def next_command(file: str, settings: dict[str, Any]) -> str:
    """The run that makes a study of the table."""
    face = CommandLine()
    told = {name: value for name, value in settings.items() if name != "data_url"}  # which may hold a password
    given = [face.setting(name, value) for name, value in told.items() if value is not None]
    return " ".join(["hpo run --study", study_name(file), "--data", shlex.quote(file), *given])


def target_fields(found: "Understanding") -> dict[str, str]:
    """The target for people: the task, why it is that, and classes with counts and shares, or a quantity's range."""
    fields = {"rows": f"{found.rows:,}", "columns": f"{found.table_columns:,}"}
    fields["task"] = f"{found.task}, {found.reason}"
    if found.target_range is not None:
        low, high = found.target_range
        fields["target"] = f"{low:.6g} to {high:.6g}, mean {found.target_mean:.6g}"
    else:
        title = "labels" if found.task == "multilabel" else "classes"
        fields[title] = counts_text(found.classes, found.rows)
    fields["inputs"] = kinds_text(found.columns)
    return fields


def _show(file: str, found: "Understanding", following: str) -> None:
    """For a person at a terminal."""
    write_fields({"table": file, **target_fields(found)})
    write_text()
    write_table(_columns(found))
    if (more := len(found.columns) - MOST_SHOWN) > 0:
        write_text(f"and {count_text(more, 'more column')}; a pipe gets them all")
    write_text()
    write_fields({"not used": "", **found.left_out} if found.left_out else {})
    for note in _notes(found):
        write_text(f"note: {note}")
    there = ", ".join(CommandLine().setting(name, None) for name in CORRECTIONS if name in SETTINGS)
    write_text(f"to correct it: {there}")
    write_text(f"next: {following}")


def _notes(found: "Understanding") -> list[str]:
    return [written(note, CommandLine()) for note in found.notes]


def _columns(found: "Understanding") -> list[Column]:
    """The table of columns, of which values take what room is left."""
    rows = found.columns[:MOST_SHOWN]
    columns = [
        Column(title="column", cells=[_cut(each.name, NAME_WIDTH) for each in rows]),
        Column(title="kind", cells=[each.kind for each in rows]),
        Column(title="becomes", cells=[_cut(each.becomes, BECOMES_WIDTH) for each in rows]),
    ]
    if any(each.missing for each in rows):
        cells = [f"{each.missing:,}" if each.missing else "" for each in rows]
        columns.append(Column(title="missing", cells=cells, right=True))
    taken = sum(max(map(len, (column.title, *column.cells))) + GAP for column in columns)
    room = max(LEAST_WIDTH, shutil.get_terminal_size().columns - taken)
    return [*columns, Column(title="values", cells=[_cut(each.values, room) for each in rows], spare=1)]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _write(file: str, found: "Understanding", following: str) -> None:
    """For a program: fields, then a line for each column, then what is left out, notes and the next command."""
    write_fields({"table": file, **target_fields(found)})
    write_lines([_HEADER, *((c.name, c.kind, c.becomes, c.missing, c.values) for c in found.columns)])
    write_lines([("not used", name, reason) for name, reason in found.left_out.items()])
    write_lines([("note", note) for note in _notes(found)])
    write_lines([("next", following)])
