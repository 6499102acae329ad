"""Shared by all tests: where the larger data sets are, and which tests may be skipped."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.databases import SERVER_KINDS

TESTS = Path(__file__).parent
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


LONGEST = ("worker/test_serve.py", "engine/test_on_jax.py", "engine/test_equality.py", "cli/test_run_command.py")
"""Files that take minutes, which come first, so that no core waits for one in the end."""
LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="leave out what trains, drives a browser or needs a server")


def why_not_quick(item) -> str | None:
    """What keeps a test out of a quick run: its marks say it, or the kind of database that it runs on."""
    for mark, reason in (("slow", "train or drive whole studies"), ("browser", "need a browser")):
        if item.get_closest_marker(mark):
            return reason
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "need a server" if any(value in SERVER_KINDS for value in values if isinstance(value, str)) else None


def pytest_collection_modifyitems(config, items):
    order = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))
    if config.getoption("quick"):
        reasons = {item: why_not_quick(item) for item in items}
        config.stash[LEFT_OUT] = Counter(reason for reason in reasons.values() if reason)
        config.hook.pytest_deselected(items=[item for item in items if reasons[item]])
        items[:] = [item for item in items if not reasons[item]]


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):  # one of several processes, each of which has collected all tests
        session.config.workeroutput["left_out"] = dict(session.config.stash.get(LEFT_OUT, {}))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    node.config.stash[LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter, config):
    if left_out := config.stash.get(LEFT_OUT, None):
        said = ", ".join(f"{count} that {reason}" for reason, count in left_out.most_common())
        terminalreporter.write_line(f"left out of this quick run: {said}; `make test` runs them")


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
