"""One trial's work order, as the supervisor sends it to a trainer; it needs no framework."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from hpo.network.architecture import Architecture
from hpo.search.pruners import Incumbent
from hpo.study.spec import EvaluationSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a trainer needs to evaluate one trial beside the study's prepared data.

    `incumbent` is None where nothing may be cut short; `racing` and `pruning` choose the rules it is used for.
    """

    slot: int
    seed: int
    architecture: Architecture
    evaluation: EvaluationSpec
    incumbent: Incumbent | None = None
    racing: bool = True
    pruning: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` is the inverse."""
        return {
            **{name: getattr(self, name) for name in ("slot", "seed", "racing", "pruning")},
            "architecture": self.architecture.to_json(),
            "evaluation": self.evaluation.model_dump(mode="json"),
            "incumbent": asdict(self.incumbent) if self.incumbent else None,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        given = values["incumbent"]
        incumbent = given and Incumbent(
            score_losses=tuple(given["score_losses"]),
            stop_losses=tuple(given["stop_losses"]),
            score_deviation=given["score_deviation"],
            stop_deviation=given["stop_deviation"],
        )
        return cls(
            **{
                **values,
                "architecture": Architecture.from_json(values["architecture"]),
                "evaluation": EvaluationSpec.model_validate(values["evaluation"]),
                "incumbent": incumbent,
            }
        )
