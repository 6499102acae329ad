"""What this machine offers."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "hpo",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
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


def environment() -> dict[str, Any]:
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
        "backend": "tensorflow",
        "versions": versions,
    }
