"""The programs of docs/objectives.md run as printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.fleet import Fleet
from tests.helpers.invariants import invariants

GUIDE = Path(__file__).parents[2] / "docs" / "objectives.md"
MODULE, ASKER = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
(COMMAND,) = re.findall(r"^hpo (run --study .*)$", GUIDE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.slow
def test_the_guide_runs(tmp_path):
    (tmp_path / "parabola.py").write_text(MODULE)
    (tmp_path / "asked.py").write_text(MODULE.replace('trainer = "parabola"', "trainer = None"))
    (tmp_path / "asker.py").write_text(ASKER.replace('"line"', '"asked"'))
    fleet = Fleet(f"sqlite:///{tmp_path}/hpo.db", tmp_path)
    try:
        run = fleet.start(*COMMAND.split(), "--trainers", 1, "--no-report")
        assert run.wait(120) == 0, run.output
        assert min(trial.value for trial in invariants(fleet.url, "line", 30).trials) < 0.01
        words = ("--objective", "asked:PARABOLA", "--space", "asked:SPACE", "--trials", 5, "--no-report")
        watcher = fleet.start("run", "--study", "asked", *words)
        fleet.wait_for(lambda: fleet.exists("asked"))
        subprocess.run([sys.executable, "asker.py"], cwd=tmp_path, check=True)
        assert watcher.wait(120) == 0, watcher.output
        assert "no worker serves" not in watcher.output
        invariants(fleet.url, "asked", 5)
    finally:
        fleet.end()
