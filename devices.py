"""Waiting for what a device computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def finish(device: torch.device) -> None:
    """Wait until a device has done all that it was given to do, as a clock must that times it.

    A GPU is given work and does it later; a CPU has always done it.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
