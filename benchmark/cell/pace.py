"""How long the rest of a sweep takes, told from what has passed of it."""

from __future__ import annotations

import numpy as np


class Pace:
    """What an epoch of training takes, and a cell beside the epochs that it trains.

    The two are those whose sum comes nearest to the seconds that had passed at each moment that was
    noted, in squares, neither of them less than nothing. Until cells have ended, one counts as much
    as an epoch.
    """

    def __init__(self) -> None:
        # A tenth of having seen a cell that takes as long as an epoch.
        self._gram = np.array([[0.1, -0.1], [-0.1, 0.1]])
        self._sums = np.zeros(2)

    def note(self, seconds: float, epochs: float, cells: float) -> None:
        """So many epochs had been trained, and so many cells had ended, when seconds had passed."""
        done = np.array([epochs, cells])
        self._gram += np.outer(done, done)
        self._sums += seconds * done

    def left(self, epochs: float, cells: float) -> float | None:
        """The seconds that so many epochs and cells will take; None before anything was noted."""
        if not self._sums.any():
            return None
        epoch, cell = np.linalg.solve(self._gram, self._sums)
        if epoch < 0:
            epoch, cell = 0.0, self._sums[1] / self._gram[1, 1]
        elif cell < 0:
            epoch, cell = self._sums[0] / self._gram[0, 0], 0.0
        return float(epoch * epochs + cell * cells)
