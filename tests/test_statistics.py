"""Statistics of paired replicates."""

import pytest

from hpo.statistics import standard_error


def test_standard_error():
    assert standard_error([1.0]) is None
    assert standard_error([1.0, 3.0]) == pytest.approx(1.0)
