"""The classic sets on which networks are taught: points of a plane, with classes or a quantity."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from hpo.data.teaching_names import Teaching

Floats = npt.NDArray[np.float64]
Points = tuple[Floats, Floats]
"""(rows, 2) inputs, and (rows,) the target: 0 or 1 for classes."""

RADIUS = 5.0
_BUMPS = ((-4, 2.5, 1), (0, 2.5, -1), (4, 2.5, 1), (-4, -2.5, -1), (0, -2.5, 1), (4, -2.5, -1))
"""Where the bumps are, and which way they go."""


def teaching_frame(of: Teaching) -> pd.DataFrame:
    """The inputs x1 and x2 and the column target: the classes blue and orange, or a quantity from about -1 to 1."""
    random = np.random.RandomState(of.seed)  # its numbers are the same in all versions of NumPy
    points, target = _MAKERS[of.name](random, of.rows, of.noise)
    frame = pd.DataFrame({"x1": points[:, 0], "x2": points[:, 1]})
    if of.name in _QUANTITIES:
        return frame.assign(target=target)
    return frame.assign(target=np.where(target > 0, "blue", "orange"))


def _square(random: np.random.RandomState, rows: int) -> Floats:
    return random.uniform(-RADIUS, RADIUS, (rows, 2))


def _shaken(random: np.random.RandomState, points: Floats, noise: float) -> Floats:
    return points + random.uniform(-RADIUS, RADIUS, points.shape) * noise


def _xor(random: np.random.RandomState, rows: int, noise: float) -> Points:
    """Two opposite quarters are one class; a gap of 0.3 on each side divides them."""
    points = _square(random, rows)
    points += np.where(points > 0, 0.3, -0.3)
    shaken = _shaken(random, points, noise)
    return points, (shaken[:, 0] * shaken[:, 1] >= 0).astype(float)


def _circles(random: np.random.RandomState, rows: int, noise: float) -> Points:
    """A disk within a ring."""
    inner = np.arange(rows) < rows // 2
    radius = RADIUS * np.where(inner, random.uniform(0, 0.5, rows), random.uniform(0.7, 1, rows))
    angle = random.uniform(0, 2 * np.pi, rows)
    points = np.column_stack([radius * np.sin(angle), radius * np.cos(angle)])
    shaken = _shaken(random, points, noise / 3)
    return points, (np.hypot(shaken[:, 0], shaken[:, 1]) < RADIUS / 2).astype(float)


def _two_gaussians(random: np.random.RandomState, rows: int, noise: float) -> Points:
    """Two clouds, which noise makes wider."""
    first = np.arange(rows) < rows // 2
    centers = np.where(first, 2.0, -2.0)[:, None]
    return centers + random.normal(0, 0.5 + 3.5 * noise, (rows, 2)), first.astype(float)


def _spirals(random: np.random.RandomState, rows: int, noise: float) -> Points:
    """Two arms around each other."""
    first = np.arange(rows) < rows // 2
    along = np.where(first, np.arange(rows) / max(1, rows // 2), (np.arange(rows) - rows // 2) / (rows - rows // 2))
    angle = 1.75 * along * 2 * np.pi + np.where(first, 0, np.pi)
    points = RADIUS * along[:, None] * np.column_stack([np.sin(angle), np.cos(angle)])
    return points + random.uniform(-1, 1, (rows, 2)) * noise, first.astype(float)


def _plane(random: np.random.RandomState, rows: int, noise: float) -> Points:
    """The sum of both inputs."""
    points = _square(random, rows)
    shaken = _shaken(random, points, noise)
    return points, shaken.sum(axis=1) / (2 * RADIUS)


def _gaussian_bumps(random: np.random.RandomState, rows: int, noise: float) -> Points:
    """Hills and hollows: of those that reach a point, the one that is felt most."""
    points = _square(random, rows)
    shaken = _shaken(random, points, noise)
    felt = np.array(
        [sign * np.clip(1 - np.hypot(shaken[:, 0] - x, shaken[:, 1] - y) / 2, 0, 1) for x, y, sign in _BUMPS]
    )
    return points, felt[np.abs(felt).argmax(axis=0), np.arange(rows)]


_QUANTITIES = frozenset(("plane", "gaussian_bumps"))
_MAKERS: dict[str, Callable[[np.random.RandomState, int, float], Points]] = {
    "xor": _xor,
    "circles": _circles,
    "two_gaussians": _two_gaussians,
    "spirals": _spirals,
    "plane": _plane,
    "gaussian_bumps": _gaussian_bumps,
}
