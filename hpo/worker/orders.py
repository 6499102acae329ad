"""What a trainer is told to do for a trial."""

from typing import Any

from hpo.data.synthetic import synthetic_seconds
from hpo.evaluation.job import Job
from hpo.search.history import History
from hpo.search.rules import Rules
from hpo.study.study import ResolvedStudy
from hpo.trainer.synthetic import SyntheticJob
from hpo.worker.pool import NETWORKS, SYNTHETIC


def module_of(study: ResolvedStudy) -> str:
    """The trainers that the study needs."""
    return SYNTHETIC if study.spec.data.kind == "synthetic" else NETWORKS


def order_of(study: ResolvedStudy, slot: int, params: dict[str, Any], history: History | None) -> dict[str, Any]:
    """The trial as JSON for a trainer of `module_of(study)`; without a history nothing is cut short."""
    spec = study.spec
    if spec.data.kind == "synthetic":
        return SyntheticJob(
            slot=slot,
            seed=spec.search.seed,
            vector=tuple(study.space.encode(params).tolist()),
            replicates=spec.evaluation.replicates,
            seconds=synthetic_seconds(spec.data.source),
        ).to_json()
    return Job(
        slot=slot,
        seed=spec.search.seed,
        architecture=study.space.architecture(params),
        evaluation=spec.evaluation,
        rules=history.rules(slot) if history else Rules(),
    ).to_json()
