"""Times as people write them."""

import math

import pytest

from hpo.errors import StudyError
from hpo.study.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), (" 2 H ", 7200), ("1d", 86400), ("none", math.inf), ("0.25", 0.25)],
)
def test_units(text, seconds):
    assert seconds_of(text, "--time-limit") == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1h30m", "soon", "1e400", "nan", "inf", "9" * 400, "５m"])
def test_others_are_refused_naming_the_option(text):
    with pytest.raises(StudyError, match="--time-limit must be a time above 0, or none, got"):
        seconds_of(text, "--time-limit")
