"""Which lanes train and which wait, by the rules of JAX, for any course of training."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.engine.places import FREE_SHARE, Places


@pytest.fixture(scope="module")
def jax_rules():
    pytest.importorskip("jax", reason="needs jax: pip install hpo[jax]")
    from hpo.engine.backend.jax import JaxBackend

    return JaxBackend()


@given(epochs=st.lists(st.integers(1, 30), min_size=1, max_size=90), dropped=st.sets(st.integers(0, 89)))
def test_every_lane_trains_to_its_end_in_few_shapes(jax_rules, epochs, dropped):
    """Lanes that are dropped end as soon as any other does, begun or not."""
    places = Places.new(jax_rules, SimpleNamespace(lanes=range(len(epochs))))
    trained, sizes, over = [0] * len(epochs), {len(places.held)}, set()
    while places.live:
        assert set(places.live) <= set(places.held)
        assert not set(places.held) & set(places.waiting)
        for lane in places.live:
            trained[lane] += 1
        over |= {lane for lane, count in enumerate(trained) if count == epochs[lane]}
        following = places.after(over | dropped if over else over)
        assert following.before == places.held
        if following.changed:
            free = len(places.held) - len(set(places.live) - over - (dropped if over else set()))
            assert free >= FREE_SHARE * len(places.held)
        places = following
        sizes.add(len(places.held))
    assert all(count == epochs[lane] for lane, count in enumerate(trained) if lane not in dropped)
    assert all(size in (8, 16, 32, 64) or size == len(epochs) for size in sizes)
