"""The batch script: run for real, with a stand-in for hpo that says how it was called."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "slurm" / "worker.sbatch"


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """HPO_VENV is an environment whose hpo prints its process id and arguments."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").write_text(f"PATH={tmp_path}/bin:$PATH\n")
    hpo = tmp_path / "bin" / "hpo"
    hpo.write_text('#!/bin/sh\necho "$$" "$@"\n')
    hpo.chmod(0o755)
    return {"PATH": os.environ["PATH"], "HPO_VENV": str(tmp_path), "HPO_STORAGE": "postgresql://hpo@db/hpo"}


def _start(environment: dict[str, str]) -> tuple[subprocess.Popen[str], str, str]:
    command = ["bash", str(SCRIPT)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    return process, *process.communicate(timeout=60)


def test_a_worker_takes_the_place_of_the_script_and_uses_the_cores_it_was_given(environment):
    process, output, errors = _start({**environment, "HPO_STUDY": "churn", "SLURM_CPUS_PER_TASK": "4"})
    assert (process.returncode, errors) == (0, "")
    # The same process: signals to the script reach the worker.
    expected = f"{process.pid} worker --study churn --once --trainers 4 --drain-seconds 120"
    assert output.strip() == expected


@pytest.mark.parametrize("missing", ["HPO_STUDY", "HPO_STORAGE"])
def test_what_is_not_given_is_named(environment, missing):
    given = {**environment, "HPO_STUDY": "churn"}
    del given[missing]
    process, output, errors = _start(given)
    assert process.returncode == 1
    assert output == ""
    assert missing in errors


def test_the_worker_is_told_early_enough_to_drain():
    text = SCRIPT.read_text("utf-8")
    told = int(re.search(r"^#SBATCH --signal=B:TERM@(\d+)$", text, re.MULTILINE)[1])
    drain = int(re.search(r"--drain-seconds (\d+)", text)[1])
    assert told >= drain + 30


def test_directives_come_before_commands():
    lines = SCRIPT.read_text("utf-8").splitlines()
    assert lines[0] == "#!/bin/bash"
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:])
    assert not any("password" in line.lower() for line in lines if not line.startswith("# HPO_STORAGE"))
