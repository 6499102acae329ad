"""Learning rates of each step, computed on the host."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hpo.network.architecture import Architecture

# Progress through the schedule, 0 to 1 -> share of the highest rate.
Schedule = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]

LAST_SHARE = 0.01  # of exponential and linear; cosine ends at 0
CYCLE_FIRST_SHARE, CYCLE_LAST_SHARE, CYCLE_RISE = 1 / 25, 1e-4, 0.3


def _falling_cosine(progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 0.5 * (1.0 + np.cos(np.pi * progress))


def one_cycle(progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rises linearly from 1/25 for 30% of the way, then falls by cosine to 1/10,000 (Smith 2018, arXiv:1803.09820)."""
    rise = CYCLE_FIRST_SHARE + (1.0 - CYCLE_FIRST_SHARE) * progress / CYCLE_RISE
    fallen = _falling_cosine((progress - CYCLE_RISE) / (1.0 - CYCLE_RISE))
    return np.where(progress < CYCLE_RISE, rise, CYCLE_LAST_SHARE + (1.0 - CYCLE_LAST_SHARE) * fallen)


SCHEDULES: dict[str, Schedule] = {
    "constant": np.ones_like,
    "exponential": lambda progress: LAST_SHARE**progress,
    "linear": lambda progress: 1.0 - (1.0 - LAST_SHARE) * progress,
    "cosine": _falling_cosine,
    "one_cycle": one_cycle,
}


def learning_rates(
    architecture: Architecture, first_step: int, steps: int, steps_per_epoch: int
) -> npt.NDArray[np.float32]:
    """Rates (steps,) of the steps from `first_step` on, counted from 0.

    During warm-up the rate rises linearly from 0 to the one that the schedule starts with (Goyal et al. 2017,
    arXiv:1706.02677); the schedule takes the rest of the horizon, and then its last rate stays.
    """
    schedule = SCHEDULES[architecture.schedule]
    horizon = architecture.schedule_epochs * steps_per_epoch
    warm = architecture.warmup * horizon
    step = np.arange(first_step, first_step + steps, dtype=np.float64)
    share = schedule(np.clip((step - warm) / (horizon - warm), 0.0, 1.0))
    if warm:
        share *= np.minimum(step, warm) / warm
    return (architecture.learning_rate * share).astype(np.float32)
