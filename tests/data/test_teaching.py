"""The generated sets: as they are drawn in textbooks, and the same everywhere."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from hpo.data.builtin import load_builtin
from hpo.data.fingerprint import TEACHING_NAMES
from hpo.data.teaching_names import Teaching, builtin_source
from hpo.errors import DataError

QUANTITIES = ("plane", "gaussian_bumps")


@pytest.mark.parametrize("name", TEACHING_NAMES)
def test_a_set_is_the_same_each_time_and_another_with_another_seed(name):
    frame = load_builtin(f"{name}:rows=101,noise=0.3,seed=4")
    assert frame.shape == (101, 3)
    assert frame.equals(load_builtin(f"{name}:seed=4,noise=.3,rows=101"))
    assert not frame.equals(load_builtin(f"{name}:rows=101,noise=0.3,seed=5"))
    assert frame.notna().all(axis=None)


@pytest.mark.parametrize("name", TEACHING_NAMES)
def test_neighbors_learn_what_lines_cannot_and_noise_is_in_the_way(name):
    def score(model, noise):
        frame = load_builtin(f"{name}:rows=1000,noise={noise}")
        points, target = frame[["x1", "x2"]].to_numpy(), frame["target"].to_numpy()
        return model.fit(points[::2], target[::2]).score(points[1::2], target[1::2])

    linear = score(LinearRegression() if name in QUANTITIES else LogisticRegression(), 0)
    near = (KNeighborsRegressor if name in QUANTITIES else KNeighborsClassifier)(5)
    assert score(near, 0) > 0.9
    assert (linear > 0.95) == (name in ("plane", "two_gaussians"))
    assert score(near, 1) < score(near, 0) - 0.05


def test_classes_are_about_as_frequent_and_quantities_are_small():
    for name in TEACHING_NAMES:
        target = load_builtin(f"{name}:rows=400")["target"]
        if name in QUANTITIES:
            assert np.abs(target).max() <= 2
        else:
            assert set(target) == {"blue", "orange"}
            assert abs((target == "blue").mean() - 0.5) < 0.1


def test_a_source_is_written_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert builtin_source("xor") == "xor:rows=500,noise=0.1,seed=0"
    assert builtin_source(" xor") is None
    assert builtin_source("iris") == "iris"
    assert str(Teaching.of(builtin_source("spirals: noise = 0 , rows=20"))) == "spirals:rows=20,noise=0,seed=0"
    (tmp_path / "xor").write_text("a,b\n")
    assert builtin_source("xor") is None


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("xor:row=5", "the options of xor are rows, noise, seed, got 'row=5'; did you mean rows=...?"),
        ("xor:big", "got 'big'; use for instance data='xor:rows=500'"),
        ("xor:rows=5", "rows must be a whole number from 10 to 10,000,000, got '5'; use rows=10"),
        ("xor:noise=30%", "noise must be a number from 0 to 1, got '30%'; use noise=0.1"),
        ("xor:seed=-1", "seed must be a whole number from 0 to 4,294,967,295, got '-1'; use seed=0"),
        ("xor:seed=1,seed=2", "an option of xor is given once, got seed twice; leave one away"),
    ],
)
def test_wrong_options_are_refused(source, reason):
    with pytest.raises(DataError) as refusal:
        builtin_source(source)
    assert reason in str(refusal.value)
