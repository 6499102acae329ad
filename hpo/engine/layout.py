"""What a compiled program depends on, which networks can share one, and how they lie in its stack."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hpo.losses import BY_HEAD
from hpo.network.architecture import Architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramKind:
    """The part of a stack's description that is compiled in; all else is data, so it never compiles anew.

    Attributes:
        head: what the outputs are and how they are judged (see `hpo.losses`).
        weighted: whether rows have weights.
        depth: hidden layers; lanes with fewer pass their values through the rest.
        activations, optimizers: those that occur in the stack, sorted; with several, each lane selects its own.
        normalization, embedding, skip: as in `Architecture`, the same for all lanes.
        l1, l2, decayed, clipped, smoothed, noisy: whether any lane has an L1 or an L2 penalty, weight decay, a limit
            on its gradient's norm, smoothed labels, noise or dropout on its inputs.
        mixed: whether lanes differ in anything.
        padded, shallow: whether any has narrower layers than the stack, fewer layers.
    """

    head: str
    weighted: bool
    depth: int
    activations: tuple[str, ...]
    optimizers: tuple[str, ...]
    normalization: str
    embedding: str
    skip: bool
    l1: bool
    l2: bool
    decayed: bool
    clipped: bool
    smoothed: bool
    noisy: bool
    mixed: bool
    padded: bool
    shallow: bool

    @property
    def takes_class_numbers(self) -> bool:
        """Whether targets are class numbers (rows,), and not (rows, outputs)."""
        return self.head == "softmax"

    @property
    def is_plain(self) -> bool:
        """Whether it is one activation trained by Adam and nothing else: what a backend may have a short cut for."""
        extras = (
            self.weighted,
            self.skip,
            self.l1,
            self.l2,
            self.decayed,
            self.clipped,
            self.smoothed,
            self.noisy,
            self.mixed,
        )
        return (
            not any(extras)
            and (self.normalization, self.embedding) == ("none", "none")
            and self.optimizers == ("adam",)
            and len(self.activations) == 1
        )


Widths = tuple[int, ...]


class Layout(NamedTuple):
    """How networks lie in a stack: its lanes' architectures, its kind and the width of each of its layers."""

    architectures: Sequence[Architecture]
    kind: ProgramKind
    widths: Widths

    def only(self, lanes: Sequence[int]) -> "Layout":
        """The same stack with these lanes alone."""
        return self._replace(architectures=[self.architectures[lane] for lane in lanes])


def layout_of(
    architectures: Sequence[Architecture],
    head: str = "softmax",
    weighted: bool = False,
    widths_for: Callable[[Widths], Widths] = lambda widths: widths,
) -> Layout:
    """The layout of a stack of these networks, which must be `stackable`; `widths_for` may widen the stack's layers."""
    first = architectures[0]
    widths = widths_for(stacked_widths(architectures))
    kind = ProgramKind(
        head=head,
        weighted=weighted,
        depth=len(widths),
        activations=tuple(sorted({a.activation for a in architectures})),
        optimizers=tuple(sorted({a.optimizer for a in architectures})),
        normalization=first.normalization,
        embedding=first.embedding,
        skip=first.skip and len(widths) > 1,
        l1=any(a.l1 for a in architectures),
        l2=any(a.l2 for a in architectures),
        decayed=any(a.weight_decay for a in architectures),
        clipped=any(a.clip_norm for a in architectures),
        smoothed=BY_HEAD[head].of_labels and any(a.label_smoothing for a in architectures),
        noisy=any(a.is_noisy for a in architectures),
        mixed=len(set(architectures)) > 1,
        padded=any(_to_depth(a.widths, len(widths)) != widths for a in architectures),
        shallow=any(a.depth < len(widths) for a in architectures),
    )
    return Layout(architectures, kind, widths)


def stackable(architecture: Architecture) -> tuple[object, ...]:
    """Networks with equal keys can share a stack."""
    a = architecture
    embedding = (a.embedding, a.embedding_frequencies) if a.embedding != "none" else ()
    return (a.batch_size, a.normalization, a.skip, embedding)


def stacked_widths(architectures: Sequence[Architecture]) -> tuple[int, ...]:
    """The width of each layer of a stack: what its widest lane needs; all the same where inputs skip a layer."""
    depth = max(a.depth for a in architectures)
    padded = [_to_depth(a.widths, depth) for a in architectures]
    widths = tuple(max(layer) for layer in zip(*padded, strict=True))
    return (max(widths),) * depth if architectures[0].skip and depth > 1 else widths


def _to_depth(widths: Widths, depth: int) -> Widths:
    """Of layers that pass on what the last one puts out, too."""
    return (*widths, *widths[-1:] * (depth - len(widths)))
