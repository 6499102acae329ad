"""Encoding: fitted on the train rows only, with missing values, unseen categories and rare ones."""

import numpy as np
import pandas as pd
import pytest

from hpo.data.earlier import MAX_CATEGORIES, encode
from hpo.study.facts import InputColumn

ALL = np.arange(40)
TRAIN, REST = ALL[:20], ALL[20:]
NUMBER, TEXT = InputColumn(name="number", kind="numeric"), InputColumn(name="text", kind="text")
OTHER = InputColumn(name="other", kind="numeric")


def frame(**changes):
    """40 rows: numbers from -1 to 1 and the texts a, b in turn; `changes` maps a column to {row: value}."""
    data = pd.DataFrame({"number": np.linspace(-1, 1, 40), "text": pd.Series(["a", "b"] * 20, dtype=object)}, index=ALL)
    for name, values in changes.items():
        data.loc[list(values), name] = list(values.values())
    return data


def test_numbers_are_standardized_on_the_train_rows():
    encoded = encode(frame(), [NUMBER], TRAIN)
    assert encoded.dtype == np.float32
    assert encoded.shape == (40, 1)
    assert encoded[TRAIN].mean() == pytest.approx(0, abs=1e-6)
    assert encoded[TRAIN].std() == pytest.approx(1, abs=1e-6)
    assert encoded[REST].min() > encoded[TRAIN].max()


def test_texts_are_one_input_per_category():
    assert encode(frame(), [TEXT], TRAIN).tolist() == [[1, 0], [0, 1]] * 20


@pytest.mark.parametrize("value", [1e6, np.nan])
def test_other_rows_never_change_the_encoding_of_train_rows(value):
    changed = frame(number=dict.fromkeys(REST, value), text=dict.fromkeys(REST, "unseen"))
    columns = [NUMBER, TEXT]
    assert np.array_equal(encode(frame(), columns, TRAIN)[TRAIN], encode(changed, columns, TRAIN)[TRAIN])


def test_a_row_drawn_twice_counts_twice():
    data = pd.DataFrame({"number": [0.0, 3.0, 9.0, np.nan]})
    once = encode(data, [NUMBER], np.array([0, 1]))  # mean 1.5, deviation 1.5, median 1.5
    assert once.ravel() == pytest.approx([-1, 1, 5, 0])
    twice = encode(data, [NUMBER], np.array([0, 0, 1]))  # mean 1, deviation √2, median 0
    assert twice.ravel() == pytest.approx(np.array([-1, 2, 8, -1]) / np.sqrt(2))


def test_missing_numbers_become_the_median_and_are_marked():
    encoded = encode(frame(number={3: np.nan, 5: np.nan, 30: np.nan}), [NUMBER], TRAIN)
    assert encoded.shape == (40, 2)
    assert np.isfinite(encoded).all()
    median = np.median(np.delete(encoded[TRAIN, 0], [3, 5]))
    assert encoded[[3, 5, 30], 0] == pytest.approx([median] * 3)
    marked = encoded[:, 1] > 0
    assert np.flatnonzero(marked).tolist() == [3, 5, 30]


def test_numbers_missing_in_other_rows_only_get_no_mark():
    encoded = encode(frame(number={30: np.nan}), [NUMBER], TRAIN)
    assert encoded.shape == (40, 1)
    assert encoded[30, 0] == pytest.approx(np.median(encoded[TRAIN]))


def test_missing_text_is_a_category_of_its_own():
    encoded = encode(frame(text={0: None, 30: None}), [TEXT], TRAIN)
    assert encoded.shape == (40, 3)
    assert encoded.sum(axis=1).tolist() == [1] * 40
    assert np.array_equal(encoded[0], encoded[30])
    assert not np.array_equal(encoded[0], encoded[2])


def test_unseen_text_gives_zeros():
    encoded = encode(frame(text={30: "unseen"}), [TEXT], TRAIN)
    assert encoded.shape == (40, 2)
    assert encoded[30].tolist() == [0, 0]


def test_rare_texts_share_an_input_with_unseen_ones():
    texts = [f"c{number % 60}" for number in range(600)] + [f"rare{number}" for number in range(100)]
    data = pd.DataFrame({"text": pd.Series([*texts, "unseen"], dtype=object)})
    encoded = encode(data, [TEXT], np.arange(700))
    assert encoded.shape == (701, MAX_CATEGORIES)
    assert encoded.sum(axis=1).tolist() == [1] * 701
    assert np.array_equal(encoded[650], encoded[699])
    assert np.array_equal(encoded[650], encoded[700])


@pytest.mark.parametrize("column", [NUMBER, TEXT])
@pytest.mark.parametrize("missing", [True, False])
def test_inputs_that_are_the_same_in_all_train_rows_are_left_out(column, missing):
    same = {NUMBER: np.nan, TEXT: None}[column] if missing else {NUMBER: 7.0, TEXT: "same"}[column]
    data = frame(**{column.name: dict.fromkeys(TRAIN, same)}).assign(other=np.arange(40.0))
    encoded = encode(data, [column, OTHER], TRAIN)
    assert np.array_equal(encoded, encode(data, [OTHER], TRAIN))
