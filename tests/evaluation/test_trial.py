"""One trial: blocks, races, pruned curves, failures."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hpo.data.prepared import ReplicateData
from hpo.engine.backend.tensorflow import TensorFlowBackend
from hpo.evaluation.job import Job
from hpo.evaluation.trial import blocks, evaluate
from hpo.losses import Head, mean_loss
from hpo.network.architecture import Architecture
from hpo.search.pruners import Incumbent
from hpo.search.rules import BEHIND, HOPELESS, Rules
from hpo.search.rungs import Rung
from hpo.settings import EvaluationSpec

CLASSES, REPLICATES = 3, 4
HEAD = Head("softmax", CLASSES)


@pytest.fixture(scope="module")
def backend():
    return TensorFlowBackend()


@pytest.fixture(scope="module")
def data():
    centers = np.random.default_rng(0).normal(size=(CLASSES, 5)) * 2

    def part(rng, rows):
        y = rng.integers(0, CLASSES, rows).astype(np.int32)
        return (centers[y] + rng.normal(size=(rows, 5))).astype(np.float32), y

    generators = [np.random.default_rng(r) for r in range(REPLICATES)]
    return [ReplicateData(*part(rng, 90), *part(rng, 30), *part(rng, 35 + r)) for r, rng in enumerate(generators)]


def job(**changes):
    architecture = Architecture(
        widths=(16,),
        activation="relu",
        initializer="he_normal",
        dropout=0.1,
        learning_rate=0.01,
        batch_size=16,
    )
    values = {"slot": 3, "seed": 7, "architecture": architecture, "evaluation": EvaluationSpec(max_epochs=25)}
    return Job(**{**values, **changes})


def rules(score=0.3, stop=0.3, deviation=0.05, cost=None, **choices):
    incumbent = Incumbent(
        score_losses=(score,) * REPLICATES,
        stop_losses=(stop,) * REPLICATES,
        score_deviation=deviation,
        stop_deviation=deviation,
        typical_cost=cost,
    )
    return Rules(incumbent=incumbent, **choices)


def test_complete_trial_is_the_mean_of_its_replicates(backend, data):
    progress = []
    outcome = evaluate(job(), data, HEAD, backend, lambda *event: progress.append(event))
    losses = [r.score_loss for r in outcome.replicates]
    assert outcome.state == "complete"
    assert outcome.value == pytest.approx(np.mean(losses))
    assert outcome.standard_error == pytest.approx(np.std(losses, ddof=1) / 2)
    assert [r.index for r in outcome.replicates] == list(range(REPLICATES))
    assert outcome.info == {"parameters": 16 * 6 + 17 * 3, "widths": [16], "batch_size": 16}
    assert outcome.value < 0.6  # the classes are easy to tell apart
    assert len(progress) == max(len(r.curve) for r in outcome.replicates)
    for record in outcome.replicates:
        assert record.stop_loss == record.curve[record.best_epoch]


def test_predictions_of_a_complete_trial_are_those_that_were_scored(backend, data):
    for record, part in zip(evaluate(job(), data, HEAD, backend).replicates, data, strict=True):
        outputs = np.frombuffer(record.predictions, "<f4").reshape(len(part.score_y), CLASSES)
        assert mean_loss(HEAD.name, part.score_y, outputs) == pytest.approx(record.score_loss, rel=1e-6)


def test_blocks_do_not_change_a_replicates_result(backend, data):
    together = evaluate(job(), data, HEAD, backend)
    raced = evaluate(job(rules=rules(score=9.0, stop=9.0)), data, HEAD, backend)
    assert raced.state == "complete"
    assert raced.value == pytest.approx(together.value, rel=1e-4)


def test_trial_behind_the_incumbent_is_raced_out(backend, data):
    rival = rules(score=0.01, deviation=0.01, curves=False)
    outcome = evaluate(job(rules=rival), data, HEAD, backend)
    assert outcome.state == "raced out"
    assert [r.predictions for r in outcome.replicates] == [None]
    assert outcome.value == pytest.approx(0.01 + outcome.replicates[0].score_loss - 0.01)
    assert outcome.reason == "raced out after 1 of 4 replicates"
    full = evaluate(job(rules=replace(rival, racing=False)), data, HEAD, backend)
    assert len(full.replicates) == REPLICATES


def test_hopeless_curve_is_pruned(backend, data):
    slow = replace(job().architecture, learning_rate=1e-5)
    hopeless = job(architecture=slow, rules=rules(stop=0.01, deviation=0.001))
    outcome = evaluate(hopeless, data, HEAD, backend)
    assert outcome.state == "pruned"
    assert outcome.value is None
    assert len(outcome.replicates[0].curve) < 25
    assert outcome.replicates[0].score_loss is None
    assert outcome.reason == HOPELESS
    assert evaluate(replace(hopeless, rules=Rules()), data, HEAD, backend).state == "complete"


def test_a_trial_behind_at_a_rung_ends_there(backend, data):
    rungs = (Rung(5, 0.01), Rung(15, 0.01))
    outcome = evaluate(job(rules=Rules(rungs=rungs)), data, HEAD, backend)
    assert (outcome.state, outcome.reason) == ("pruned", BEHIND)
    assert [len(r.curve) for r in outcome.replicates] == [5] * REPLICATES
    assert evaluate(job(rules=Rules(rungs=(Rung(5, 9.0),))), data, HEAD, backend).state == "complete"


def test_the_race_looks_at_the_cost(backend, data):
    """Between the least and the most that a trial may be behind, what it costs decides."""
    first = evaluate(job(), data, HEAD, backend).replicates[0].score_loss
    near = rules(score=first - 0.1, deviation=0.1, curves=False)  # one deviation behind

    def outcome(cost):
        return evaluate(
            job(rules=replace(near, incumbent=replace(near.incumbent, typical_cost=cost))), data, HEAD, backend
        )

    assert len(outcome(1e12).replicates) > 1
    assert len(outcome(1.0).replicates) == 1


def test_divergence_fails_the_trial_with_a_reason(backend, data):
    """Fault 18."""
    wild = job(architecture=replace(job().architecture, learning_rate=1e36))
    outcome = evaluate(wild, data, HEAD, backend)
    assert outcome.state == "failed"
    assert outcome.value is None
    assert "not finite" in outcome.reason


def test_replicates_train_in_blocks(backend):
    assert [backend.trains_together(parameters) for parameters in (5_000, 100_000)] == [True, False]
    free, racing, rows = Rules(), rules(), [90] * 4
    assert blocks(free, rows, True) == [[0, 1, 2, 3]]
    assert blocks(racing, rows, True) == [[0], [1, 2, 3]]
    assert blocks(replace(racing, racing=False), rows, True) == [[0, 1, 2, 3]]
    assert blocks(free, rows, False) == [[0], [1], [2], [3]]
    assert blocks(free, [90, 90, 50, 90], True) == [[0, 1, 3], [2]]


def test_job_survives_json():
    for given in (job(), job(rules=rules(racing=False, cost=3.0, rungs=(Rung(22, 0.5),)))):
        assert Job.from_json(json.loads(json.dumps(given.to_json()))) == given
