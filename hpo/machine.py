"""What this machine offers."""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from hpo.errors import StudyError, use
from hpo.settings import BackendChoice, Training
from hpo.words import count_text, shown

BACKENDS = get_args(BackendChoice)
MOST_TRIALS_AT_ONCE, LEAST_ROUNDS = 64, 5
UNKNOWN_GPU_BYTES = 4 * 2**30
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
        source = use("backend") if wanted else f"the variable KERAS_BACKEND, or give {use('backend')}"
        raise StudyError(
            f"the backend must be one of {', '.join(BACKENDS)}, got {shown(name)}; change {source}", setting="backend"
        )
    if name == "auto":
        return "jax" if _installed("jax") and (has_gpu() or not _installed("tensorflow")) else "tensorflow"
    if not _installed(name):
        package = "hpo[jax]" if name == "jax" else name
        raise StudyError(
            f"the backend must be installed, {name!r} is not; run: pip install '{package}', or use another "
            f"{use('backend')}",
            setting="backend",
        )
    return name


def has_gpu() -> bool:
    """Whether JAX could use a GPU here: a device that is not hidden, and JAX's plugin for it."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or os.environ.get("JAX_PLATFORMS") == "cpu":
        return False
    plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
    return Path("/dev/nvidiactl").exists() and any(_installed(plugin) for plugin in plugins)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What trains here: so many trainers, with this backend on this device, so many trials at once in each."""

    backend: str
    device: str
    trainers: int
    population: int

    def for_budget(self, budget: int, left: int) -> "Resources":
        """No more trainers than have work, where `left` trials of the budget are open."""
        population = min(self.population or default_population(self.backend, budget), left)
        return replace(self, population=population, trainers=min(self.trainers, -(-left // population)))

    @property
    def text(self) -> str:
        """`tensorflow on cpu, 2 trainers`."""
        at_once = f", {self.population} trials at once each" if self.population > 1 else ""
        return f"{self.backend} on {self.device}, {count_text(self.trainers, 'trainer')}{at_once}"


def choose_resources(training: Training) -> Resources:
    """What trains here as far as it is asked for, or else what suits the machine; all other devices are hidden.

    The population is 0 where it depends on the study. Raises StudyError for a GPU that would not be used.
    """
    device = training.device
    if device is not None:
        os.environ.update(_device_environment(device))
    name = choose_backend(training.backend)
    if device not in (None, "cpu"):
        _refuse_idle_gpu(name, device)
    return Resources(
        backend=name,
        device=device_name(name),
        trainers=training.trainers or default_trainers(name),
        population=training.population or 0,
    )


def _refuse_idle_gpu(backend: str, number: str) -> None:
    """Raise StudyError where this GPU is not there, or the backend would not train on it."""
    if device_name(backend) == "cpu":
        hidden = backend == "jax" and os.environ.get("JAX_PLATFORMS") == "cpu"
        remedy = "unset JAX_PLATFORMS" if hidden else f"run: pip install 'hpo[cuda]', use {use('backend', 'jax')}"
        raise StudyError(
            f"a device must be one that trains, got GPU {number}, but {backend} would train on the processor here; "
            f"{remedy}, or {use('device', 'cpu')}",
            setting="device",
        )
    try:
        _gpu_memory(number)
    except subprocess.CalledProcessError:
        raise StudyError(
            f"a device must be a GPU of this machine, got {number}, which nvidia-smi does not find; "
            f"choose one that `nvidia-smi -L` lists",
            setting="device",
        ) from None
    except (OSError, subprocess.SubprocessError, ValueError):
        pass  # nobody to ask


def _device_environment(device: str) -> Mapping[str, str]:
    """Variables that hide all devices but this one."""
    if device == "cpu":
        return {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    if not (device.isascii() and device.isdigit()):
        raise StudyError(
            f"a device must be cpu, or a GPU's number, got {device!r}; use 0, and a worker for each GPU",
            setting="device",
        )
    # CUDA counts the fastest one first, unless it is told to count as nvidia-smi does.
    return {"CUDA_VISIBLE_DEVICES": device, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def device_name(backend: str) -> str:
    """What trainers of this backend use here: `cpu`, `gpu`, or `gpu 0` where one was chosen."""
    if backend != "jax" or not has_gpu():
        return "cpu"
    return f"gpu {os.environ.get('CUDA_VISIBLE_DEVICES', '')}".strip()


def default_trainers(backend: str) -> int:
    """Trainer processes: one for the GPU, or one for each core."""
    return 1 if backend == "jax" and has_gpu() else usable_cores()


def default_population(backend: str, budget: int) -> int:
    """Trials that a trainer takes at once: a processor gains nothing from more than one; on a GPU as many as leave the
    sampler several rounds to learn from."""
    return max(1, min(MOST_TRIALS_AT_ONCE, budget // LEAST_ROUNDS)) if backend == "jax" and has_gpu() else 1


def stack_memory(backend: str) -> int:
    """Bytes that a stack of networks may take: half of the GPU's memory, or a core's share of a quarter of the RAM."""
    if backend == "jax" and has_gpu():
        try:
            return _gpu_memory(os.environ.get("CUDA_VISIBLE_DEVICES")) // 2
        except (OSError, subprocess.SubprocessError, ValueError):
            return UNKNOWN_GPU_BYTES
    return usable_memory() // 4 // usable_cores()


def _gpu_memory(visible: str | None) -> int:
    """Bytes of the smallest of these GPUs, of all where none are named.

    Raises CalledProcessError where one is not there; OSError, SubprocessError or ValueError where nobody knows.
    """
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    command += [f"--id={visible}"] if visible else []
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return min(int(mebibytes) for mebibytes in listed.split()) * 2**20


def usable_memory(cgroup: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Bytes of memory that this process may use: the machine's, capped by the cgroup's limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(cgroup.read_text("ascii")))
    except (OSError, ValueError):  # no limit is "max"
        return machine


def trainer_environment(backend: str) -> Mapping[str, str]:
    """Variables that must be set before a trainer imports its framework."""
    if backend != "jax":
        return {"KERAS_BACKEND": backend}
    if has_gpu():  # without taking all of its memory at once, so that several trainers can share it
        return {"KERAS_BACKEND": backend, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    one_thread = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {one_thread}".strip()
    return {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def _installed(package: str) -> bool:
    return find_spec(package) is not None


def environment(backend: str | None) -> dict[str, Any]:
    """Versions and machine, to be stored with a study; without a backend where others train."""
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
        **({"backend": backend} if backend else {}),
        "versions": versions,
    }
