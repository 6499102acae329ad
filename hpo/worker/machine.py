"""What this machine offers."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpo.errors import StudyError

BACKENDS = ("auto", "tensorflow", "jax")
_PACKAGES = (
    "hpo",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "numpy",
    "optuna",
    "pandas",
    "scikit-learn",
    "sqlalchemy",
)


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores this process may use: CPU affinity, capped by the cgroup's quota, at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text("ascii").split()
    except (OSError, ValueError):
        return affinity
    if quota == "max":
        return affinity
    return max(1, min(affinity, int(quota) // int(period)))


def choose_backend(wanted: str | None) -> str:
    """The backend that trainers use: the one wanted (or named by KERAS_BACKEND), or else the faster one installed.

    On a GPU that is JAX. On a processor a compiled TensorFlow program fits networks of any width, where JAX compiles
    again for each. Raises StudyError for one that is unknown or not installed.
    """
    name = wanted or os.environ.get("KERAS_BACKEND") or "auto"
    if name not in BACKENDS:
        raise StudyError(f"the backend must be one of {', '.join(BACKENDS)}, got {name!r}; change --backend")
    if name == "auto":
        return "jax" if _installed("jax") and (has_gpu() or not _installed("tensorflow")) else "tensorflow"
    if not _installed(name):
        raise StudyError(f"backend {name!r} is not installed; run: pip install 'hpo[{name}]', or use another --backend")
    return name


def has_gpu() -> bool:
    """Whether JAX could use a GPU here: a device and JAX's plugin for it."""
    plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
    return Path("/dev/nvidiactl").exists() and any(_installed(plugin) for plugin in plugins)


def default_trainers(backend: str) -> int:
    """Trainer processes: one for the GPU, or one for each core."""
    return 1 if backend == "jax" and has_gpu() else usable_cores()


def trainer_environment(backend: str) -> Mapping[str, str]:
    """Variables that must be set before a trainer imports its framework."""
    if backend == "jax" and not has_gpu():
        one_thread = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        return {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": one_thread}
    return {"KERAS_BACKEND": backend}


def _installed(package: str) -> bool:
    return find_spec(package) is not None


def environment(backend: str) -> dict[str, Any]:
    """Versions and machine, to be stored with a study."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": usable_cores(),
        "backend": backend,
        "versions": versions,
    }
