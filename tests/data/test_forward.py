"""Rows in time, by the properties of their division, and what is said and refused of them."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.data.forward import forward, forward_notes, times_of
from hpo.data.source import Source
from hpo.data.table import build_table
from hpo.errors import DataError
from hpo.settings import EvaluationSpec

PARTS = ("train", "stop", "score")
properties = settings(max_examples=100, deadline=None)


def evaluation(**changes):
    return EvaluationSpec(method="forward", time="when", **{"replicates": 3, **changes})


def divided(moments, **changes):
    return forward(times_of(pd.Series(moments), "when"), evaluation(**changes))


@st.composite
def moments(draw):
    """Times in any order, several rows of one time among them, and a number of replicates that they suffice for."""
    replicates = draw(st.integers(1, 6))
    sizes = draw(st.lists(st.integers(1, 9), min_size=replicates + 2, max_size=40))
    rows = np.repeat(np.arange(len(sizes)) * 1.5, sizes)
    return np.random.default_rng(draw(st.integers(0, 999))).permutation(rows), replicates


@given(moments(), st.sampled_from([0.05, 0.1, 0.4]), st.sampled_from([0.05, 0.8]), st.sampled_from(["stop", "score"]))
@properties
def test_what_is_scored_is_later_than_all_that_was_trained_or_stopped_on(data, stop, score, stop_on):
    times, replicates = data
    parts = divided(times, replicates=replicates, stop_fraction=stop, score_fraction=score, stop_on=stop_on)
    assert len(parts) == replicates
    for part in parts:
        assert min(len(part.train), len(part.stop), len(part.score)) > 0
        if stop_on == "score":
            assert np.array_equal(part.stop, part.score)
            assert times[part.train].max() < times[part.score].min()
        else:
            assert times[part.train].max() < times[part.stop].min()
            assert times[part.stop].max() < times[part.score].min()
        assert all(np.all(np.diff(getattr(part, name)) > 0) for name in PARTS)


@given(moments())
@properties
def test_blocks_follow_each_other_to_the_end_and_all_rows_before_one_are_used(data):
    times, replicates = data
    parts = divided(times, replicates=replicates)
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        used = np.concatenate([part.train, part.stop, part.score])
        assert len(set(used.tolist())) == len(used)
        later = set(range(len(times))) - set(used.tolist())
        if after is None:
            assert not later
        else:
            assert set(after.train.tolist()) | set(after.stop.tolist()) == set(used.tolist())


def test_the_last_half_is_scored_in_blocks_and_a_tenth_of_what_is_before_stops():
    parts = divided(np.arange(100)[::-1], replicates=5)
    assert [(len(part.train), len(part.stop), len(part.score)) for part in parts] == [
        *((45, 5, 10), (54, 6, 10), (63, 7, 10), (72, 8, 10), (81, 9, 10)),
    ]
    (one,) = divided(np.arange(100), replicates=1)  # a single block is no more than the score fraction
    assert (len(one.train), len(one.stop), len(one.score)) == (72, 8, 20)


TEXTS = ["2024-01-31", " 2024-02-01", "2024-02-01 12:30", "2024-02-01T12:31:00", "2024-10-01"]


@pytest.mark.parametrize(
    "given",
    [
        pd.Series(TEXTS),
        pd.Series(TEXTS, dtype="string[pyarrow]"),
        pd.Series(TEXTS).astype("category"),
        pd.to_datetime(pd.Series(TEXTS).str.strip(), format="ISO8601"),
        pd.to_datetime(pd.Series(TEXTS).str.strip(), format="ISO8601").dt.tz_localize("Europe/Berlin"),
        pd.Series([datetime.date(2024, month, 1) for month in range(1, 6)], dtype=object),
        pd.Series([9, 10, 11, 100, 1000]),
        pd.Series(["9", "10.5", "11", "1e2", "1000"]),
        pd.Series([True, True, True, True, True]).cumsum().astype("Int64"),
    ],
)
def test_dates_and_numbers_are_put_in_their_order(given):
    assert times_of(given, "when").ranks.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["2024-01-01", None, None], "every row needs a time, column 'when' has none in 2 rows; fill these in"),
        (
            ["2024-01-01", "1 May", "x"],
            r"column 'when' holds '1 May' in row 2; say how they are written with kind=",
        ),
        (["2024-01-01", "2024-02-30"], "holds '2024-02-30' in row 2"),
    ],
)
def test_other_columns_are_refused(given, message):
    with pytest.raises(DataError, match=message):
        times_of(pd.Series(given), "when")


@pytest.mark.parametrize(
    ("times", "replicates", "message"),
    [(6, 5, "7 for replicates=5, got 6 different ones; use replicates=4"), (2, 1, "got 2 different ones; use another")],
)
def test_too_few_times_are_refused_with_what_can_be_done(times, replicates, message):
    with pytest.raises(DataError, match=message):
        divided(np.arange(100) % times, replicates=replicates)


def table(labels, **changes):
    frame = pd.DataFrame({"x": np.arange(100) % 7, "when": np.arange(100) + 2000, "y": labels})
    return build_table(Source("t.csv", frame, ""), "y", evaluation(**changes))


def notes_of(built, **changes):
    return forward_notes(built.times, built.target, forward(built.times, evaluation(**changes)))


def test_the_time_is_no_input_and_the_division_is_told():
    built = table(["a", "b"] * 50)
    assert [column.name for column in built.columns] == ["x"]
    assert notes_of(built) == [
        "rows are divided by 'when': 3 blocks from 2050 on are scored, each after training on rows before it (45 to 75)"
    ]


def test_a_class_that_training_has_not_met_is_scored_and_told():
    assert notes_of(table(["a", "b"] * 27 + ["c", "b"] * 23))[1:] == [
        "replicate 1 is scored on rows of classes that it has not met in training: 'c'"
    ]


@pytest.mark.parametrize("labels", [["a"] * 60 + ["b"] * 40, [0.0] * 60 + [0.5 + n for n in range(40)]])
def test_a_target_that_does_not_vary_before_a_block_is_refused(labels):
    with pytest.raises(DataError, match="the same in all 45 of replicate 1, which come before 2050; use fewer"):
        notes_of(table(labels))


def test_a_time_is_no_other_role():
    frame = pd.DataFrame({"x": np.arange(100) % 7, "y": np.arange(100) % 2})
    with pytest.raises(DataError, match="the time column must not be the target, got 'y'; use another time"):
        build_table(Source("t.csv", frame, ""), "y", EvaluationSpec(method="forward", time="y"))
