import json
import math

import optuna
import pytest
from hpo_spaces.dimensions import (
    LARGEST_INTEGER,
    Categorical,
    Dimension,
    Float,
    Integer,
    LogFloat,
    Ordered,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from hpo.errors import SpaceError

NUMBERS = st.floats(-1e100, 1e100, allow_subnormal=False)
POSITIVE = st.floats(1e-200, 1e200)
WHOLE = st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
CHOICES = st.lists(st.text(max_size=5) | st.booleans() | WHOLE | NUMBERS, min_size=1, max_size=9, unique_by=lambda x: x)


def within(kind, values):
    """A dimension of three numbers' range and a value inside it."""
    return st.lists(values, min_size=3, max_size=3).map(sorted).map(lambda x: (kind("x", x[0], x[2]), x[1]))


def chosen(kind):
    return CHOICES.flatmap(lambda c: st.tuples(st.just(kind("x", tuple(c))), st.sampled_from(c)))


FLOATS = within(Float, NUMBERS)
LOG_FLOATS = within(LogFloat, POSITIVE)
DISCRETE = within(Integer, WHOLE) | chosen(Ordered) | chosen(Categorical)
ANY = FLOATS | LOG_FLOATS | DISCRETE


def coordinates_of(dimension):
    return st.lists(st.floats(-0.5, 1.5), min_size=dimension.size, max_size=dimension.size)


@given(DISCRETE)
def test_discrete_values_survive_exactly(case):
    dimension, value = case
    decoded = dimension.decode(dimension.encode(value))
    assert decoded == value
    assert type(decoded) is type(value)


@given(within(Float, NUMBERS.map(abs)) | LOG_FLOATS)
def test_floats_survive_to_a_relative_1e_12(case):
    dimension, value = case
    assert math.isclose(dimension.decode(dimension.encode(value)), value, rel_tol=1e-12, abs_tol=1e-200)


@given(FLOATS)
def test_floats_of_either_sign_survive_to_1e_12_of_the_range(case):
    dimension, value = case
    width = max(dimension.high - dimension.low, abs(value))
    assert abs(dimension.decode(dimension.encode(value)) - value) <= 1e-12 * width + 1e-200


@given(ANY)
def test_coordinates_lie_in_the_unit_cube(case):
    dimension, value = case
    coordinates = dimension.encode(value)
    assert isinstance(dimension, Dimension)
    assert len(coordinates) == dimension.size
    assert all(0.0 <= c <= 1.0 for c in coordinates)


@given(ANY, st.data())
def test_any_coordinates_decode_to_a_value_of_the_dimension(case, data):
    dimension, _ = case
    value = dimension.decode(data.draw(coordinates_of(dimension)))
    dimension.encode(value)  # refuses what lies outside
    assert dimension.distribution()._contains(dimension.distribution().to_internal_repr(value))


@given(ANY)
def test_description_is_json_and_tells_dimensions_apart(case):
    dimension, _ = case
    description = dimension.describe()
    assert json.loads(json.dumps(description, allow_nan=False)) == description
    assert description["name"] == "x"
    kinds = {"float": Float, "log_float": LogFloat, "integer": Integer, "ordered": Ordered}
    kind = kinds.get(description.pop("kind"), Categorical)
    assert kind(**description) == dimension


@given(ANY)
def test_optuna_stores_the_distribution_and_the_value_unchanged(case):
    dimension, value = case
    distribution = dimension.distribution()
    stored = optuna.distributions.json_to_distribution(optuna.distributions.distribution_to_json(distribution))
    assert stored == distribution
    assert stored.to_external_repr(stored.to_internal_repr(value)) == value


@given(ANY)
def test_optuna_draws_values_of_the_dimension(case):
    dimension, _ = case
    if isinstance(dimension, Float | LogFloat):
        assume(dimension.high < 1e90)  # numpy's own generator overflows far above
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    params = study.ask(fixed_distributions={"x": dimension.distribution()}).params
    dimension.encode(params["x"])


@pytest.mark.parametrize(("dimension", "end"), [(Float("x", 0.98, 5.89), 5.89), (LogFloat("x", 0.09, 1.0), 0.09)])
def test_rounding_does_not_leave_the_range(dimension, end):
    """Without a clip these decode one unit in the last place too far."""
    assert dimension.decode(dimension.encode(end)) == end


def test_log_dimension_is_even_in_the_logarithm():
    rate = LogFloat("rate", 1e-4, 1.0)
    assert rate.encode(1e-4) == (0.0,)
    assert rate.encode(1e-2) == pytest.approx((0.5,))
    assert rate.encode(1.0) == (1.0,)


def test_float_is_even_in_the_number():
    assert [Float("x", -1.0, 3.0).encode(v) for v in (-1.0, 0.0, 3.0)] == [(0.0,), (0.25,), (1.0,)]


@pytest.mark.parametrize("dimension", [Integer("n", 4, 7), Ordered("n", ("a", "b", "c", "d"))])
def test_discrete_numbers_are_evenly_spaced_and_equally_likely(dimension):
    assert [dimension.encode(dimension.decode([c])) for c in (0.0, 0.3, 0.6, 1.0)] == [
        (0.125,),
        (0.375,),
        (0.625,),
        (0.875,),
    ]
    decoded = [dimension.decode([(i + 0.5) / 400]) for i in range(400)]
    assert {decoded.count(value) for value in set(decoded)} == {100}


def test_categorical_is_one_hot_and_decodes_to_the_largest():
    color = Categorical("color", ("red", "green", "blue"))
    assert color.size == 3
    assert color.encode("green") == (0.0, 1.0, 0.0)
    assert color.decode([0.2, 0.3, 0.9]) == "blue"
    assert color.decode([0.4, 0.4, 0.4]) == "red"


@pytest.mark.parametrize(
    "dimension", [Float("x", 2.0, 2.0), LogFloat("x", 2.0, 2.0), Integer("x", 2, 2), Ordered("x", (2,))]
)
def test_a_fixed_value_is_allowed(dimension):
    assert dimension.encode(2) == (0.5,)
    assert [dimension.decode([c]) for c in (0.0, 0.7, 1.0)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Float("x", 2.0, 1.0), "swap"),
        (lambda: Float("x", 0.0, math.inf), "finite"),
        (lambda: Float("x", math.nan, 1.0), "finite"),
        (lambda: Float("x", -1.7e308, 1.7e308), "narrow"),
        (lambda: Float("x", 0, 10**400), "finite"),
        (lambda: Float("x", False, True), "finite"),
        (lambda: Float("x", "0", "1"), "finite"),
        (lambda: LogFloat("x", 0.0, 1.0), "positive"),
        (lambda: LogFloat("x", -1.0, 1.0), "positive"),
        (lambda: LogFloat("x", 1e-3, math.inf), "finite"),
        (lambda: LogFloat("x", 2.0, 1.0), "swap"),
        (lambda: Integer("x", 3, 2), "swap"),
        (lambda: Integer("x", 0, 2.0), "whole"),
        (lambda: Integer("x", False, 2), "whole"),
        (lambda: Integer("x", 0, math.inf), "whole"),
        (lambda: Integer("x", 0, 2**60), "2\\*\\*48"),
        (lambda: Ordered("x", ()), "at least one choice"),
        (lambda: Categorical("x", []), "at least one choice"),
        (lambda: Categorical("x", "relu"), "list"),
        (lambda: Categorical("x", None), "list"),
        (lambda: Categorical("x", ("a", "b", "a")), "twice"),
        (lambda: Ordered("x", (1, 2, True)), "twice"),
        (lambda: Ordered("x", (1.0, math.nan)), "finite"),
        (lambda: Ordered("x", (1.0, math.inf)), "finite"),
        (lambda: Categorical("x", (("a",), "b")), "text"),
        (lambda: Categorical("x", (None, "b")), "text"),
    ],
)
def test_impossible_dimensions_are_refused_by_name(make, rule):
    """Fault 32."""
    with pytest.raises(SpaceError, match=rf"dimension 'x': .*{rule}"):
        make()


@pytest.mark.parametrize("name", ["", " ", "1st", "a b", "a\nb", "x" * 101, "<script>", None, "\ud800"])
def test_names_are_restricted(name):
    with pytest.raises(SpaceError, match="dimension's name"):
        Float(name, 0.0, 1.0)


@pytest.mark.parametrize(
    ("dimension", "value"),
    [
        (Float("x", 0.0, 1.0), 1.0000001),
        (Float("x", 0.0, 1.0), math.nan),
        (Float("x", 0.0, 1.0), True),
        (Float("x", 0.0, 1.0), "0.5"),
        (LogFloat("x", 0.1, 1.0), 0.0),
        (Integer("x", 0, 5), 6),
        (Integer("x", 0, 5), 2.0),
        (Integer("x", 0, 5), True),
        (Ordered("x", (1, 2)), 3),
        (Ordered("x", (1, 2)), None),
        (Categorical("x", ("a", "b")), "c"),
        (Categorical("x", ("a", "b")), ["a"]),
    ],
)
def test_values_outside_are_refused_by_name(dimension, value):
    with pytest.raises(SpaceError, match=r"dimension 'x': the value must be .* got .*; choose"):
        dimension.encode(value)
