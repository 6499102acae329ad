"""The benchmark's peers search the same space and write what compare reads."""

import json

import numpy as np
import pytest
from hpo_spaces.mlp import MLP


def test_random_points_are_in_the_space_and_repeat(load):
    points = load("points")
    first = points.random_points(MLP, 20, seed=3)
    assert first == points.random_points(MLP, 20, seed=3)
    assert first != points.random_points(MLP, 20, seed=4)
    for point in first:
        MLP.encode(point.params)


def test_points_file_is_read_back(load, tmp_path, capsys, monkeypatch):
    points = load("points")
    monkeypatch.setattr("sys.argv", ["points.py", "--count", "3", "--seed", "5"])
    points.main()
    file = tmp_path / "points.json"
    file.write_text(capsys.readouterr().out)
    assert points.read_points(file.read_text()) == points.random_points(MLP, 3, seed=5)


def test_log_keeps_the_best_finite_value(load, tmp_path):
    points = load("points")
    log = points.TrialLog(tmp_path / "lines.jsonl")
    log.finish_trial({"a": 1}, [0.5, 0.7])
    log.finish_trial({"a": 2}, [0.1, np.nan])
    log.finish_trial({"a": 3}, [0.8, 0.8])
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [line["value"] for line in lines] == [0.6, None, 0.8]
    assert [line["best"] for line in lines] == [0.6] * 3
    assert [line["number"] for line in lines] == [0, 1, 2]
    assert lines[1]["losses"] == [0.1, None]
    assert 0 < lines[0]["since_start"] <= lines[2]["since_start"]


@pytest.mark.slow
def test_optuna_peer_suggests_the_space(load):
    import optuna

    plain_keras = load("plain_keras")
    params = MLP.decode([0.5] * MLP.size)
    trial = optuna.trial.FixedTrial(params)
    assert plain_keras.suggest(trial) == params
    assert trial.distributions == MLP.distributions()


@pytest.mark.slow
def test_keras_tuner_peer_suggests_the_space(load):
    import keras_tuner

    peer = load("keras_tuner_peer")
    hp = keras_tuner.HyperParameters()
    MLP.encode(peer.suggest(hp))
    spans = {d.name: d for d in hp.space}
    for dimension in MLP.dimensions:
        peer_dimension = spans[dimension.name]
        if dimension.name == "activation":
            assert tuple(peer_dimension.values) == dimension.choices
        else:
            ends = [peer_dimension.prob_to_value(p) for p in (1e-9, 0.5, 1 - 1e-9)]
            ours = [dimension.decode([p]) for p in (1e-9, 0.5, 1 - 1e-9)]
            assert ends == pytest.approx(ours, abs=1e-6)
