"""Shards: the part of a sweep that one of several machines runs, without any word between them.

Which cell is in which shard follows from identities alone, so that every machine finds the same and
nothing is handed out. The rule:

* Cells that share a dense network go to few shards, since each of those trains it. How many is the
  smallest power of two that is at least ``4 × shards × share``, where the share is that of those
  cells among all: of many dense networks each has one shard, and a single one has all of them.
  Between 4 and 8 groups of cells meet in a shard where there are as many, which keeps shards even.
* Which shards these are, and which of them a cell is in, is drawn by hash: the dense network ranks
  the shards, the first of them are its own, and the cell draws one of them.

So adding cells moves none while dense networks keep their shares, as they do in a grid to which
strategies, targets or settings of pruning are added. Where seeds, models or data sets are added,
shares fall: where the power of two becomes a smaller one, cells come closer together, half of them
by moving. Their old and their new records are the same, and merging keeps one.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...errors import UsageError, shown
from ..experiment import Experiment

MOST_SHARDS = 10_000
_GROUPS = 4


@dataclass(frozen=True)
class Shard:
    """One of several parts of a sweep.

    Attributes:
        number: which, from 1 on.
        count: how many there are.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that is written as ``3/16``, the third of sixteen.

        Raises:
            UsageError: it is none.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        number, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= count <= MOST_SHARDS:
            raise UsageError(
                f"shard: {shown(text)} is not allowed: give a number from 1 on and how many there "
                f"are, such as 3/16 (at most {MOST_SHARDS:,}); for a job array of Slurm "
                "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT, with --array=1-16"
            )
        return cls(number, count)

    def of(self, experiments: Iterable[Experiment]) -> list[Experiment]:
        """Those experiments that are in this shard, in their order."""
        experiments = list(experiments)
        cells = [(each.pretraining_id, each.id) for each in experiments]
        places = shards_of(cells, self.count)
        return [
            each for each, place in zip(experiments, places, strict=True) if place == self.number
        ]


def shards_of(cells: Sequence[tuple[str, str]], count: int) -> list[int]:
    """The shard of each cell, by the rule above.

    Args:
        cells: the identities of the dense network and of the cell.
        count: how many shards there are.
    """
    sizes = Counter(dense for dense, _ in set(cells))
    total = sizes.total()
    ranked = {
        dense: _ranked(dense, count)[: _spread(size, total, count)] for dense, size in sizes.items()
    }
    places = []
    for dense, cell in cells:
        own = ranked[dense]
        places.append(own[_draw(cell) % len(own)])
    return places


def _spread(size: int, total: int, count: int) -> int:
    """Over how many of ``count`` shards ``size`` of ``total`` cells are spread."""
    spread = 1
    while spread < count and spread * total < _GROUPS * count * size:
        spread *= 2
    return min(spread, count)


def _ranked(dense: str, count: int) -> list[int]:
    return sorted(range(1, count + 1), key=lambda shard: _draw(f"{dense} {shard}"))


def _draw(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
