"""Several trials at once: each has the outcome it has alone."""

from dataclasses import replace

import numpy as np
import pytest

from hpo.data.prepared import ReplicateData
from hpo.engine.backend.tensorflow import TensorFlowBackend
from hpo.engine.stack import MAX_RANDOM_BYTES
from hpo.evaluation.job import Job
from hpo.evaluation.population import evaluate_population, stack_bytes, stacks
from hpo.evaluation.trial import evaluate, lane_of
from hpo.losses import Head
from hpo.network.architecture import Architecture
from hpo.search.pruners import Incumbent
from hpo.search.rules import Rules
from hpo.settings import EvaluationSpec

CLASSES, FEATURES, REPLICATES = 3, 5, 3
HEAD = Head("softmax", CLASSES)
PLENTY = 2**40


@pytest.fixture(scope="module")
def backend():
    return TensorFlowBackend()


@pytest.fixture(scope="module")
def data():
    centers = np.random.default_rng(0).normal(size=(CLASSES, FEATURES)) * 2

    def part(rng, rows):
        y = rng.integers(0, CLASSES, rows).astype(np.int32)
        return (centers[y] + rng.normal(size=(rows, FEATURES))).astype(np.float32), y

    generators = [np.random.default_rng(r) for r in range(REPLICATES)]
    return [ReplicateData(*part(rng, 90), *part(rng, 30), *part(rng, 35 + r)) for r, rng in enumerate(generators)]


def job(slot, **changes):
    values = {
        "widths": (16,),
        "activation": "relu",
        "initializer": "he_normal",
        "dropout": 0.1,
        "learning_rate": 0.01,
        "batch_size": 16,
    }
    architecture = Architecture(**{**values, **changes})
    return Job(slot=slot, seed=7, architecture=architecture, evaluation=EvaluationSpec(max_epochs=15))


DIFFERENT = [
    job(0),
    job(1, widths=(24, 10), activation="tanh", learning_rate=0.003, dropout=0.3),
    job(2, widths=(9,), optimizer="sgd", momentum=0.9, l2=1e-3, input_dropout=0.1),
    job(3, widths=(12, 12, 12), activation="elu", dropout=0.0, schedule="cosine"),
]
INCUMBENT = Incumbent(
    score_losses=(0.01,) * REPLICATES,
    stop_losses=(0.01,) * REPLICATES,
    score_deviation=0.001,
    stop_deviation=0.001,
)
DIVERGING = job(4, learning_rate=1e36)
HOPELESS = replace(job(5, learning_rate=1e-5), rules=Rules(incumbent=INCUMBENT))


def together(jobs, data, backend, most_bytes=PLENTY):
    told = []
    evaluate_population(jobs, data, HEAD, backend, most_bytes, lambda *outcome: told.append(outcome))
    assert len(told) == len(jobs)
    return dict(told)


def assert_same(outcome, alone):
    assert outcome.state == alone.state
    assert outcome.info == alone.info
    assert [r.score_loss for r in outcome.replicates] == pytest.approx([r.score_loss for r in alone.replicates], 1e-4)
    assert outcome.value == pytest.approx(alone.value, rel=1e-4)
    for one, other in zip(outcome.replicates, alone.replicates, strict=True):
        assert one.index == other.index
        assert one.curve == pytest.approx(other.curve, rel=1e-4)


def test_a_trial_has_the_outcome_it_has_alone(backend, data):
    outcomes = together(DIFFERENT, data, backend)
    for one in DIFFERENT:
        assert_same(outcomes[one.slot], evaluate(one, data, HEAD, backend))
    assert len({outcome.value for outcome in outcomes.values()}) == len(DIFFERENT)


@pytest.mark.parametrize("most_lanes", [lambda lanes: lanes, lambda lanes: 4])
def test_trials_that_diverge_or_are_pruned_leave_the_others_alone(backend, data, monkeypatch, most_lanes):
    monkeypatch.setattr(backend, "most_lanes", most_lanes)
    outcomes = together([DIVERGING, *DIFFERENT, HOPELESS], data, backend)
    assert outcomes[4].state == "failed"
    assert "not finite" in outcomes[4].reason
    assert outcomes[5].state == "pruned"
    assert outcomes[5].value is None
    assert max(len(r.curve) for r in outcomes[5].replicates) < 15
    for one in DIFFERENT:
        assert_same(outcomes[one.slot], evaluate(one, data, HEAD, backend))


def test_a_trial_in_several_stacks_is_told_once(backend, data):
    """Stacks of one network each: a trial that is cut short in one does not train in the next."""
    outcomes = together([DIVERGING, DIFFERENT[1], HOPELESS], data, backend, most_bytes=1)
    assert outcomes[4].state == "failed"
    assert outcomes[5].state == "pruned"
    assert len(outcomes[5].replicates) == 1
    assert_same(outcomes[1], evaluate(DIFFERENT[1], data, HEAD, backend))


def test_no_race_is_run(backend, data):
    raced = [replace(one, rules=Rules(incumbent=INCUMBENT, curves=False)) for one in DIFFERENT[:2]]
    for outcome in together(raced, data, backend).values():
        assert outcome.state != "raced out"
        assert len(outcome.replicates) == REPLICATES


def lanes_of(jobs, data):
    return [lane_of(one, replicate, part) for one in jobs for replicate, part in enumerate(data)]


def test_only_lanes_that_can_share_a_stack_do(backend, data):
    lanes = lanes_of([*DIFFERENT, job(6, batch_size=32)], data)
    shorter = [replace(part, train_x=part.train_x[:50], train_y=part.train_y[:50]) for part in data[:1]]
    made = list(stacks([*lanes, *lanes_of([job(7)], shorter)], CLASSES, PLENTY, backend))
    assert sorted(map(len, made)) == [1, 3, 12]
    (alone,) = [stack for stack in made if len(stack) == 1]
    assert alone[0].slot == 7


def test_a_stack_that_is_too_large_is_split(backend, data):
    lanes = lanes_of([job(0), job(1, widths=(500, 500)), job(2)], data)
    limit = stack_bytes(lanes[3:5], CLASSES, backend)  # of two wide networks
    made = list(stacks(lanes, CLASSES, limit, backend))
    assert [len(stack) for stack in made] == [6, 2, 1]
    assert all(stack_bytes(stack, CLASSES, backend) <= limit for stack in made)
    assert all(len(stack) == 1 for stack in stacks(lanes, CLASSES, 1, backend))


def test_the_estimate_holds_weights_moments_and_gradients(backend, data):
    one = lanes_of([job(0, widths=(4000, 4000))], data)[:1]
    weights = one[0].architecture.parameter_count(FEATURES, CLASSES)
    assert stack_bytes(one, CLASSES, backend) - MAX_RANDOM_BYTES == pytest.approx(16 * weights, rel=0.05)
    lion = lanes_of([job(0, widths=(4000, 4000), optimizer="lion")], data)[:1]  # one moment instead of two
    assert stack_bytes(lion, CLASSES, backend) - MAX_RANDOM_BYTES == pytest.approx(12 * weights, rel=0.05)
    mixed = [*one, *lanes_of([job(1)], data)[:1]]  # the narrow network takes as much room as the wide one
    assert stack_bytes(mixed, CLASSES, backend) - MAX_RANDOM_BYTES == pytest.approx(32 * weights, rel=0.05)


def test_the_estimate_counts_what_each_activation_of_a_stack_leaves_for_its_gradient(backend, data):
    batch, widths = len(data[0].train_y), (300, 300)
    wide = {"widths": widths, "batch_size": 4096}
    alike, different = (lanes_of([job(0, **wide), job(1, **wide, activation=a)], data) for a in ("relu", "tanh"))
    more = stack_bytes(different, CLASSES, backend) - stack_bytes(alike, CLASSES, backend)
    assert more == 4 * len(alike) * batch * (FEATURES + sum(widths) + CLASSES)


def test_a_failed_trial_keeps_what_was_scored_before(backend, data):
    """As it does alone: stacks of one network each, of which the second diverges."""
    bad = replace(data[1], train_x=data[1].train_x * np.float32(1e30))
    outcome = together([job(0)], [data[0], bad, data[2]], backend, most_bytes=1)[0]
    assert (outcome.state, len(outcome.replicates)) == ("failed", 1)


def test_a_failed_trial_keeps_no_replicate_after_the_one_that_failed(backend, data):
    """So that a replay, which trains them in their order, finds the same ones."""
    bad = replace(data[1], score_x=np.full_like(data[1].score_x, 3e38))
    outcome = together([job(0)], [data[0], bad, data[2]], backend)[0]
    assert (outcome.state, [one.index for one in outcome.replicates]) == ("failed", [0])
    assert "score loss of replicate 1 was not finite" in outcome.reason
