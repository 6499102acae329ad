"""Optimizer settings; the update itself is the backend's fused kernel."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam as Keras has it (Kingma & Ba 2015, arXiv:1412.6980); the learning rate is the architecture's."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7


ADAM = Adam()
