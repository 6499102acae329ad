"""Pieces of HTML. Every text passes through `html.escape` on its way in (fault 39)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from hpo.words import value_text


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's cell: what is shown and what it is sorted by, "" for nothing, which sorts last."""

    shown: str
    key: float | str = ""


def card(name: str, width: str, body: str) -> str:
    """One section; `width` is full, half or third of a wide screen."""
    return f"<section class='card {width}' id='{name}'>{body}</section>"


def nothing(message: str) -> str:
    """In place of what is not there yet."""
    return f"<p class='nothing'>{escape(message[:1].upper() + message[1:])}.</p>"


def html_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    foot: Iterable[Sequence[str]] = (),
    left: Iterable[str] = (),
    sortable: bool = False,
    marked: Sequence[bool] = (),
) -> str:
    """A table; the columns in `left` are set flush left, the rows in `marked` stand out."""
    classes = {"reason": "text wrap"}
    styles = [f" class='{classes.get(name, 'text')}'" if name in set(left) else "" for name in columns]
    names = [f"<button type='button'>{escape(name)}</button>" if sortable else escape(name) for name in columns]
    head = "".join(f"<th scope='col'{style}>{name}</th>" for style, name in zip(styles, names, strict=True))
    lines = []
    for index, row in enumerate(rows):
        line = "".join(
            f'<td{style} data-value="{escape(str(cell.key))}">{escape(cell.shown)}</td>'
            for style, cell in zip(styles, row, strict=True)
        )
        style = " class='best'" if any(marked[index : index + 1]) else ""
        lines.append(f"<tr{style}>{line}</tr>")
    feet = ""
    for texts in foot:
        line = "".join(f"<td{style}>{escape(text)}</td>" for style, text in zip(styles, texts, strict=True))
        feet += f"<tr>{line}</tr>"
    tail = f"<tfoot>{feet}</tfoot>" if feet else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>{tail}</table>"


def pairs(values: Mapping[str, object]) -> str:
    """Names and their values, one pair per line."""
    lines = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value_text(value))}</dd></div>" for name, value in values.items()
    )
    return f"<dl class='pairs'>{''.join(lines)}</dl>"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested settings as one mapping of readable names, without those that are not set."""
    result: dict[str, object] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            result |= flat(value)
        elif value is not None:
            result[name] = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
    return result
