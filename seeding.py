"""Random numbers that depend on (seed, purpose) and on nothing else.

Whatever is random draws from a generator made here for its own purpose, so that no part of a run
can shift the random numbers of another, and a cell of a sweep gives the same record wherever and
whenever it runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
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
def seeded(seed: int, *purpose: object, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them afterwards.

    For the code that offers no choice of generator: weight initialisation and dropout.

    Args:
        seed: the experiment's.
        purpose: what is drawn.
        device: whose generator is seeded beside the CPU's; the generators of others stay as they
            are, and a GPU that is not in use is not woken.
    """
    import torch

    derived = derived_seed(seed, *purpose)
    before = random_state(device)
    try:
        # Without a GPU torch.manual_seed would remember each call, with its stack.
        torch.default_generator.manual_seed(derived)
        if _draws(device):
            torch.get_device_module(device).manual_seed(derived)
        yield
    finally:
        set_random_state(before, device)


def random_state(device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """The states of torch's global generators, of the CPU and of a device."""
    import torch

    states = {"cpu": torch.get_rng_state()}
    if device is not None and _draws(device):
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def set_random_state(
    states: Mapping[str, torch.Tensor], device: torch.device | None = None
) -> None:
    """Have the generators of the CPU and of a device as they were when ``states`` was asked for."""
    import torch

    torch.set_rng_state(states["cpu"])
    if device is not None and _draws(device):
        torch.get_device_module(device).set_rng_state(states[device.type])


def _draws(device: torch.device | None) -> bool:
    """Whether a device has a generator of its own."""
    return device is not None and device.type in ("cuda", "mps")
