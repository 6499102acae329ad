"""Where a study's rows come from, and how they are prepared."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hpo.declaration import to_json
from hpo.settings import Corrections, Reading

PREPARATION = 2
"""How new studies are prepared. 1, of those that do not say it: numbers and texts as pandas reads them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSpec(Reading):
    """A table and how it is read; what a CSV file alone has keeps its defaults for anything else.

    Attributes:
        source: a built-in set's name, a path as given, or what a copy stands for: "frame", "-" for standard input, or
            the query.
        target: a column, or several with commas between.
        sha256: of the content, which it pins; "" for a built-in set.
        preparation: the version of reading, kinds and inputs, which a study keeps.
        corrections: of what columns are; taken from plain values, too.
    """

    kind: Literal["builtin", "file", "frame"]
    source: str
    target: str
    sha256: str = ""
    preparation: int = 1
    corrections: Corrections = field(default_factory=Corrections)

    def __post_init__(self) -> None:
        Reading.__post_init__(self)
        if isinstance(self.corrections, Mapping):
            object.__setattr__(self, "corrections", Corrections(**self.corrections))

    def to_json(self) -> dict[str, Any]:
        """Plain values; the class takes them as keywords."""
        corrections = to_json(self.corrections)
        corrections["kind"] = [list(pair) for pair in self.corrections.kind]
        return {**asdict(self), "corrections": corrections}
