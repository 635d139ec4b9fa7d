"""How far outputs of networks are apart."""

from __future__ import annotations

import torch
from torch import Tensor


def relative_difference(outputs: Tensor, expected: Tensor) -> float:
    """The largest difference of outputs from the expected ones, relative to the largest of these.

    Infinite if they differ in shape.
    """
    if outputs.shape != expected.shape:
        return float("inf")
    largest = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)
    return float((outputs - expected).abs().max() / largest)
