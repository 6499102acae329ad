"""Numbers and dates in texts: which formats are read, and what is not guessed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.cli.errors import CommandLine
from hpo.data.parsing import Parsed, Unread, dates_of, numbers_of
from hpo.errors import written


def read(texts, reader=numbers_of, **more):
    return reader(texts, [1] * len(texts), **more)


@pytest.mark.parametrize(
    ("texts", "values", "how"),
    [
        (["1", "-2.5", "+3e2", ".5", "7."], [1, -2.5, 300, 0.5, 7], ""),
        (["$1,463.87", "$12", "-$5"], [1463.87, 12, -5], "numbers with '$'"),
        (["1.234,56 €", "0,5 €", "12 €"], [1234.56, 0.5, 12], "numbers with decimal commas; numbers with '€'"),
        (["12%", "3.5 %"], [12, 3.5], "numbers with '%'"),
        (["998 CC", "1248 cc"], [998, 1248], "numbers with 'CC'"),
        (["1 234", "12\u00a0345\u202f678", "5"], [1234, 12345678, 5], ""),
        (["1'234.5", "7"], [1234.5, 7], ""),
        (["3,14", "2,5", "1,234"], [3.14, 2.5, 1.234], "numbers with decimal commas"),
        (["1,234", "1500"], [1.234, 1500], "numbers with decimal commas"),
        (["1,234,567", "1,000"], [1234567, 1000], ""),
        (["0,123", "1,234"], [0.123, 1.234], "numbers with decimal commas"),
        (["1.234.567", "1.000"], [1234567, 1000], "numbers with decimal commas"),
        (["\u22125", "5"], [-5, 5], ""),
    ],
)
def test_fault_62_numbers_in_texts(texts, values, how):
    found = read(texts)
    assert isinstance(found, Parsed)
    assert (found.values.tolist(), found.words, found.how) == (values, (), how)


def test_commas_that_may_mean_either_are_noted():
    """Fault 53: nothing is guessed silently, and a person can say what is meant."""
    texts = ["1,234", "5,678"]
    assert read(texts).values.tolist() == [1234, 5678]
    assert written(read(texts).how, CommandLine()).endswith("where they are decimal ones, use --kind COLUMN=number:,")
    assert read(["$1,234"]).how == "numbers with '$'"
    assert read(texts, mark=",").values.tolist() == [1.234, 5.678]


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "b"],
        ["5 kg", "3 m"],
        ["5 kg", "3"],
        ["1-2", "3-4"],
        ["12/05/2020"],
        ["1,23,456.7"],
        ["1.5", "1.234,5"],
        ["3+", "1"],
        ["192.168.0.1"],
        ["1", "2", "one", "two", "three", "four"],
        ["1", "x"],
    ],
)
def test_other_texts_are_no_numbers(texts):
    assert isinstance(read(texts), Unread)


def test_few_words_beside_numbers_are_missing():
    """Fault 62."""
    likely = numbers_of(["1", "2", "?", "Unknown"], [1, 1, 50, 50])
    assert (likely.words, np.isnan(likely.values).tolist()) == (("?", "Unknown"), [False, False, True, True])
    assert numbers_of(["1", "2", "rotary"], [50, 50, 10]).words == ("rotary",)
    assert numbers_of(["1", "2", "rotary"], [50, 50, 20]).misfits == ("rotary",)


@pytest.mark.parametrize(
    ("texts", "first", "how"),
    [
        (["2024-01-31", "2023-12-01"], "2024-01-31", ""),
        (["2024-01-31T10:20:30Z", "2024-01-31 10:20"], "2024-01-31T10:20:30", ""),
        (["31.01.2024", "?"], "2024-01-31", "dates are read as %d.%m.%Y"),
        (["31/01/2024 10:20", "01/02/2024 00:00"], "2024-01-31T10:20", "dates are read as %d/%m/%Y %H:%M"),
        (["Jan 31, 2024"], "2024-01-31", "dates are read as %b %d, %Y"),
    ],
)
def test_fault_62_dates_in_texts(texts, first, how):
    found = read(texts, dates_of)
    assert (found.values[0], found.values.dtype, found.how) == (np.datetime64(first, "s"), "datetime64[s]", how)


def test_dates_that_may_mean_either_are_left_as_texts_with_the_choice():
    found = read(["01/02/2024", "03/04/2024"], dates_of)
    assert isinstance(found, Unread)
    hint = written(found.hint, CommandLine())
    assert hint == "texts that may be dates (--kind COLUMN=date:%d/%m/%Y or --kind COLUMN=date:%m/%d/%Y)"
    asked = read(["01/02/2024", "03/04/2024"], dates_of, form="%d/%m/%Y")
    assert asked.values[0] == np.datetime64("2024-02-01")


@given(st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, 2)), min_size=1, max_size=20))
def test_numbers_are_the_same_in_every_custom(values):
    """What is written with separators of thousands, a unit or a decimal comma is the number that was meant."""
    plain = [f"{value:,.2f}" for value in values]
    swapped = [text.translate(str.maketrans(",.", ".,")) for text in plain]
    spaced = [text.replace(",", "\u202f") for text in plain]
    for texts in (plain, swapped, spaced, [f"{text} km" for text in plain], [f"€ {text}" for text in swapped]):
        assert read(texts).values.tolist() == values


@given(st.lists(st.datetimes(pd.Timestamp("1700-01-01"), pd.Timestamp("2200-01-01")), min_size=1, max_size=20))
def test_dates_are_the_same_as_they_were_written(times):
    seconds = [np.datetime64(time, "s") for time in times]
    assert read([time.isoformat() for time in times], dates_of).values.tolist() == np.array(seconds).tolist()
