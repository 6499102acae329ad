"""Which results a search looks at: what it costs must not grow with the study."""

import math
from bisect import insort
from collections.abc import Iterator
from typing import Generic, TypeVar

from hpo_storage.records import SHOWN_TRIALS

T = TypeVar("T")


class Kept(Generic[T]):
    """What is known of results, by their trials' numbers: of all, up to `SHOWN_TRIALS`; of more, of the latest half and
    the best of those before. Which these are does not depend on the order in which they come."""

    def __init__(self) -> None:
        self._items: dict[int, tuple[float, T]] = {}
        self._latest: list[int] = []
        self._before: list[tuple[float, int]] = []

    def __iter__(self) -> Iterator[T]:
        """In the order in which they came."""
        return (item for _, item in self._items.values())

    def by_number(self) -> list[T]:
        """In the order of their trials."""
        return [self._items[number][1] for number in sorted(self._items)]

    def add(self, number: int, value: float | None, item: T) -> None:
        """Take one in; what has no value ranks behind all that have one. Another one may have to go."""
        self._items[number] = (math.inf if value is None else value, item)
        insort(self._latest, number)
        if len(self._latest) > SHOWN_TRIALS // 2:
            earliest = self._latest.pop(0)
            insort(self._before, (self._items[earliest][0], earliest))
        if len(self._before) > SHOWN_TRIALS // 2:
            del self._items[self._before.pop()[1]]
