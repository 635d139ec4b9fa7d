"""Multilayer perceptrons of any widths."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from .architecture import register


@register
class Perceptron(nn.Module):
    """A perceptron with hidden layers of ReLU units, four of 50 by default, and dropout if asked.

    47,410 parameters and 47,200 multiply–adds with four times 50 units on 28×28 inputs with 10
    classes.

    Args:
        hidden: units of each hidden layer.
        dropout: on the hidden layers.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...] = (1, 28, 28),
        classes: int = 10,
        hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (50,) * 4,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        widths = (prod(input_shape), *hidden)
        self.hidden = nn.ModuleList(nn.Linear(inputs, units) for inputs, units in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(widths[-1], classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (batch × classes) of inputs of any shape (batch × …)."""
        x = inputs.flatten(1)
        for layer in self.hidden:
            x = self.dropout(F.relu(layer(x)))
        return self.output(x)
