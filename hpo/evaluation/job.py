"""One trial's work order, as the supervisor sends it to a trainer; it needs no framework."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from hpo.declaration import to_json
from hpo.network.architecture import Architecture
from hpo.search.pruners import Incumbent
from hpo.search.rules import Rules
from hpo.search.rungs import Rung
from hpo.settings import EvaluationSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a trainer needs to evaluate one trial beside the study's prepared data; by default nothing cuts it short."""

    slot: int
    seed: int
    architecture: Architecture
    evaluation: EvaluationSpec
    rules: Rules = field(default_factory=Rules)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` is the inverse."""
        return {
            "slot": self.slot,
            "seed": self.seed,
            "architecture": self.architecture.to_json(),
            "evaluation": to_json(self.evaluation),
            "rules": asdict(self.rules),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(
            **{
                **values,
                "architecture": Architecture.from_json(values["architecture"]),
                "evaluation": EvaluationSpec(**values["evaluation"]),
                "rules": _rules(values["rules"]),
            }
        )


def _rules(values: Mapping[str, Any]) -> Rules:
    given = values["incumbent"]
    losses = given and {name: tuple(given[name]) for name in ("score_losses", "stop_losses")}
    incumbent = Incumbent(**{**given, **losses}) if given else None
    return Rules(**{**values, "incumbent": incumbent, "rungs": tuple(Rung(**rung) for rung in values["rungs"])})
