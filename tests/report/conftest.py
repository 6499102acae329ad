"""Studies made up for the report's tests: what storage would read back, without a database."""

import math
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hpo_spaces import Categorical, Float, Ordered, SearchSpace
from hpo_spaces.mlp import MLP
from hpo_storage.records import ReplicateRecord, StudyRecord, TrialRecord, TrialState

from hpo.data.spec import DataSpec
from hpo.objectives.mlp import MlpPart
from hpo.settings import EvaluationSpec, SearchSpec
from hpo.study.spec import ObjectiveSpec, SpaceSpec, StudySpec
from tests.helpers import records
from tests.helpers.records import START

PRIOR = 2.302
DIGITS = DataSpec(kind="builtin", source="digits", target="target")
PROTOCOL = EvaluationSpec()
MLP_SPEC = SpaceSpec(reference="mlp", description=MLP.describe())


def make_replicate(index: int, curve: tuple[float, ...], score_loss: float | None) -> ReplicateRecord:
    settings = {"best_epoch": curve.index(min(curve)), "seconds": 0.03 * len(curve), "curve": curve}
    return records.make_replicate(index, min(curve), score_loss=score_loss, **settings)


def make_trial(number: int, state: str = "complete", *, seed: int = 0, **changes) -> TrialRecord:
    """A trial of the space `mlp`; `state` is one of the report's states."""
    random = np.random.default_rng([seed, number])
    params = MLP.decode(random.random(MLP.size))
    architecture = MLP.architecture(params)
    distance = abs(math.log10(params["learning_rate"]) + 2.5) + 2 * params["dropout"]
    level = 0.08 + 0.25 * distance**2 + 0.05 * random.random()
    count = {"complete": 5, "raced out": 2, "pruned": 5, "failed": 1, "interrupted": 0, "running": 0}[state]
    epochs = random.integers(4, 15) if state == "pruned" else random.integers(25, 90)
    replicates = []
    for index in range(count):
        length = int(epochs) if state == "pruned" else int(epochs + random.integers(-6, 7))
        noise = 1 + 0.03 * random.standard_normal(length)
        curve = tuple(float(x) for x in (level + PRIOR * np.exp(-np.arange(1, length + 1) / 8)) * noise)
        score = None if state in ("pruned", "failed") else float(level * (1 + 0.06 * random.standard_normal()))
        replicates.append(make_replicate(index, curve, score))
    losses = [r.score_loss for r in replicates if r.score_loss is not None]
    seconds = 0.5 + sum(r.seconds for r in replicates)
    started = START + timedelta(seconds=float(number // 2 * 9 + random.random()))
    fields = {
        "state": TrialState(state),
        "params": params,
        "standard_error": float(np.std(losses, ddof=1) / len(losses) ** 0.5) if losses else None,
        "reason": {
            "failed": "the loss is not finite in epoch 3",
            "pruned": "learning curve cannot reach the incumbent's",
            "raced out": "raced out after 2 of 5 replicates",
        }.get(state),
        "started": started,
        "finished": None if state == "running" else started + timedelta(seconds=min(seconds, 8.5)),
        "worker": "w-1",
        "trainer": number % 2,
        "info": {
            "parameters": architecture.parameter_count(64, 10),
            "widths": list(architecture.widths),
            "batch_size": architecture.batch_size,
        },
        "replicates": tuple(replicates),
    }
    value = float(np.mean(losses)) if losses else None
    return records.make_trial(number, **({"value": value} | fields | changes))


def make_spec(
    name: str = "mlp", *, data: DataSpec = DIGITS, evaluation: EvaluationSpec = PROTOCOL, space: SpaceSpec = MLP_SPEC
) -> dict[str, Any]:
    part = MlpPart(data=data, evaluation=evaluation).to_json()
    objective = ObjectiveSpec(name="mlp", part=part)
    return StudySpec(name=name, objective=objective, space=space, search=SearchSpec()).to_json()


def study_of(trials, *, budget: int | None = None, running: bool = False, **changes) -> StudyRecord:
    """A study of these trials."""
    fields = {
        "name": "mlp",
        "spec": make_spec(),
        "facts": {
            "rows": 1797,
            "features": 64,
            "columns": [{"name": f"pixel {i}", "kind": "numeric"} for i in range(64)],
            "classes": [str(i) for i in range(10)],
            "class_counts": [178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
            "prior_loss": PRIOR,
            "notes": ["3 constant columns were dropped: pixel 0, pixel 32, pixel 39"],
            "replicates": 5,
            "train_rows": 1617,
        },
        "environment": {
            "python": "3.11.9",
            "platform": "Linux-6.1-x86_64",
            "cores": 2,
            "backend": "tensorflow",
            "versions": {"hpo": "0.1.0", "keras": "3.15.1", "optuna": "5.0.0"},
        },
        "budget": len(trials) if budget is None else budget,
        "running": running,
    }
    return records.make_study(*trials, **(fields | changes))


def mixed_states(count: int) -> list[str]:
    """A usual mixture: a first complete trial, then mostly raced out and pruned, a few failed."""
    pattern = ["complete", "raced out", "pruned", "raced out", "complete", "raced out", "pruned", "raced out"]
    return ["failed" if i % 37 == 36 else pattern[i % len(pattern)] for i in range(count)]


@pytest.fixture
def make() -> SimpleNamespace:
    """The helpers of this file."""
    return SimpleNamespace(
        trial=make_trial,
        trials=lambda states: [make_trial(number, state) for number, state in enumerate(states)],
        replicate=make_replicate,
        study=study_of,
        spec=make_spec,
        states=mixed_states,
        start=START,
    )


@pytest.fixture
def mixed() -> StudyRecord:
    """40 finished trials of all kinds."""
    return study_of([make_trial(number, state) for number, state in enumerate(mixed_states(40))])


EVIL = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "<b>bold</b> & <i>co</i>",
    "%{x} ${y} $title `z`",
    "&lt;escaped&gt;",
)


@pytest.fixture
def evil() -> tuple[str, ...]:
    """Texts that must be shown as they are."""
    return EVIL


@pytest.fixture
def evil_study() -> StudyRecord:
    """A study with script in every text that comes from users, files or errors (fault 39)."""
    space = SearchSpace(
        name="evil",
        dimensions=(
            Categorical("choice", EVIL),
            Ordered("order", tuple(reversed(EVIL))),
            Float("share", 0.0, 1.0),
        ),
        settings={"remark": EVIL[0]},
    )
    trials = []
    for number, state in enumerate(mixed_states(40)):
        trial = make_trial(number, state)
        params = space.decode(np.random.default_rng(number).random(space.size))
        trials.append(replace(trial, params=params, reason=trial.reason and EVIL[number % len(EVIL)]))
    trials.append(make_trial(40, params=params, value=0.001))
    source = DataSpec(kind="file", source=f"{EVIL[1]}.csv", target=EVIL[2], sha256="0" * 64)
    description = SpaceSpec(reference=EVIL[3], description=space.describe())
    study = study_of(trials, name=EVIL[1], spec=make_spec(EVIL[1], data=source, space=description))
    facts = study.facts | {"classes": list(EVIL), "class_counts": [300] * len(EVIL), "notes": list(EVIL)}
    return replace(study, facts=facts, environment=study.environment | {"platform": EVIL[0], EVIL[1]: EVIL[2]})
