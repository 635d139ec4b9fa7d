"""What ranking needs beside scores: where they count, how they are put together, how many stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from ..evidence.context import Context
from .allocation import Allocation


class Ranking(NamedTuple):
    """What a structure needs beside scores to choose what stays.

    Attributes:
        context: the network and its masks so far.
        allocation: divides what stays among the layers.
        unit_scores: scores of units (one-dimensional) from those of their weights (units ×
            weights).
        budget: the number of weights to keep, or how much of what ``context.cost`` counts.
    """

    context: Context
    allocation: Allocation
    unit_scores: Callable[[Tensor], Tensor]
    budget: int
