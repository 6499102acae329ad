"""Children that speak JSON lines, and what the machine offers."""

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from hpo_spaces.mlp import MLP
from hpo_storage.workers import process_start

from hpo import machine
from hpo.errors import StudyError
from hpo.evaluation.job import Job
from hpo.machine import (
    choose_resources,
    default_population,
    environment,
    stack_memory,
    usable_cores,
    usable_memory,
)
from hpo.settings import EvaluationSpec, Training
from hpo.study.resolve import request, resolve
from hpo.worker.child import Child, wait_for_output
from hpo.worker.preparation import run_child
from tests.helpers.processes import run_python, wait_until

ANSWERS = "import sys\nfrom hpo.trainer.messages import output_aside\nsys.stdout = output_aside()\n"
"""Begins a child that prints its answers: what others print goes to standard error."""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that makes a module which a child can run."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(text):
        (tmp_path / "some_child.py").write_text(ANSWERS + text)
        return "some_child"

    return make


def prepare_iris(folder):
    study = resolve(request("s", data="iris", replicates=1))
    study.objective.prepare(study.spec, folder, None, partial(run_child, lambda step, share: None))


def test_steps_of_a_preparation_are_told_and_are_no_answer(module):
    steps = [{"step": "reading", "share": None}, {"step": "writing", "share": 0.5}, {"ok": True, "facts": {"rows": 3}}]
    child = module(f"import json, time\nfor m in {steps}: print(json.dumps(m), flush=True); time.sleep(0.1)")
    told = []
    facts = run_child(lambda *step: told.append(step), child, {})
    assert facts == {"rows": 3}
    assert told[-1] == ("writing", 0.5)
    assert ("reading", None) in told


def collect(child, seconds=20):
    messages, deadline = [], time.monotonic() + seconds
    while not child.closed and time.monotonic() < deadline:
        wait_for_output([child], 0.1)
        messages += child.messages()
    return messages


def test_messages_go_both_ways(module):
    child = Child(module("import sys\nfor line in sys.stdin: print(line, end='', flush=True)"))
    child.send({"a": 1, "text": "ä\n"})
    child.send({"b": [1.5, None]})
    child.finish_input()
    assert collect(child) == [{"a": 1, "text": "ä\n"}, {"b": [1.5, None]}]
    assert child.ending() == "exit code 0"
    child.kill()


def test_long_messages_arrive_whole(module):
    child = Child(module("import json\nprint(json.dumps({'text': 'x' * 3_000_000}), flush=True)"))
    assert collect(child) == [{"text": "x" * 3_000_000}]
    child.kill()


def test_long_messages_are_sent_whole(module):
    child = Child(module("import sys\nfor line in sys.stdin: print(line, end='', flush=True)"))
    child.send({"text": "x" * 3_000_000})
    child.finish_input()
    assert collect(child) == [{"text": "x" * 3_000_000}]
    child.kill()


def test_nobody_waits_for_a_child_that_does_not_read(module):
    child = Child(module("import time\ntime.sleep(60)"))
    sending = threading.Thread(target=child.send, args=({"text": "x" * 3_000_000},), daemon=True)
    sending.start()
    sending.join(10)
    assert not sending.is_alive()
    child.kill()


def test_children_get_no_passwords(module, monkeypatch):
    private = {"HPO_STORAGE": "postgresql://u:secret@h/db", "PGPASSWORD": "secret", "MYSQL_PWD": "secret"}
    for name, value in private.items():
        monkeypatch.setenv(name, value)
    child = Child(module("import json, os\nprint('not a message')\nprint(json.dumps(dict(os.environ)), flush=True)"))
    (environment,) = collect(child)
    child.kill()
    assert "PATH" in environment
    assert "secret" not in str(environment)


@pytest.mark.slow
def test_a_trainer_that_cannot_open_a_study_trains_nothing_with_the_one_before(tmp_path):
    prepare_iris(tmp_path)
    trainer = Child("hpo.trainer.main", machine.trainer_environment("tensorflow"))
    for folder in (tmp_path, tmp_path / "none"):
        trainer.send({"open": str(folder)})
        trainer.send({"train": []})
    trainer.finish_input()
    ready, *errors = collect(trainer, 120)
    trainer.kill()
    assert ready == {"ready": True}
    assert [error["error"].split(":")[0] for error in errors] == ["FileNotFoundError", "RuntimeError"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux do forks train")
def test_forks_of_a_trainer_train(tmp_path):
    prepare_iris(tmp_path)
    trainer = Child("hpo.trainer.main", machine.trainer_environment("tensorflow"))
    children = Path(f"/proc/{trainer.process_id}/task/{trainer.process_id}/children")
    network, evaluation = MLP.architecture(MLP.decode([0.1] * MLP.size)), EvaluationSpec(max_epochs=1, replicates=1)
    job = Job(slot=3, seed=0, architecture=network, evaluation=evaluation)
    trainer.send({"open": str(tmp_path)})
    trainer.send({"train": [job.to_json()]})
    answers, deadline = [], time.monotonic() + 120
    while not any("slot" in answer for answer in answers) and time.monotonic() < deadline:
        wait_for_output([trainer], 1)
        answers += trainer.messages()
    (fork,) = children.read_text("ascii").split()
    threads = [len(list(Path(f"/proc/{process}/task").iterdir())) for process in (trainer.process_id, fork)]
    trainer.kill()
    assert [answer["slot"] for answer in answers if "slot" in answer] == [3]
    assert threads[0] == 1  # it has not used the framework
    assert threads[1] > 1


SUPERVISOR = """
import os, signal
from hpo.worker.child import Child, wait_for_output
child = Child("hpo.trainer.synthetic")
while not child.messages():
    wait_for_output([child], 1)
os.kill(child.process_id, signal.SIGSTOP)
print(child.process_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_trainer_that_does_not_read_ends_with_its_killed_supervisor():
    pid = int(run_python(SUPERVISOR).stdout)
    try:
        wait_until(lambda: process_start(pid) is None, 10)
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise


def test_endings_and_errors_are_told(module):
    child = Child(module("import os, sys\nsys.stderr.write('last words')\nsys.stderr.flush()\nos.kill(os.getpid(), 9)"))
    assert collect(child) == []
    assert child.ending() == "killed by SIGKILL"
    assert child.errors() == "last words"
    child.send({"to": "nobody"})  # must not raise
    child.kill()


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("50000 100000", 1), ("100000 100000", 1), ("garbage", None)]
)
def test_cores_follow_the_cgroups_quota(tmp_path, text, cores):
    path = tmp_path / "cpu.max"
    path.write_text(text)
    assert usable_cores(path) == (cores or usable_cores(tmp_path / "none"))


@pytest.mark.parametrize(("text", "limit"), [("max\n", None), ("1048576\n", 2**20), (str(2**60), None)])
def test_memory_follows_the_cgroups_limit(tmp_path, text, limit):
    path = tmp_path / "memory.max"
    path.write_text(text)
    assert usable_memory(path) == (limit or usable_memory(tmp_path / "none"))


def test_a_processor_trains_one_trial_at_once_and_has_its_share_of_the_memory(monkeypatch):
    monkeypatch.setattr(machine, "has_gpu", lambda hiding=None: False)
    assert default_population("jax", 500) == default_population("tensorflow", 500) == 1
    assert stack_memory("tensorflow") * usable_cores() == pytest.approx(usable_memory() / 4)


@pytest.mark.parametrize(("says", "expected"), [("echo 81559\necho 40960", 2**30 * 20), ("exit 1", 2**30 * 4)])
def test_a_gpu_trains_many_trials_in_half_its_memory(tmp_path, monkeypatch, says, expected):
    monkeypatch.setattr(machine, "has_gpu", lambda hiding=None: True)
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{says}\n")
    (tmp_path / "nvidia-smi").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [default_population("jax", budget) for budget in (3, 50, 500)] == [1, 10, 64]
    assert default_population("tensorflow", 500) == 1
    assert stack_memory("jax") == expected


def test_the_memory_is_that_of_the_gpu_that_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "has_gpu", lambda hiding=None: True)
    (tmp_path / "nvidia-smi").write_text('#!/bin/sh\ncase "$*" in *--id=1*) echo 4096;; *) exit 1;; esac\n')
    (tmp_path / "nvidia-smi").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert stack_memory("jax") == 2**31


@pytest.mark.parametrize(
    ("backend", "device", "gpu", "chosen"),
    [
        (None, None, False, ("tensorflow", "cpu")),
        (None, "cpu", True, ("tensorflow", "cpu")),
        ("jax", "cpu", True, ("jax", "cpu")),
        ("jax", "1", True, ("jax", "gpu 1")),
        (None, "1", True, ("jax", "gpu 1")),
        ("jax", "0", False, None),
        ("tensorflow", "0", True, None),
        ("jax", "0,1", True, None),
    ],
)
def test_a_device_that_is_named_trains_or_is_refused(monkeypatch, backend, device, gpu, chosen):
    for variable in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "JAX_PLATFORMS", "KERAS_BACKEND"):
        monkeypatch.setenv(variable, "")  # so that what is set now is taken back
        monkeypatch.delenv(variable)
    monkeypatch.setattr(machine, "has_gpu", lambda hiding: gpu and hiding.get("CUDA_VISIBLE_DEVICES") != "-1")
    before = dict(os.environ)
    training = Training(backend=backend, device=device, trainers=3)
    if chosen:
        name, there = chosen
        found = choose_resources(training)
        assert (found.backend, found.device, found.trainers, found.population) == (name, there, 3, 0)
        shown = {None: None, "cpu": "-1"}.get(device, device)
        assert (found.environment["KERAS_BACKEND"], found.environment.get("CUDA_VISIBLE_DEVICES")) == (name, shown)
        assert dict(os.environ) == before, "only trainers are told"
    else:
        with pytest.raises(StudyError, match="a device must be"):
            choose_resources(training)


@pytest.mark.parametrize(
    ("backend", "variables", "message"),
    [
        ("jax", {}, "a GPU of this machine, got 97, which nvidia-smi"),
        ("jax", {"JAX_PLATFORMS": "cpu"}, "unset JAX_PLATFORMS"),
        ("tensorflow", {"JAX_PLATFORMS": "cpu"}, "use backend='jax'"),
    ],
)
def test_a_gpu_that_is_not_there_or_hidden_is_refused(tmp_path, monkeypatch, backend, variables, message):
    for variable in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "JAX_PLATFORMS", "KERAS_BACKEND"):
        monkeypatch.setenv(variable, variables.get(variable, ""))
    monkeypatch.setattr(machine, "has_gpu", lambda hiding: "JAX_PLATFORMS" not in variables)
    (tmp_path / "nvidia-smi").write_text('#!/bin/sh\ncase "$*" in *--id=1*) echo 4096;; *) exit 6;; esac\n')
    (tmp_path / "nvidia-smi").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StudyError, match=message):
        choose_resources(Training(backend=backend, device="97"))


def test_environment_names_versions():
    assert environment("tensorflow")["versions"]["keras"] >= "3.15.1"
