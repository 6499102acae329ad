"""Tables as text."""

from collections.abc import Iterable, Sequence


def csv_text(header: str, rows: Iterable[Sequence[object]]) -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def two_classes(rows: int = 60) -> str:
    """Columns x and y tell the classes of `label` apart."""
    return csv_text("x,y,label", ((i % 7 + (i % 2) * 3, i % 5, "ab"[i % 2]) for i in range(rows)))
