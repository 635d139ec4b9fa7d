"""Random numbers that depend on (seed, purpose) and on nothing else.

Whatever is random draws from a generator made here for its own purpose, so that no part of a run
can shift the random numbers of another, and a cell of a sweep gives the same record wherever and
whenever it runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derived_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose, such as ``derived_seed(0, "order", "pretraining", 3)``."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator for one purpose."""
    import torch

    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: object) -> Iterator[None]:
    """Seed torch's global generator inside the block and restore it afterwards.

    For the code that offers no choice of generator: weight initialisation and dropout.
    """
    import torch

    derived = derived_seed(seed, *purpose)
    with torch.random.fork_rng():
        if torch.cuda.is_available() or torch.mps.is_available():
            torch.manual_seed(derived)
        else:
            # Without a GPU torch would remember each call, with its stack, for when there is one.
            torch.default_generator.manual_seed(derived)
        yield
