import pytest
from hpo_spaces import load_space
from hpo_spaces.mlp_strong import INITIALIZERS, MLP_STRONG
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

REALMLP, PERIODIC, TABM = MLP_STRONG.starts


@given(arrays(float, MLP_STRONG.size, elements=st.floats(0, 1)))
def test_every_vector_is_a_network_within_the_documented_ranges(vector):
    params = MLP_STRONG.decode(vector)
    made = MLP_STRONG.architecture(params)
    assert 2 <= made.depth <= 4
    assert len(set(made.widths)) == 1
    assert 64 <= made.widths[0] <= 512
    assert made.batch_size in (32, 64, 128, 256)
    assert made.initializer == INITIALIZERS[made.activation]
    assert made.schedule in ("cosine", "linear", "one_cycle")
    assert made.warmup == 0.0 or made.schedule != "one_cycle"
    assert (made.optimizer, made.clip_norm, made.l1, made.l2) == ("adamw", 1.0, 0.0, 0.0)
    assert ("embedding_scale" in params) == ("embedding_frequencies" in params) == (made.embedding == "periodic")


def test_each_value_reaches_the_network():
    params = {
        **{"layers": 4, "width": 128, "skip": True, "activation": "gelu", "normalization": "layer", "dropout": 0.4},
        **{"noise": 0.03, "learning_rate": 5e-3, "weight_decay": 0.05, "schedule": "linear", "schedule_epochs": 80},
        **{"warmup": 0.15, "label_smoothing": 0.05, "batch_exponent": 7, "embedding": "periodic"},
        **{"embedding_frequencies": 16, "embedding_scale": 0.5},
    }
    made = MLP_STRONG.architecture(MLP_STRONG.decode(MLP_STRONG.encode(params)))
    assert (made.widths, made.batch_size) == ((128,) * 4, 128)
    same = params.keys() - {"layers", "width", "batch_exponent"}
    assert {name: getattr(made, name) for name in same} == pytest.approx({name: params[name] for name in same})


def test_starting_points_are_those_of_the_papers():
    made = [MLP_STRONG.architecture(start) for start in MLP_STRONG.starts]
    assert [network.widths for network in made] == [(256,) * 3, (256,) * 3, (512,) * 2]
    assert [network.embedding for network in made] == ["none", "periodic", "none"]
    for start in MLP_STRONG.starts:
        assert MLP_STRONG.decode(MLP_STRONG.encode(start)) == pytest.approx(start)


def test_it_loads_by_name():
    assert load_space("mlp_strong") is MLP_STRONG
    assert MLP_STRONG.describe()["settings"] == {"clip_norm": 1.0}
