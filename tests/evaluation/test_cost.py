"""What training costs, by parameters and epochs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.evaluation.cost import training_cost


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.lists(st.integers(0, 199), min_size=1, max_size=5))
def test_cost_grows_with_the_network_and_with_its_epochs(parameters, others, best_epochs):
    small, large = sorted((parameters, others))
    assert training_cost(small, best_epochs, 10) <= training_cost(large, best_epochs, 10)
    assert training_cost(small, best_epochs, 10) < training_cost(small, [e + 1 for e in best_epochs], 10)
    assert training_cost(small, best_epochs * 2, 10) == pytest.approx(training_cost(small, best_epochs, 10))
