"""Compiled programs on disk: kept, found, damaged, too many, for nobody."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorflow.python.eager import context

from hpo.engine.backend import cache
from hpo.engine.backend.cache import ProgramCache, cache_folder, key_of
from hpo.engine.backend.tensorflow import TensorFlowBackend
from hpo.engine.fit import fit_stack
from hpo.engine.layout import layout_of
from hpo.settings import EvaluationSpec
from tests.engine.engine import HEAD, architecture, lane

ARCHITECTURES = {
    "plain": architecture(dropout=0.2),
    "learned slopes": architecture(dropout=0.2, activation="prelu"),
    "general": architecture(optimizer="nadam", normalization="batch", dropout=0.2, input_dropout=0.1, l2=1e-3),
}


def curves(backend, arch):
    """The learning curves of a stack of two."""
    fits = fit_stack(backend, [lane(r, arch) for r in range(2)], HEAD, EvaluationSpec(max_epochs=4))
    return [fit.curve for fit in fits]


ELSEWHERE = """
import sys
from pathlib import Path
from hpo.engine.backend.cache import ProgramCache
from hpo.engine.backend.tensorflow import TensorFlowBackend
from tests.engine.test_program_cache import ARCHITECTURES, curves

for arch in reversed(ARCHITECTURES.values()):
    curves(TensorFlowBackend(ProgramCache(Path(sys.argv[1]))), arch)
"""


@pytest.mark.slow
def test_one_process_loads_what_another_has_traced(tmp_path):
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", ELSEWHERE, tmp_path], cwd=root, check=True, capture_output=True)
    backend = TensorFlowBackend(ProgramCache(tmp_path))
    for arch in ARCHITECTURES.values():
        np.testing.assert_allclose(curves(backend, arch), curves(TensorFlowBackend(), arch), rtol=1e-6)
    assert backend.traces == 0


@pytest.mark.slow
def test_a_forgotten_program_is_gone():
    backend, kind = TensorFlowBackend(), layout_of([ARCHITECTURES["general"]]).kind
    before = registered()
    curves(backend, ARCHITECTURES["general"])
    assert len(registered() - before) == 3  # an epoch, its loop and the loop's condition
    backend.program(kind).forget()
    assert registered() == before


def registered():
    """The names of the compiled functions that TensorFlow holds."""
    return {name for name in context.context().list_function_names() if name.startswith("hpo_")}


@pytest.mark.slow
def test_programs_of_different_kinds_do_not_meet(tmp_path):
    for arch in ARCHITECTURES.values():
        curves(TensorFlowBackend(ProgramCache(tmp_path)), arch)
    assert len(list(tmp_path.iterdir())) == len(ARCHITECTURES)
    backend = TensorFlowBackend(ProgramCache(tmp_path))
    for arch in ARCHITECTURES.values():
        np.testing.assert_array_equal(curves(backend, arch), curves(TensorFlowBackend(), arch))
    assert backend.traces == 0


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"no program", None])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    arch = ARCHITECTURES["plain"]
    expected = curves(TensorFlowBackend(ProgramCache(tmp_path)), arch)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    backend, later = (TensorFlowBackend(ProgramCache(tmp_path)) for _ in range(2))
    np.testing.assert_array_equal(curves(backend, arch), expected)
    np.testing.assert_array_equal(curves(later, arch), expected)
    assert (backend.traces, later.traces) == (1, 0)


def test_a_key_changes_with_what_a_program_depends_on(monkeypatch):
    assert key_of("a", 1) == key_of("a", 1)
    assert len({key_of("a", 1), key_of("a", 2), key_of("b", 1)}) == 3
    before = key_of("a", 1)
    monkeypatch.setattr(cache, "ENGINE", "another")
    assert key_of("a", 1) != before


def test_what_was_put_is_found(tmp_path):
    kept = ProgramCache(tmp_path / "not" / "there")
    assert kept.get("a") is None
    kept.put("a", b"1")
    kept.put("a", b"2")
    assert kept.get("a") == b"2"
    assert kept.get("b") is None


def test_a_cache_that_cannot_be_written_is_none(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    kept = ProgramCache(tmp_path / "file" / "folder")
    kept.put("a", b"1")
    assert kept.get("a") is None


def test_a_program_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(path, content):
        path.touch()
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    ProgramCache(tmp_path).put("a", b"1")
    assert not list(tmp_path.iterdir())


def test_the_programs_used_last_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MOST_FILES", 10)
    kept = ProgramCache(tmp_path)
    (tmp_path / ".a-1").touch()  # of a process that was killed while it wrote
    os.utime(tmp_path / ".a-1", (0, 0))
    for number in range(1, 10):
        kept.put(str(number), b"")
        os.utime(tmp_path / str(number), (number, number))
    kept.get("1")
    kept.put("10", b"")
    assert {path.name for path in tmp_path.iterdir()} == {"1", "10", "6", "7", "8", "9"}


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    assert cache_folder("tensorflow") == Path(os.environ["XDG_CACHE_HOME"]) / "hpo" / "tensorflow"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("xla") == tmp_path / ".cache" / "hpo" / "xla"

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    assert cache_folder("xla") is None
