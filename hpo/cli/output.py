"""Standard output in three forms: tables for a terminal, tab-separated lines for a pipe, JSON on request."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from hpo.words import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table


LEAST_WIDTH = 20
"""Of a terminal; with less, rich shows nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of a table in a terminal; `spare` ones give way in a narrow one, the highest number first."""

    title: str
    cells: Sequence[str]
    right: bool = False
    spare: int = 0


def to_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def write_json(value: object) -> None:
    """Write JSON: times in ISO 8601, and null for numbers that are not finite."""
    typer.echo(json.dumps(_plain(value), indent=2, allow_nan=False))


def write_lines(rows: Sequence[Sequence[object]]) -> None:
    """Write tab-separated lines; None is an empty field."""
    for row in rows:
        typer.echo("\t".join("" if cell is None else printable(_cell(cell)) for cell in row))


def write_table(columns: Sequence[Column], marked: int | None = None) -> None:
    """Write a table for a terminal; the row of index `marked` stands out."""
    console = _console()
    shown = list(columns)
    spare = sorted((column for column in columns if column.spare), key=lambda column: column.spare)
    while spare and console.measure(_table(shown, marked), options=_wide(console)).maximum > console.width:
        shown.remove(spare.pop())
    console.print(_table(shown, marked))


def _console() -> "Console":
    """The terminal, whatever the environment says of its width."""
    from rich.console import Console

    console = Console()
    console.width = max(console.width, LEAST_WIDTH)
    return console


def _table(columns: Sequence[Column], marked: int | None) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for index, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
        style = "bold green" if index == marked else None
        table.add_row(*(Text(printable(cell)) for cell in row), style=style)
    return table


def _wide(console: "Console") -> "ConsoleOptions":
    return console.options.update(max_width=10_000)


def write_fields(fields: Mapping[str, str]) -> None:
    """Write a name and a value per line: aligned for a terminal, tab-separated for a pipe."""
    if not to_terminal():
        write_lines(list(fields.items()))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, Text(printable(value)))
    _console().print(table)


def write_text(text: str = "") -> None:
    """Write a line, with control characters escaped."""
    typer.echo(printable(text))


def _cell(value: object) -> str:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
