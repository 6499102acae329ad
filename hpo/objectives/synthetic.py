"""The objective `synthetic`: no data and no network, but a cheap noisy function of the point, with an optional sleep.

It runs a whole study within seconds; tests and benchmarks of storage and workers use it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from hpo_spaces import SearchSpace

from hpo.declaration import taken, to_json
from hpo.objectives.base import Description, Json, Objective, RunChild, StudyRequest
from hpo.search.rules import Rules
from hpo.settings import EvaluationSpec, Pretence
from hpo.study.facts import Facts
from hpo.study.spec import StudySpec, of_another_version
from hpo.words import count_text


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticPart:
    """Seconds that a trial sleeps in all, how many replicates it has, and for how long its curves might go on."""

    sleep: float
    replicates: int
    max_epochs: int

    @classmethod
    def of(cls, spec: StudySpec) -> Self:
        """That of a study; StudyError for what another version wrote."""
        try:
            return cls(**spec.objective.part)
        except TypeError as error:
            raise of_another_version(spec.name, error) from error


class Synthetic(Objective):
    """A function of the point; its trainer starts in a tenth of a second."""

    settings = frozenset({"sleep", "replicates", "max_epochs"})
    trainer = "hpo.trainer.synthetic"

    def define(self, request: StudyRequest, before: StudySpec | None, *, works: bool, has_copy: bool) -> Json:
        """Sleep and replicates."""
        stored = before and SyntheticPart.of(before)
        evaluation = taken(
            EvaluationSpec,
            request.given,
            EvaluationSpec(replicates=stored.replicates, max_epochs=stored.max_epochs) if stored else None,
        )
        pretence = taken(Pretence, request.given, Pretence(sleep=stored.sleep) if stored else None)
        return {**to_json(pretence), "replicates": evaluation.replicates, "max_epochs": evaluation.max_epochs}

    def prepare(self, spec: StudySpec, folder: Path, copy: Path | None, run: RunChild) -> Json:
        """Nothing is to be done."""
        return Facts(loss_name="distance", replicates=SyntheticPart.of(spec).replicates).to_json()

    def order(self, spec: StudySpec, space: SearchSpace, slot: int, params: Mapping[str, Any], rules: Rules) -> Json:
        """A `hpo.trainer.synthetic.SyntheticJob`; its trials are never cut short."""
        part = SyntheticPart.of(spec)
        return {
            "slot": slot,
            "seed": spec.search.seed,
            "vector": space.encode(params).tolist(),
            "replicates": part.replicates,
            "seconds": part.sleep,
        }

    def max_epochs(self, spec: StudySpec) -> int:
        """As given."""
        return SyntheticPart.of(spec).max_epochs

    def describe(self, spec: StudySpec) -> Description:
        """How long it sleeps."""
        part = SyntheticPart.of(spec)
        return Description(
            title="a synthetic function",
            settings={"evaluation": asdict(part)},
            summary=count_text(part.replicates, "replicate"),
            parts=frozenset({"replicates", "curves"}),
        )


SYNTHETIC = Synthetic()
