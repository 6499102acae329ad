"""Numbers, times and foreign text as a report shows them."""

import csv
import html
import io
import reprlib
from collections.abc import Iterable, Mapping, Sequence

ABSENT = "–"
LABEL_LENGTH = 40
MOST_COUNTED = 10


def label(text: object) -> str:
    """Foreign text for a plot, shortened: plotly reads `<b>` in labels, so it is escaped (fault 39)."""
    return html.escape(shortened(text), quote=False)


def shortened(text: object) -> str:
    """At most LABEL_LENGTH characters; for those few places where plotly reads no tags."""
    whole = str(text)
    return whole if len(whole) <= LABEL_LENGTH else whole[: LABEL_LENGTH - 1] + "…"


def loss_text(value: float | None, standard_error: float | None = None) -> str:
    """A loss: `0.0823 ± 0.0051`."""
    if value is None or value != value:
        return ABSENT
    if standard_error is None or standard_error != standard_error:
        return _loss(value)
    return f"{_loss(value)} ± {_loss(standard_error)}"


def duration_text(seconds: float | None) -> str:
    """`2.3 s`, `45 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds is None or seconds != seconds:
        return ABSENT
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def bytes_text(count: float) -> str:
    """`512 bytes`, `3.4 MB`, `1.2 TB`: powers of a thousand."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def limit_text(seconds: float) -> str:
    """A limit as it was given: `1 s`, `0.5 s`, `10 min 00 s`."""
    return f"{seconds:g} s" if seconds < 9.95 else duration_text(seconds)


def value_text(value: object) -> str:
    """A parameter's value: floats with three significant digits, anything else as it is."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def widths_text(widths: Sequence[int]) -> str:
    """Units of the hidden layers: `250–150–90`."""
    return "–".join(str(width) for width in widths) or ABSENT


def count_text(count: int, noun: str) -> str:
    """`1 replicate`, `5 replicates`, `1,797 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def counts_text(counts: Mapping[str, int], rows: int) -> str:
    """How often there is what, the most frequent first: `no 2,850 (86%), yes 483 (14%), and 3 more`.

    What could be read as a count is in quotes: `'6' 80 (5%)`.
    """
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    named = [(name if name[-1:].isalpha() else repr(name), count) for name, count in ordered[:MOST_COUNTED]]
    shown = [f"{shortened(name)} {count:,} ({count / max(1, rows):.0%})" for name, count in named]
    more = len(ordered) - MOST_COUNTED
    return ", ".join([*shown, *([f"and {more:,} more"] if more > 0 else [])])


def ended_text(counts: Iterable[tuple[str, int]]) -> str:
    """How trials ended: `3 complete, 1 pruned, 0 failed`; none that were cut short are not mentioned."""
    return ", ".join(f"{count} {state}" for state, count in counts if count or state in ("complete", "failed"))


def significant(value: float, digits: int = 5) -> float | None:
    """Rounded, to keep a page small; None (a gap in a line) where it is not finite."""
    return float(f"{value:.{digits}g}") if abs(value) < float("inf") else None


def _loss(value: float) -> str:
    if abs(value) >= 1e4:
        return f"{value:.3g}"
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"


def printable(text: str) -> str:
    """Return `text` with control characters, line ends and surrogates as their escapes: `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown(value: object) -> str:
    """A value of a user's in a message, on one line and shortened: `[1, 2, 3, ...]`, `a Series of shape (9,)`."""
    if getattr(value, "ndim", 0) and hasattr(value, "shape"):
        return f"a {type(value).__name__} of shape {value.shape}"
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = 2 * LABEL_LENGTH
    return printable(brief.repr(value))


def comma_separated(names: Sequence[str]) -> str:
    """One name as it is; several with commas between, those that hold commas or quotes in quotes."""
    if len(names) == 1:
        return names[0]
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(names)
    return stream.getvalue()
