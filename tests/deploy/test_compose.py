"""The compose files: valid, without a default password, and safe to scale and to stop."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ("docker-compose.yml", "docker-compose.gpu.yml")
OURS = ("migrate", "worker", "hpo")
COMPOSE = yaml.safe_load((ROOT / FILES[0]).read_text("utf-8"))
GPU = yaml.safe_load((ROOT / FILES[1]).read_text("utf-8"))
SERVICES = COMPOSE["services"]


def _seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def _drain(command: list[str]) -> float:
    return float(command[command.index("--drain-seconds") + 1])


def _check(path: Path) -> subprocess.CompletedProcess[str]:
    """Hold a file against the schema of the Compose specification."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", FILES)
def test_file_follows_the_compose_specification(name):
    answer = _check(ROOT / name)
    assert answer.returncode == 0, answer.stdout


def test_schema_refuses_what_is_not_compose(tmp_path):
    (tmp_path / "wrong.yml").write_text("services: {worker: {comand: [worker]}}")
    answer = _check(tmp_path / "wrong.yml")
    assert answer.returncode == 1
    assert "comand" in answer.stdout


def test_password_has_no_default_and_compose_refuses_to_start_without_it():
    for service, variable in (("db", "POSTGRES_PASSWORD"), *((service, "PGPASSWORD") for service in OURS)):
        value = SERVICES[service]["environment"][variable]
        assert value.startswith("${HPO_DB_PASSWORD:?"), service


def test_password_is_in_no_url_and_no_command():
    for service in SERVICES.values():
        assert "PASSWORD" not in json.dumps(service.get("command", []))
    assert {SERVICES[service]["environment"]["HPO_STORAGE"] for service in OURS} == {"postgresql://hpo@db/hpo"}


def test_database_is_kept_in_a_named_volume_and_is_not_published():
    volume, folder = SERVICES["db"]["volumes"][0].split(":")
    assert volume in COMPOSE["volumes"]
    assert folder == "/var/lib/postgresql/data"
    assert not any("ports" in service for service in SERVICES.values())


def test_database_says_when_it_is_ready():
    test = SERVICES["db"]["healthcheck"]["test"]
    assert test[:2] == ["CMD", "pg_isready"]
    assert "--host=127.0.0.1" in test


def test_tables_are_made_after_the_database_is_ready_and_before_anything_else():
    assert SERVICES["migrate"]["command"] == ["db", "upgrade"]
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    for service in ("worker", "hpo"):
        assert SERVICES[service]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_a_worker_has_one_trainer_unless_told_otherwise():
    command = SERVICES["worker"]["command"]
    assert command[0] == "worker"
    assert command[command.index("--trainers") + 1] == "${HPO_TRAINERS:-1}"


@pytest.mark.parametrize("worker", [SERVICES["worker"], SERVICES["worker"] | GPU["services"]["worker"]])
def test_a_worker_has_time_to_drain(worker):
    assert _seconds(worker["stop_grace_period"]) >= _drain(worker["command"]) + 15


def test_workers_can_be_scaled():
    assert not {"container_name", "ports", "hostname", "network_mode"} & SERVICES["worker"].keys()
    assert SERVICES["worker"]["restart"] == "unless-stopped"


def test_workers_keep_their_results_in_a_named_volume():
    volume, folder = SERVICES["worker"]["volumes"][0].split(":")
    assert volume in COMPOSE["volumes"]
    assert f"XDG_STATE_HOME={folder}" in (ROOT / "Dockerfile").read_text("utf-8")


@pytest.mark.parametrize("name", OURS)
def test_services_have_no_rights_that_they_do_not_need(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == "/tmp"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service.get("user", "10001") != "root"
    assert "privileged" not in service


def test_commands_start_on_request_only_and_cannot_change_the_data():
    assert SERVICES["hpo"]["profiles"] == ["command"]
    data = next(volume for volume in SERVICES["hpo"]["volumes"] if "/data" in volume)
    assert data.endswith(":/data:ro")


def test_gpu_workers_have_one_device_one_trainer_and_an_image_for_cuda():
    worker = GPU["services"]["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}
    assert worker["build"]["args"] == {"EXTRAS": "cuda"}
    assert worker["image"] != SERVICES["worker"]["image"]
    assert worker["command"][worker["command"].index("--trainers") + 1] == "1"


def test_further_gpu_as_the_comment_says(tmp_path):
    text, comment = (ROOT / FILES[1]).read_text("utf-8").split("  # For each further device a service like this:")
    written = [line.replace("  # ", "  ", 1) for line in comment.splitlines() if line.strip(" #")]
    both = tmp_path / "gpus.yml"
    both.write_text("\n".join([text, *written]))
    assert _check(both).returncode == 0
    services = yaml.safe_load(both.read_text())["services"]
    first, second = services["worker"], services["worker-1"]
    assert second["extends"] == {"file": FILES[0], "service": "worker"}
    assert second["command"] == first["command"]
    assert second["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] == ["1"]
