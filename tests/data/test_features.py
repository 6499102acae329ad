"""Inputs of networks: fitted on train rows, kept, and applied to other rows."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.data.features import ROWS_AT_ONCE, FeatureState, fit
from hpo.data.inputs import MAX_CATEGORIES
from hpo.data.rescaling import Scales
from hpo.errors import DataError
from hpo.network.architecture import SCALING_NAMES
from hpo.study.facts import InputColumn

SCALINGS = [name for name in SCALING_NAMES if name != "none"]
ALL = np.arange(40)
TRAIN, REST = ALL[:20], ALL[20:]


def encode(frame, columns, train):
    """What was learned from the train rows, and the inputs of all."""
    state = fit(frame, columns, train)
    return state, state.transform(frame)


def column(kind, name="x", **more):
    return InputColumn(name=name, kind=kind, **more)


def objects(values):
    return pd.Series(list(values), dtype=object)


def inputs(values, kind, train=None, scaling="standard", **more):
    """What a column of these values becomes, fitted on all rows or on those of `train`."""
    frame = pd.DataFrame({"x": values})
    rows = np.arange(len(frame)) if train is None else np.asarray(train)
    state, encoded = encode(frame, [column(kind, **more)], rows)
    assert encoded.dtype == np.float32
    assert np.array_equal(encoded, state.transform(frame))
    return state.scales.apply(scaling, encoded)


def mixed(rows=40, seed=0):
    """A frame with a column of each kind, some values missing, and its columns."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "number": np.where(random.random(rows) < 0.2, np.nan, random.normal(size=rows)),
            "code": random.integers(0, 4, rows).astype(float),
            "when": pd.Series(random.integers(0, 10**9, rows)).astype("datetime64[s]"),
            "yes": objects(random.choice(["no", "yes", None], rows)),
            "size": objects(random.choice(["S", "M", "L", None], rows)),
            "color": objects(random.choice(["red", "blue", None], rows)),
            "word": objects(f"w{n}" for n in random.integers(0, max(2, rows // 2), rows)),
        }
    )
    frame.loc[0, "when"] = pd.NaT
    kinds = {"number": "number", "when": "date", "yes": "boolean", "color": "category", "word": "text"}
    columns = [column(kind, name) for name, kind in kinds.items()]
    sized = column("ordered", "size", order=("S", "M", "L"))
    return frame, [*columns, column("number", "code", codes=True), sized]


def test_numbers_are_scaled_by_the_train_rows():
    encoded = inputs(np.linspace(-1, 1, 40), "number", TRAIN)
    assert encoded[TRAIN].mean() == pytest.approx(0, abs=1e-6)
    assert encoded[TRAIN].std() == pytest.approx(1, abs=1e-6)
    assert encoded[REST].min() > encoded[TRAIN].max()


def test_missing_numbers_become_the_median_and_are_marked():
    encoded = inputs([np.nan, 1, 2, 9], "number", scaling="robust")
    assert encoded[:, 1].tolist() == [1, 0, 0, 0]
    assert encoded[0, 0] == encoded[2, 0] == 0


def test_numbers_missing_in_other_rows_only_get_no_mark():
    assert inputs([5, 1, 2, 9, np.nan], "number", [0, 1, 2, 3]).shape == (5, 1)


def test_a_row_drawn_twice_counts_twice():
    encoded = inputs([0.0, 3.0], "number", [0, 0, 1])  # mean 1, deviation √2
    assert encoded.ravel() == pytest.approx(np.array([-1, 2]) / np.sqrt(2))


def test_codes_are_a_number_and_categories():
    encoded = inputs([1.0, 2, 7, np.nan, 3], "number", [0, 1, 2, 3], codes=True)
    assert encoded.shape == (5, 1 + 1 + 3)
    assert encoded[:, 2:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_booleans_are_one_input():
    assert inputs(objects(["no", "yes", "yes"]), "boolean").tolist() == [[-1], [1], [1]]
    assert inputs(objects(["no", None, "yes"]), "boolean").tolist() == [[-1, 0], [0, 1], [1, 0]]


def test_ordered_values_are_ranks_and_categories():
    encoded = inputs(objects(["L", "S", "M", None, "L"]), "ordered", order=("S", "M", "L"))
    assert encoded[:, 0].tolist() == [1, -1, 0, 0, 1]
    assert encoded[:, 1].tolist() == [0, 0, 0, 1, 0]
    assert encoded[:3, 2:].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_categories_are_an_input_each_and_one_for_missing():
    encoded = inputs(objects(["b", "a", None, "new"]), "category", [0, 1, 2])
    assert encoded.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("missing", [0, 3])
def test_rare_categories_share_an_input_with_unseen_ones(missing):
    values = [f"c{n % 60}" for n in range(600)] + [f"rare{n}" for n in range(100)] + [None] * missing
    encoded = inputs(objects([*values, "unseen"]), "category", np.arange(len(values)))
    assert encoded.shape == (len(values) + 1, MAX_CATEGORIES)
    assert encoded.sum(axis=1).tolist() == [1] * len(encoded)
    assert np.array_equal(encoded[650], encoded[699])
    assert np.array_equal(encoded[650], encoded[-1])


def test_dates_are_what_varies_of_them():
    years = pd.Series(pd.to_datetime(["2020-05-01", "2021-05-01", "2023-05-01"])).astype("datetime64[s]")
    year, age, *weekday = inputs(years, "date").T
    assert year == pytest.approx((np.array([-4, -1, 5]) / 3) / np.sqrt(14 / 9), abs=1e-6)
    assert age == pytest.approx(year, abs=1e-3)
    assert np.array(weekday) == pytest.approx(
        np.array([np.sin(2 * np.pi * np.array([4, 5, 0]) / 7), np.cos(2 * np.pi * np.array([4, 5, 0]) / 7)]), abs=1e-6
    )


def test_times_of_day_come_again():
    hours = pd.Series(pd.to_datetime(["2024-02-03 00:00", "2024-02-03 12:00", None])).astype("datetime64[s]")
    encoded = inputs(hours, "date")
    assert encoded[:, 1:] == pytest.approx(np.array([[0, 1, 0], [0, -1, 0], [0, 0, 1]]), abs=1e-6)


@pytest.mark.parametrize("kind", ["number", "date", "boolean", "ordered", "category", "text"])
@pytest.mark.parametrize("missing", [False, True])
def test_inputs_that_are_the_same_in_all_train_rows_are_left_out(kind, missing):
    frame, _ = mixed()
    values = frame[{"number": "number", "date": "when"}.get(kind, "color")].copy()
    values[TRAIN] = None if missing else values[values.first_valid_index()]
    assert inputs(values, kind, TRAIN).shape == (40, 0)


@pytest.mark.parametrize("scaling", SCALINGS)
@given(seed=st.integers(0, 10**6), rows=st.integers(2, 60))
@settings(max_examples=15)
def test_any_rows_are_finite_and_do_not_depend_on_their_order_or_that_of_columns(scaling, seed, rows):
    frame, columns = mixed(rows, seed)
    random = np.random.default_rng(seed)
    train, order = random.choice(rows, rows), random.permutation(rows)
    state, encoded = encode(frame, columns, train)
    encoded = state.scales.apply(scaling, encoded)
    assert np.isfinite(encoded).all()
    assert scaling == "standard" or np.abs(encoded).max(initial=0) <= 3.3
    moved = frame.iloc[order].reset_index(drop=True)[list(frame.columns[::-1])]
    again, same = encode(moved, columns, np.argsort(order)[train])
    assert np.array_equal(again.scales.apply(scaling, same), encoded[order])
    assert again.to_json()[0] == state.to_json()[0]


def test_a_state_is_the_same_after_a_round_trip(tmp_path):
    frame, columns = mixed(400)
    state, _ = encode(frame, columns, ALL)
    state.save(tmp_path / "features.0")
    kept = FeatureState.load(tmp_path / "features.0")
    assert json.loads(json.dumps(state.to_json()[0])) == json.loads(json.dumps(kept.to_json()[0]))
    assert kept.columns == state.columns
    assert np.array_equal(kept.transform(frame), state.transform(frame))
    state.scales.save(tmp_path / "scales.npz")
    scales = Scales.load(tmp_path / "scales.npz")
    for scaling in SCALINGS:
        scaled = [each.apply(scaling, state.transform(frame)) for each in (scales, kept.scales)]
        assert np.array_equal(*scaled)


def test_many_rows_are_as_few():
    frame, columns = mixed()
    state, few = encode(frame, columns, ALL)
    many = pd.concat([frame] * (ROWS_AT_ONCE // 40 + 2), ignore_index=True)
    encoded = state.transform(many)
    assert len(encoded) > ROWS_AT_ONCE
    assert np.array_equal(encoded, np.resize(few, encoded.shape))


def test_fault_30_other_rows_may_have_unseen_categories_and_reordered_columns():
    frame, columns = mixed()
    state, encoded = encode(frame, columns, TRAIN)
    rows = frame.assign(more=1)[["more", *frame.columns[::-1]]]
    assert np.array_equal(state.transform(rows), encoded)
    unseen = state.transform(frame.assign(color="green", size="XL", yes="perhaps", code=9.0))
    assert np.isfinite(unseen).all()


def test_fault_30_rows_as_text_are_read_as_those_of_training():
    frame, columns = mixed()
    state, encoded = encode(frame, columns, TRAIN)
    rows = pd.DataFrame({name: frame[name].astype("string") for name in frame})
    assert np.array_equal(state.transform(rows), encoded)
    numbered = pd.DataFrame({"x": objects(["1", "2", "1"])})
    state, encoded = encode(numbered, [column("category")], np.arange(3))
    assert np.array_equal(state.transform(pd.DataFrame({"x": [1.0, 2.0, 1.0]})), encoded)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows.drop(columns=["size", "code"]), "'code', 'size' are missing; add them"),
        (
            lambda rows: rows.assign(number=["1", None, "many", *["2"] * 37]),
            "column 'number' must hold numbers, as in training, row 3 has 'many'; correct it",
        ),
        (lambda rows: rows.assign(when=["2024-01-01"] * 39 + ["soon"]), "row 40 has 'soon'"),
    ],
)
def test_fault_30_rows_that_cannot_be_read_are_refused(change, reason):
    frame, columns = mixed()
    state, _ = encode(frame, columns, TRAIN)
    with pytest.raises(DataError) as raised:
        state.transform(change(frame))
    assert reason in raised.value.marked


@pytest.mark.parametrize("scaling", SCALINGS)
def test_fault_50_other_rows_with_absurd_numbers_are_clipped(scaling):
    state, _ = encode(pd.DataFrame({"x": np.arange(40.0)}), [column("number")], TRAIN)
    rows = state.transform(pd.DataFrame({"x": [1e20, -3.4e38, 1e300, np.inf, np.nan]}))
    absurd = state.scales.apply(scaling, rows)
    assert np.isfinite(absurd).all()
    assert np.abs(absurd).max() < 20
