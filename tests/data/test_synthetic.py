"""The synthetic objective: what names it, what it answers, and that it is the same each time."""

import json
import subprocess
import sys

import pytest
from hpo_storage.records import Outcome

from hpo.data.synthetic import is_synthetic, synthetic_seconds
from hpo.errors import DataError
from hpo.trainer.synthetic import SyntheticJob, losses

JOB = SyntheticJob(slot=3, seed=1, vector=(0.3, 0.7), replicates=4, seconds=0.0)


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_synthetic("synthetic")
    assert is_synthetic("synthetic:0.5")
    assert not is_synthetic("synthetic.csv")
    assert synthetic_seconds("synthetic") == 0.0
    assert synthetic_seconds("synthetic:0.5") == 0.5
    (tmp_path / "synthetic").write_text("x,y\n1,2\n")
    assert not is_synthetic("synthetic")  # a file of that name comes first


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "long"])
def test_times_that_are_none(seconds):
    with pytest.raises(DataError, match="sleeps for seconds from 0, got"):
        synthetic_seconds(f"synthetic:{seconds}")


def test_losses_depend_on_point_seed_slot_and_replicate_only():
    assert losses(JOB) == losses(JOB)
    assert len(set(losses(JOB))) == 4
    assert all(0.1 <= loss <= 0.15 for loss in losses(JOB))
    for change in ({"slot": 4}, {"seed": 2}, {"vector": (0.9, 0.7)}):
        assert losses(SyntheticJob(**{**JOB.to_json(), **change})) != losses(JOB)


def test_the_trainer_speaks_the_protocol_and_loads_nothing():
    code = "import sys, hpo.trainer.synthetic as s; s.main(); sys.exit({'numpy', 'keras'} & sys.modules.keys() or 0)"
    request = json.dumps({"open": "/nowhere"}) + "\n" + json.dumps({"train": [JOB.to_json()]}) + "\n"
    done = subprocess.run([sys.executable, "-c", code], input=request, capture_output=True, text=True, check=True)
    first, *progress, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert first == {"ready": True}
    assert [message["replicate"] for message in progress] == [0, 1, 2, 3]
    assert last["slot"] == 3
    outcome = Outcome.from_json(last["outcome"])
    assert [replicate.score_loss for replicate in outcome.replicates] == losses(JOB)
