"""Where a study's rows come from."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpo.settings import Reading


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSpec(Reading):
    """A table and how it is read; what a CSV file alone has keeps its defaults for anything else.

    Attributes:
        source: a built-in set's name, a path as given, or what a copy stands for: "frame", "-" for standard input, or
            the query.
        target: a column, or several with commas between.
        sha256: of the content, which it pins; "" for a built-in set.
    """

    kind: Literal["builtin", "file", "frame"]
    source: str
    target: str
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; the class takes them as keywords."""
        return asdict(self)
