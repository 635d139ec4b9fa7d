"""Pareto fronts: what nothing else beats in one respect without being beaten in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pareto_front(points: NDArray[Any], higher_is_better: Sequence[bool]) -> NDArray[np.bool_]:
    """Which points are on the Pareto front.

    One is beaten by another that is at least as good in every respect and better in one; equal
    points do not beat each other. A point that lacks a number (NaN) is not on the front, and beats
    none.

    Args:
        points: a row for each point, a column for each respect.
        higher_is_better: of each column whether more of it is better.
    """
    signs = np.where(higher_is_better, 1.0, -1.0)
    values = np.asarray(points, dtype=float) * signs
    known = ~np.isnan(values).any(axis=1)
    front = known.copy()
    for place in np.flatnonzero(known):
        others = values[known]
        beats = (others >= values[place]).all(axis=1) & (others > values[place]).any(axis=1)
        front[place] = not beats.any()
    return front


def hypervolume(points: Sequence[tuple[float, float]], width: float) -> float:
    """The area that points dominate, by the width: the mean height of the staircase under them.

    Args:
        points: pairs of a place and a height, of both of which more is better. What is beyond the
            width counts as at its end, and heights below zero as zero.
        width: where the area ends; it begins at zero.
    """
    area, reached = 0.0, 0.0
    for place, height in sorted(points, key=lambda point: -point[1]):
        place = min(place, width)
        if height > 0 and place > reached:
            area += (place - reached) * height
            reached = place
    return area / width
