"""Which lanes of a stack are in the program, and which wait until others have finished."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from hpo.engine.program import Backend, Program, State
from hpo.engine.stack import Stack
from hpo.engine.weights import joined, picked

FREE_SHARE = 1 / 8
"""Of a stack's places, before lanes that wait take them: each time the whole state goes through the host."""


@dataclass(frozen=True)
class Places:
    """In one epoch: the lanes that the program holds, in this order; those that still learn; those that wait; and the
    lanes held in the epoch before."""

    backend: Backend
    stack: Stack
    held: tuple[int, ...]
    live: tuple[int, ...]
    waiting: tuple[int, ...]
    before: tuple[int, ...] = ()

    @classmethod
    def new(cls, backend: Backend, stack: Stack) -> "Places":
        """The places of the first epoch."""
        lanes = tuple(range(len(stack.lanes)))
        most = backend.most_lanes(len(lanes))
        return cls(backend, stack, held=lanes[:most], live=lanes[:most], waiting=lanes[most:])

    def after(self, over: AbstractSet[int]) -> "Places":
        """The places of the next epoch, when these lanes, finished or not begun, have nothing more to learn."""
        live, waiting = (tuple(i for i in lanes if i not in over) for lanes in (self.live, self.waiting))
        free = len(self.held) - len(live)
        coming = waiting[:free] if free >= FREE_SHARE * len(self.held) else ()
        size = len(self.held) if waiting else min(len(self.held), self.backend.lanes_for(len(live)))
        kept = (*live, *(i for i in self.held if i not in live))[: size - len(coming)]
        held = (*kept, *coming) if coming or size < len(self.held) else self.held
        return replace(self, held=held, live=(*live, *coming), waiting=waiting[len(coming) :], before=self.held)

    @property
    def changed(self) -> bool:
        """Whether the program has to be told."""
        return self.held != self.before

    def state(self, program: Program) -> State:
        """What the program goes on with: lanes that it held before as they are, others as they start."""
        known = [self.before.index(i) for i in self.held if i in self.before]
        new = [i for i in self.held if i not in self.before]
        parts = [picked(program.state(), known)] if known else []
        return joined([*parts, self.stack.fresh(new)] if new else parts)
