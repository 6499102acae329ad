"""The Dockerfile and what it reads: rules that a build does not check by itself."""

import json
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "deploy" / "requirements.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _instructions() -> list[str]:
    """Of the Dockerfile, without comments, each on one line."""
    lines = [line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def _last_stage() -> list[str]:
    instructions = _instructions()
    start = max(i for i, line in enumerate(instructions) if line.startswith("FROM "))
    return instructions[start:]


def _listed(extras: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REQUIREMENTS), str(ROOT / "pyproject.toml"), extras]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_image_is_slim_and_runs_hpo_as_a_user_without_rights():
    stage = _last_stage()
    assert stage[0] == "FROM python:3.11-slim-bookworm"
    assert "USER 10001:10001" in stage
    assert json.loads(stage[-2].removeprefix("ENTRYPOINT ")) == ["hpo"]
    assert not any(line.startswith("RUN") for line in stage[stage.index("USER 10001:10001") :])


def test_all_stages_have_the_same_base():
    bases = [line.split()[1] for line in _instructions() if line.startswith("FROM ")]
    assert set(bases) - {"dependencies"} == {"python:3.11-slim-bookworm"}


def test_a_package_index_comes_in_as_a_secret_only():
    downloads = [line for line in _instructions() if "pip install" in line or "pip wheel" in line]
    assert len(downloads) == 3
    for line in downloads:
        assert "--mount=type=secret,id=pip,target=/etc/pip.conf" in line or "--no-index" in line
    words = "\n".join(_instructions()).upper()
    assert not any(word in words for word in ("PASSWORD", "TOKEN", "INDEX_URL"))


def test_code_is_copied_after_the_dependencies_are_installed():
    instructions = _instructions()
    install = next(i for i, line in enumerate(instructions) if "--requirement" in line)
    copies = [i for i, line in enumerate(instructions) if line.startswith("COPY ") and "/src/hpo" in line]
    assert copies
    assert all(copy > install for copy in copies)


def test_builder_gets_only_what_it_copies():
    ignored, *kept = [
        line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")
    ]
    assert ignored == "*"
    allowed = {line[1:] for line in kept if line.startswith("!")}
    copied = {
        word
        for line in _instructions()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert allowed == copied
    assert all((ROOT / path).exists() for path in copied)


def test_requirements_are_those_of_the_project():
    assert _listed("").stdout.splitlines() == PROJECT["dependencies"]
    with_cuda = _listed("cuda").stdout.splitlines()
    assert with_cuda == PROJECT["dependencies"] + PROJECT["optional-dependencies"]["cuda"]


@pytest.mark.parametrize("extra", ["dev", "gpu"])
def test_an_extra_that_is_not_there_is_refused(extra):
    answer = _listed(extra)
    assert answer.returncode == 1
    assert answer.stderr.startswith("EXTRAS must be of jax, cuda")
    assert repr(extra) in answer.stderr


def test_no_extra_that_an_image_may_have_names_the_project_itself():
    # It would be looked up in the package index, where the name is somebody else's.
    requirements = runpy.run_path(str(REQUIREMENTS))["requirements"]
    extras = [extra for extra in PROJECT["optional-dependencies"] if extra != "dev"]
    assert not any(line.startswith("hpo") for line in requirements(PROJECT, extras))
