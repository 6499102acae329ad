"""A frozen description of one MLP and how it is trained; a leaf that knows no framework."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One MLP: hidden layers, each followed by activation and dropout, then a linear output layer.

    Attributes:
        widths: units of each hidden layer, input side first; at least one layer.
        activation: name in `hpo.network.activations.ACTIVATIONS`.
        initializer: name in `hpo.network.initializers.INITIALIZERS`, for the hidden layers;
            the output layer uses Glorot uniform, biases start at zero.
        dropout: probability of dropping a hidden unit, in [0, 1).
        learning_rate: of Adam.
        batch_size: rows per step.
    """

    widths: tuple[int, ...]
    activation: str
    initializer: str
    dropout: float
    learning_rate: float
    batch_size: int

    def __post_init__(self) -> None:
        # Plain numbers, so that numpy's may be given and JSON can hold them.
        object.__setattr__(self, "widths", tuple(int(width) for width in self.widths))
        object.__setattr__(self, "batch_size", int(self.batch_size))
        object.__setattr__(self, "dropout", float(self.dropout))
        object.__setattr__(self, "learning_rate", float(self.learning_rate))
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths must hold at least one layer of at least 1 unit, got {self.widths}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if not self.learning_rate > 0.0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return len(self.widths)

    def parameter_count(self, inputs: int, outputs: int) -> int:
        """Trainable numbers of the network with `inputs` features and `outputs` logits."""
        sizes = (inputs, *self.widths, outputs)
        slopes = sum(self.widths) if self.activation == "prelu" else 0
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes)) + slopes

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `from_json` is the inverse."""
        return {**asdict(self), "widths": list(self.widths)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_json`."""
        return cls(**{**values, "widths": tuple(values["widths"])})
