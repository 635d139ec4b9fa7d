"""Computing in float64, on the CPU where a device has none: as MPS."""

from __future__ import annotations

import torch
from torch import Tensor

_WITHOUT = ("mps",)


def float64_device(device: torch.device) -> torch.device:
    """Where that is computed in float64 which is on ``device``."""
    return torch.device("cpu") if device.type in _WITHOUT else device


def in_float64(tensor: Tensor) -> Tensor:
    """A tensor in float64, where that can be."""
    return tensor.to(float64_device(tensor.device)).double()


def from_float64(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of float64 on ``device`` again, in float32 if that has no float64."""
    return (tensor.float() if device.type in _WITHOUT else tensor).to(device)
