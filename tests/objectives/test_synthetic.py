"""The synthetic objective: its settings, what it answers, and that it is the same each time."""

import json
from dataclasses import asdict

import pytest
from hpo_storage.records import Outcome

from hpo.errors import StudyError
from hpo.objectives.synthetic import SyntheticPart
from hpo.search.rules import Rules
from hpo.study.resolve import reopen, request, resolve
from hpo.study.spec import StudySpec
from hpo.trainer.synthetic import SyntheticJob, evaluate, losses
from tests.helpers.processes import run_python

JOB = SyntheticJob(slot=3, seed=1, vector=(0.3, 0.7), replicates=4, seconds=0.0)


def spec_of(**given):
    return resolve(request("s", objective="synthetic", **given)).spec


def test_it_has_settings_of_its_own_and_needs_no_data():
    assert SyntheticPart.of(spec_of()) == SyntheticPart(sleep=0.0, replicates=5, max_epochs=200)
    stored = spec_of(sleep="0.5", replicates=3)
    assert SyntheticPart.of(stored) == SyntheticPart(sleep=0.5, replicates=3, max_epochs=200)
    assert resolve(request("s"), stored).spec == StudySpec.from_json(stored.to_json()) == stored
    with pytest.raises(StudyError, match=r"sleep: stored 0\.5, now 0\.25"):
        resolve(request("s", sleep=0.25), stored)


def test_it_refuses_settings_that_it_does_not_have():
    for name, value in {"data": "wine", "target": "loss", "patience": 3}.items():
        with pytest.raises(StudyError, match=f"'synthetic' has no {name}; leave it away"):
            spec_of(**{name: value})
    with pytest.raises(StudyError, match="'mlp' has no sleep"):
        resolve(request("s", data="wine", sleep=1))


@pytest.mark.parametrize("seconds", [-1, "-1", "nan", "inf", "long", 1e308])
def test_times_that_are_none(seconds):
    with pytest.raises(StudyError, match="sleep must be a number from 0 to 1000000, got"):
        spec_of(sleep=seconds)


def test_a_built_in_study_of_that_name_does_not_interfere():
    assert resolve(request("mlp", objective="synthetic")).spec.objective.name == "synthetic"


def test_losses_depend_on_point_seed_slot_and_replicate_only():
    assert losses(JOB) == losses(JOB)
    assert len(set(losses(JOB))) == 4
    assert all(0.1 <= loss <= 0.15 for loss in losses(JOB))
    for change in ({"slot": 4}, {"seed": 2}, {"vector": (0.9, 0.7)}):
        assert losses(SyntheticJob(**{**asdict(JOB), **change})) != losses(JOB)


def test_an_order_is_a_job_of_the_trainer():
    study = reopen(spec_of(replicates=3, seed=7))
    params = study.space.decode([0.5] * study.space.size)
    order = json.loads(json.dumps(study.objective.order(study.spec, study.space, 4, params, Rules())))
    job = SyntheticJob(**order)
    assert (job.slot, job.seed, job.replicates, job.seconds) == (4, 7, 3, 0.0)
    outcome = evaluate(order, lambda replicate, epoch, loss: None)
    assert [replicate.score_loss for replicate in outcome.replicates] == losses(job)


def test_the_trainer_speaks_the_protocol_and_loads_nothing():
    code = (
        "import sys; from hpo.trainer import messages, synthetic; messages.serve(synthetic.evaluate); "
        "sys.exit({'numpy', 'keras'} & sys.modules.keys() or 0)"
    )
    request = json.dumps({"open": "/nowhere"}) + "\n" + json.dumps({"train": [asdict(JOB)]}) + "\n"
    done = run_python(code, input=request, check=True)
    first, *progress, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert first == {"ready": True}
    assert [message["replicate"] for message in progress] == [0, 1, 2, 3]
    assert last["slot"] == 3
    outcome = Outcome.from_json(last["outcome"])
    assert [replicate.score_loss for replicate in outcome.replicates] == losses(JOB)
