"""Random numbers that depend on (seed, purpose) and on nothing else.

Whatever is random draws from a generator made here for its own purpose, so that no part of a run
can shift the random numbers of another, and a cell of a sweep gives the same record wherever and
whenever it runs.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
def seeded(seed: int, *purpose: object, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators inside the block and restore them afterwards.

    They are torch's, numpy's and Python's, for the code that offers no choice of generator: weight
    initialisation, dropout, and whatever users write.

    Args:
        seed: the experiment's.
        purpose: what is drawn.
        device: whose generator is seeded beside the CPU's; the generators of others stay as they
            are, and a GPU that is not in use is not woken.
    """
    import numpy as np
    import torch

    derived = derived_seed(seed, *purpose)
    before = random_state(device)
    try:
        # Without a GPU torch.manual_seed would remember each call, with its stack.
        torch.default_generator.manual_seed(derived)
        np.random.seed(derived % 2**32)
        random.seed(derived)
        if _draws(device):
            torch.get_device_module(device).manual_seed(derived)
        yield
    finally:
        set_random_state(before, device)


def random_state(device: torch.device | None = None) -> dict[str, Any]:
    """The states of the global generators, of torch's on the CPU and on a device, as plain data."""
    import numpy as np
    import torch

    numbers: Any = np.random.get_state()
    name, key, *place = numbers
    states = {
        "cpu": torch.get_rng_state(),
        "numpy": (name, key.tolist(), *place),
        "python": random.getstate(),
    }
    if device is not None and _draws(device):
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def set_random_state(states: Mapping[str, Any], device: torch.device | None = None) -> None:
    """Have the global generators as they were when ``states`` was asked for."""
    import numpy as np
    import torch

    torch.set_rng_state(states["cpu"])
    if "numpy" in states:  # checkpoints of before have torch's alone
        np.random.set_state(states["numpy"])
        random.setstate(states["python"])
    if device is not None and _draws(device):
        torch.get_device_module(device).set_rng_state(states[device.type])


def _draws(device: torch.device | None) -> bool:
    """Whether a device has a generator of its own."""
    return device is not None and device.type in ("cuda", "mps")
