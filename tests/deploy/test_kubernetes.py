"""The Kubernetes manifests: valid, without passwords, without rights, and with time to drain."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
MANIFESTS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.yaml"))}
WORKERS = ("worker-deployment", "worker-job")
VERSIONS = ("1.29.0", "1.37.0")


def _pod(name: str) -> dict:
    return MANIFESTS[name]["spec"]["template"]["spec"]


def _container(name: str) -> dict:
    (container,) = _pod(name)["containers"]
    return container


def _option(name: str, option: str) -> str:
    arguments = _container(name)["args"]
    return arguments[arguments.index(option) + 1]


def test_there_is_a_job_for_the_tables_a_job_and_a_deployment_for_workers():
    assert {name: manifest["kind"] for name, manifest in MANIFESTS.items()} == {
        "migrate": "Job",
        "worker-deployment": "Deployment",
        "worker-job": "Job",
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_follows_the_schema(name, version):
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_schema_refuses_what_is_not_kubernetes():
    wrong = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": {"paralellism": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", MANIFESTS)
def test_database_comes_from_a_secret(name):
    (variable,) = _container(name)["env"]
    assert variable == {"name": "HPO_STORAGE", "valueFrom": {"secretKeyRef": {"name": "hpo-storage", "key": "url"}}}


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_have_no_rights_that_they_do_not_need(name):
    pod, container = _pod(name), _container(name)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_ask_for_what_they_use_and_have_a_place_to_write(name):
    resources = _container(name)["resources"]
    assert {"cpu", "memory"} == resources["requests"].keys()
    assert "memory" in resources["limits"]
    mounted = {mount["name"]: mount["mountPath"] for mount in _container(name)["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in _pod(name)["volumes"]}
    assert mounted["scratch"] == "/tmp"


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_has_one_trainer_for_its_core_and_time_to_drain(name):
    assert _option(name, "--trainers") == _container(name)["resources"]["requests"]["cpu"] == "1"
    assert _pod(name)["terminationGracePeriodSeconds"] >= float(_option(name, "--drain-seconds")) + 15


@pytest.mark.parametrize("name", WORKERS)
def test_results_that_the_database_has_not_got_outlive_a_container(name):
    mounted = {mount["name"]: mount["mountPath"] for mount in _container(name)["volumeMounts"]}
    assert mounted["state"] == "/var/lib/hpo"
    assert _pod(name)["securityContext"]["fsGroup"] == 10001
    assert _pod(name)["restartPolicy"] != "Never"


def test_job_ends_with_its_study_and_replaces_workers_that_fail():
    spec = MANIFESTS["worker-job"]["spec"]
    assert "--once" in _container("worker-job")["args"]
    assert _option("worker-job", "--study") in MANIFESTS["worker-job"]["metadata"]["name"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"]


def test_deployment_stays_for_every_study():
    arguments = _container("worker-deployment")["args"]
    assert "--once" not in arguments
    assert "--study" not in arguments


def test_deployment_and_job_do_not_count_each_others_pods():
    selector = MANIFESTS["worker-deployment"]["spec"]["selector"]["matchLabels"]
    labels = {name: MANIFESTS[name]["spec"]["template"]["metadata"]["labels"] for name in MANIFESTS}
    assert [name for name, given in labels.items() if selector.items() <= given.items()] == ["worker-deployment"]
