"""What backends do on their own: programs forgotten, batches filled up."""

import gc
import weakref

import jax
import keras
import numpy as np
import pytest

from hpo.data.prepared import ReplicateData
from hpo.engine.backend.jax import JaxBackend
from hpo.engine.fit import fit_stack
from hpo.engine.layout import layout_of
from hpo.losses import BY_HEAD, Head
from hpo.settings import EvaluationSpec
from tests.engine.engine import HEAD, architecture, lane, make_backend

ON_JAX = keras.backend.backend() == "jax"


def curve(backend, arch):
    """The learning curve of three epochs."""
    return fit_stack(backend, [lane(0, arch)], HEAD, EvaluationSpec(max_epochs=3))[0].curve


@pytest.mark.slow
def test_few_programs_stay_in_memory_and_a_forgotten_one_comes_back(monkeypatch):
    limit = "jax.MOST_COMPILED" if ON_JAX else "tensorflow.MOST_GENERAL"
    monkeypatch.setattr(f"hpo.engine.backend.{limit}", 2)
    backend = make_backend()
    archs = [architecture(optimizer=name) for name in ("sgd", "adamw", "nadam")]
    first = curve(backend, archs[0])
    program = weakref.ref(backend.program(layout_of(archs[:1]).kind))
    for arch in archs[1:]:
        curve(backend, arch)
    assert backend.traces == len(archs)
    if not ON_JAX:  # JAX forgets what a program was compiled to
        gc.collect()
        assert program() is None
    np.testing.assert_allclose(curve(backend, archs[0]), first, rtol=1e-6)
    assert backend.traces == len(archs) + 1


@pytest.mark.slow
def test_a_lane_whose_batch_is_filled_up_does_not_see_its_neighbours_rows():
    """The variance of a single row is 0, so normalization would stretch any other row beyond what exp can take."""
    arch = architecture(activation="exponential", normalization="batch")

    def one_row(value):
        part = (np.full((1, 1), value, np.float32), np.zeros((1, 1), np.float32))
        return ReplicateData(*part, *part, *part)

    lanes = [lane(replicate, arch, data=one_row(value)) for replicate, value in enumerate((100.0, 0.0))]
    protocol = EvaluationSpec(max_epochs=2)
    together = fit_stack(make_backend(), lanes, Head("squared", 1), protocol)[1]
    alone = fit_stack(make_backend(), [lane(1, arch, data=one_row(0.0))], Head("squared", 1), protocol)[0]
    assert np.isfinite(together.curve).all()
    assert together.curve[0] == pytest.approx(alone.curve[0], rel=1e-4)


def test_only_labels_are_smoothed():
    """Or else a study of a quantity would have more programs than it needs, and no short cut."""
    smoothed = [architecture(label_smoothing=0.1)]
    assert [layout_of(smoothed, head).kind.smoothed for head in BY_HEAD] == [True, True, False, False]
    assert layout_of(smoothed, "squared").kind.is_plain


def test_jax_has_few_shapes():
    backend = JaxBackend()
    assert backend.trains_together(5_000) == (jax.default_backend() != "cpu")
    assert {backend.lanes_for(live) for live in range(1, 400)} == {8, 16, 32, 64, 128, 256, 512}
    assert all(backend.lanes_for(live) >= live for live in range(1, 400))
    assert {lanes: backend.most_lanes(lanes) for lanes in (1, 5, 8, 9, 16, 31, 32, 45, 320)} == {
        1: 1, 5: 5, 8: 8, 9: 8, 16: 8, 31: 8, 32: 16, 45: 16, 320: 128,
    }  # fmt: skip
    widths = backend.widths_for(tuple(range(1, 500)))
    assert set(widths) == {8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}
    assert all(width <= padded < 1.5 * width for width, padded in enumerate(widths, start=1) if width > 8)
