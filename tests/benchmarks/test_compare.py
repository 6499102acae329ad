"""compare.py sets like against like: the same trials, replicates, network and stopping rule on every side."""

import argparse
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hpo_spaces.mlp import MLP

from hpo.network.architecture import Architecture


@pytest.fixture
def table(tmp_path) -> Path:
    """Two classes that a small network tells apart."""
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 4))
    frame = pd.DataFrame(x, columns=list("abcd")).assign(target=(x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int))
    path = tmp_path / "easy.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def prepared(load, table, tmp_path):
    """The folder of its replicates, and these."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    return folder, load("points").prepare(table, "target", 0, folder)


def small(**changes) -> Architecture:
    settings = {"widths": (20,), "activation": "relu", "initializer": "he_normal", "dropout": 0.0}
    return Architecture(**{**settings, "learning_rate": 0.01, "batch_size": 32, **changes})


def point(load, **changes):
    params = {**MLP.decode([0.1] * MLP.size), "learning_rate": 0.01, "activation": "relu", "batch_exponent": 5}
    return load("points").Point(seed=0, params={**params, **changes})


@pytest.fixture
def torch_python() -> Path:
    if python := os.environ.get("HPO_TORCH_PYTHON"):
        return Path(python)
    pytest.skip("needs torch: HPO_TORCH_PYTHON names no Python that has PyTorch, numpy and optuna")


@pytest.fixture
def options(table, tmp_path) -> argparse.Namespace:
    """As the command line has them; the lines of plain Keras are kept."""
    kept = tmp_path / "kept"
    kept.mkdir()
    return argparse.Namespace(
        table=[table], target="target", backend="tensorflow", kept=kept, torch_python=None, output=tmp_path / "out",
        peers=("keras", "torch", "torch-threads", "sklearn"), count=None, peer_trials=2, seeds=1, torch_seeds=1,
        most_trials=20, torch_minutes=1.0, report="replicate", no_starts=False,
    )  # fmt: skip


def keep_lines(options, *lines) -> None:
    text = "".join(json.dumps({"seconds": 10.0, "cpu_seconds": 8.0, **line}) + "\n" for line in lines)
    (options.kept / f"{options.table[0].stem}.jsonl").write_text(text)


def test_the_loss_of_trials_is_compared_in_pairs(load):
    compare = load("compare")
    theirs = compare.Side(10.0, [[0.5, 0.7], None, [0.4], [0.2], [9.0]])
    ours = compare.Side(1.0, [[0.7], [0.1], [0.6], None, [0.3]])
    result = compare.paired(theirs, ours)
    assert result["pairs"] == 2
    assert result["peer_loss"] == pytest.approx(0.5)
    assert result["hpo_loss"] == pytest.approx(0.65)
    assert result["difference"] == pytest.approx(0.15)
    assert result["error"] == pytest.approx(0.05)


def test_trials_that_no_side_ended_have_no_mean_loss(load):
    compare = load("compare")
    assert np.isnan(compare.paired(compare.Side(1.0, [None]), compare.Side(1.0, [[0.1]]))["difference"])


def test_times_of_plain_keras_are_of_its_processor_where_that_is_less(load):
    compare = load("compare")
    lines = [
        {"value": 0.6, "seconds": 20.0, "cpu_seconds": 12.0, "since_start": 25.0},
        {"value": 0.4, "seconds": 10.0, "cpu_seconds": 15.0, "since_start": 35.0},
        {"value": None, "seconds": 7.0, "cpu_seconds": 7.0, "since_start": 42.0},
    ]
    assert compare.keras_times(lines) == (0.4, 34.0, 27.0)
    side = compare.keras_side(lines)
    assert (side.seconds, side.losses) == (29.0, [[0.6], [0.4], None])


def test_a_median_of_runs_that_did_not_get_there_is_a_bound(load):
    compare = load("compare")
    ends = [{"reached": reached, "seconds": seconds, "trials": 9} for reached, seconds in ((1, 3), (0, 60), (0, 61))]
    assert compare.medians(ends)["median"] == np.inf
    assert compare.medians(ends)["at_least"] == 60
    assert compare.medians(ends[:1])["median"] == 3


def test_stopping_is_that_of_the_engine(load):
    from hpo.engine.fit import _Progress

    processes = load("processes")
    protocol = processes.PROTOCOL
    random = np.random.default_rng(1)
    for _ in range(50):
        curve = np.exp(-np.arange(200) / 15) + random.normal(0, 0.02, 200)
        stopping, progress = processes.EarlyStopping(), _Progress()
        for epoch, loss in enumerate(curve):
            goes_on = stopping.goes_on(loss, lambda epoch=epoch: epoch)
            progress.observe(loss, protocol.min_delta)
            assert goes_on == (progress.waited < protocol.patience)
            if not goes_on:
                break
        assert stopping.weights == progress.best_epoch
    assert not processes.EarlyStopping().goes_on(np.nan, list)


def test_a_trial_ends_at_its_first_loss_that_is_not_finite(load, prepared):
    processes = load("processes")
    asked = []

    def train(architecture, table, replicate, seed, slot):
        asked.append(replicate)
        return 0.5 if replicate < 2 else np.inf

    assert processes.evaluate(train, point(load).params, prepared[1], 0, 0) is None
    assert asked == [0, 1, 2]


def test_groups_hold_small_networks_and_those_that_mlpclassifier_can_express(load, options, prepared):
    compare = load("compare")
    wide, narrow = {"neuron_percent": 1.0, "neuron_shrink": 0.99}, {"neuron_percent": 0.05}
    points = [
        point(load, **wide, activation="elu", dropout=0.2),
        point(load, **narrow, activation="tanh", dropout=0.3),
        point(load, **narrow, activation="prelu"),
    ]
    keep_lines(options, *({"params": p.params, "value": v} for p, v in zip(points, (0.5, 0.6, None), strict=True)))
    runs = compare.TableRuns(options.table[0], "target", prepared[0], "tensorflow", None)
    whole, small_ones, plain = compare.groups(options, runs, prepared[1])
    assert list(whole.points) == points[:2]
    assert whole.peers["keras"](whole.points).seconds == 16.0
    assert list(small_ones.points) == points[1:2]
    assert small_ones.peers["keras"](small_ones.points).losses == [[0.6]]
    assert set(whole.peers) == {"keras"}
    assert set(plain.peers) == {"sklearn"}
    assert [p.params for p in plain.points] == [{**points[1].params, "dropout": 0.0}]


def test_torch_that_is_absent_is_named_with_the_remedy(load, tmp_path):
    sides = load("sides")
    assert "pip install torch" in sides.torch_missing(None)
    assert "nowhere" in sides.torch_missing(tmp_path / "nowhere")


def test_kept_lines_of_plain_keras_can_be_read(load):
    compare = load("compare")
    files = list(compare.KEPT.glob("*.jsonl"))
    assert files
    for file in files:
        lines = compare.kept_lines(compare.KEPT, file)
        for line in lines:
            MLP.encode(line["params"])
        loss, whole, found = compare.keras_times(lines)
        assert loss > 0
        assert 0 < found <= whole


def test_seconds_of_hpo_count_from_the_mean_start_of_its_trainers(load, monkeypatch):
    hpo_side = load("hpo_side")
    clock, now = hpo_side.Clock(), iter([3.0, 5.0, 9.0])
    monkeypatch.setattr(hpo_side, "seconds_since_start", lambda: next(now))
    for running in (0, 1, 1, 2, 1, 2):
        clock.update(argparse.Namespace(running=[None] * running))
    clock.trial(None, None)
    assert (clock.starts, clock.end) == ([3.0, 5.0], 9.0)


@pytest.mark.slow
def test_plain_keras_has_one_output_for_two_classes(load, prepared):
    plain_keras = load("plain_keras")
    model = plain_keras.make_model(small(), prepared[1], seed=0)
    assert model.output_shape == (None, 1)
    assert model.loss.name == "binary_crossentropy"
    loss = plain_keras.train_replicate(small(), prepared[1], prepared[1].replicates[0], seed=0)
    assert loss < 0.8 * prepared[1].prior_loss


@pytest.mark.slow
def test_mlpclassifier_learns_and_gives_up_where_it_diverges(load, prepared):
    sklearn_peer = load("sklearn_peer")
    assert sklearn_peer.train_replicate(small(), prepared[1], 0, 0, 0) < 0.8 * prepared[1].prior_loss
    with np.errstate(all="ignore"):
        assert np.isnan(sklearn_peer.train_replicate(small(learning_rate=1e30), prepared[1], 0, 0, 0))


@pytest.mark.slow
def test_sides_train_the_same_trials(load, options, prepared, capsys):
    """hpo and MLPClassifier in processes of their own; the mean losses are alike."""
    compare = load("compare")
    keep_lines(options, *({"params": point(load, dropout=d).params, "value": 0.3} for d in (0.1, 0.2)))
    options.peers = ("keras", "sklearn")
    compare.compare_trials(options)
    results = [json.loads(line) for line in options.output.read_text().splitlines()]
    assert [(r["peer"], r["trials"], r["pairs"]) for r in results] == [
        ("keras", 2, 2),
        ("keras", 2, 2),
        ("sklearn", 2, 2),
    ]
    assert abs(results[-1]["difference"]) < 0.1
    assert "geometric means" in capsys.readouterr().out


@pytest.mark.slow
def test_quality_is_timed_until_the_loss_is_reached(load, options, capsys):
    compare = load("compare")
    lines = [{"params": {}, "value": value, "since_start": 12.0} for value in (0.6, 0.5)]
    keep_lines(options, *lines)
    options.torch_seeds = 0
    compare.compare_quality(options)
    result = json.loads(options.output.read_text())
    assert result["loss"] == 0.5
    assert result["hpo"]["reached"] == [True]
    assert "plain Keras / hpo" in capsys.readouterr().out


@pytest.mark.slow
def test_pytorch_loses_as_much_as_hpo_and_reaches_a_loss(load, options, prepared, torch_python):
    """The whole peer; small networks from the same initial weights end alike."""
    sides = load("sides")
    runs = sides.TableRuns(options.table[0], "target", prepared[0], "tensorflow", torch_python)
    points = [point(load, neuron_percent=p, dropout=0.0) for p in (0.1, 0.2, 0.4)]
    theirs, ours = runs.torch(points, processes=2, threads=1), runs.hpo(points)
    assert np.mean(theirs.losses) == pytest.approx(np.mean(ours.losses), abs=0.03)
    end = runs.torch_until(loss=0.5, seed=0, trials=20, minutes=2, report="replicate")
    assert end["reached"]
    assert end["best"] <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("report", ["replicate", "epoch"])
def test_pytorch_ends_with_its_budget_and_prunes(load, prepared, table, torch_python, report):
    runs = load("sides").TableRuns(table, "target", prepared[0], "tensorflow", torch_python)
    end = runs.torch_until(loss=0.0, seed=0, trials=12, minutes=3, report=report)
    assert not end["reached"]
    assert end["trials"] == 12
    assert end["pruned"] > 0


@pytest.mark.slow
def test_pytorch_has_the_layers_of_keras(torch_python):
    """Every activation of the space, from the same weights, in evaluation and training."""
    program = Path(__file__).parent / "torch_layers.py"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'benchmarks'}"}
    done = subprocess.run([torch_python, program], check=True, stdout=subprocess.PIPE, text=True, env=environment)
    theirs = json.loads(done.stdout)

    import keras

    from hpo.network.initializers import INITIALIZERS
    from hpo.network.keras_model import build_keras_model
    from hpo.seeds import generator

    x = generator(0, "sample").standard_normal((8, 5), dtype=np.float32)
    for activation, logits in theirs.items():
        model = build_keras_model(small(widths=(6, 4), activation=activation, initializer="he_normal"), 5, 3)
        random = generator(0, "weights")
        for layer, kind in zip([n for n in model.layers if isinstance(n, keras.layers.Dense)], "hho", strict=True):
            shape = layer.kernel.shape
            draw = INITIALIZERS["he_normal" if kind == "h" else "glorot_uniform"](random, *shape)
            layer.set_weights([draw, np.zeros(shape[1])])
        np.testing.assert_allclose(np.array(logits), np.asarray(model(x)), rtol=1e-4, atol=1e-5)
