"""Shared by all tests: where the larger data sets are, and which tests may be skipped."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def tables() -> Path:
    """The folder of larger tables that development uses; not part of the project."""
    if not (SHARED / "data" / "tables").is_dir():
        pytest.skip("needs shared-data: ../shared/data is not here")
    return SHARED / "data" / "tables"


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that wait to be told are kept there, not in the home of who runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True, scope="session")
def cache_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled programs are kept there, for all tests of the run, not in the home of who runs them."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # one of several processes, whose folders lie beside each other
        folder = folder.parent
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs chromium: no Chromium on the PATH")
    return path


SLOWEST = ("test_on_jax.py", "test_equality.py", "test_serve.py", "test_run_command.py", "test_outages.py")


def pytest_collection_modifyitems(items):
    """Files that take minutes come first, so that no core waits for one in the end."""
    items.sort(key=lambda item: SLOWEST.index(item.path.name) if item.path.name in SLOWEST else len(SLOWEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With HPO_MAY_SKIP set, fail tests that are skipped for something the machine has."""
    report = yield
    allowed = os.environ.get("HPO_MAY_SKIP")
    if allowed is not None and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2])
        if not any(f"needs {name}" in reason for name in allowed.split()):
            report.outcome = "failed"
            report.longrepr = f"skipped, though this machine could run it: {reason}"
    return report
