"""Search spaces whose points are networks."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpo.errors import SpaceError
from hpo.network.architecture import Architecture
from hpo.usercode import contained, said
from hpo_spaces.dimensions import Categorical, Ordered, Value
from hpo_spaces.space import Params, SearchSpace


@dataclass(frozen=True, kw_only=True)
class MlpSpace(SearchSpace):
    """A search space, and the network of each of its points.

    Attributes:
        architecture: builds the network for values by name; must do so for every point of the space.
    """

    architecture: Callable[[Params], Architecture]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.architecture):
            raise SpaceError(
                f"space {self.name!r}: architecture must be a function of the values by name, "
                f"got {self.architecture!r}; give the function itself"
            )

    def check(self) -> None:
        """Build networks with each choice, at the ends of each range and at each start.

        Raises SpaceError where the space's function cannot.
        """
        for params in _tried_points(self):
            self._check_network(params)

    def make(self, params: Params) -> Architecture:
        """The network of a point; raises whatever the space's function does."""
        with contained(f"the function of the search space {self.name}"):
            return self.architecture(params)

    def _check_network(self, params: Params) -> None:
        try:
            made = self.make(params)
        except Exception as error:
            raise SpaceError(
                f"space {self.name!r}: architecture must accept every point, got {said(error)} "
                f"for {params}; correct the function"
            ) from error
        if not isinstance(made, Architecture):
            raise SpaceError(
                f"space {self.name!r}: architecture must return an Architecture, got {made!r} "
                f"for {params}; correct the function"
            )
        try:
            json.dumps(made.to_json(), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SpaceError(
                f"space {self.name!r}: architecture must hold plain values that JSON can store, got {made!r} "
                f"for {params}: {error}; correct the function"
            ) from error


def with_choice(space: MlpSpace, choice: Categorical, apply: Callable[[Architecture, Value], Architecture]) -> MlpSpace:
    """The space with one more dimension, last, whose value changes the network; its first value is the usual one.

    The first start is tried with each value, the others with the usual one.
    """

    def architecture(params: Params) -> Architecture:
        own = {name: value for name, value in params.items() if name != choice.name}
        made = space.architecture(own)
        return apply(made, params[choice.name]) if isinstance(made, Architecture) else made  # which is told elsewhere

    first, others = space.starts[:1], space.starts[1:]
    starts = [{**start, choice.name: value} for start in first for value in choice.choices]
    starts += [{**start, choice.name: choice.choices[0]} for start in others]
    dimensions = (*space.dimensions, choice)
    return replace(space, dimensions=dimensions, starts=tuple(starts), architecture=architecture)


def _tried_points(space: SearchSpace) -> Iterator[Params]:
    """Corners and centre, the starts, and around the centre each dimension's choices or ends, made active."""
    for coordinate in (0.0, 0.5, 1.0):
        yield space.decode([coordinate] * space.size)
    yield from space.starts
    by_name = {dimension.name: dimension for dimension in space.dimensions}
    for dimension in space.dimensions:
        chain: dict[str, Sequence[float]] = {}
        upper = dimension
        while upper.when is not None:
            name, choices = upper.when
            upper = by_name[name]
            chain[name] = upper.encode(choices[0])
        ends: list[Sequence[float]] = [(0.0,) * dimension.size, (1.0,) * dimension.size]
        if isinstance(dimension, Ordered | Categorical):
            ends = [dimension.encode(choice) for choice in dimension.choices]
        for end in ends:
            chain[dimension.name] = end
            yield space.decode(np.concatenate([chain.get(d.name, (0.5,) * d.size) for d in space.dimensions]))
