"""Strategies that prune each layer by itself, as a matrix, by what it is multiplied with.

By default a layer is calibrated on what the pruned layers before it give out: what is in memory at
a time is then the network, one layer's calibration and mask, and a bit for every weight.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from ..errors import UsageError
from .axes.allocation import Allocation, PerOutput, Uniform
from .axes.structure import NM, Structure, Unstructured
from .calibrated import layerwise
from .evidence.activations import owners
from .evidence.context import Context
from .evidence.grams import PRODUCTS, grams
from .evidence.prunable import outputs_first
from .evidence.sequence import in_sequence
from .masks import PackedMasks
from .strategy import Strategy
from .training.sparse_training import SparseTraining


class CalibratedLayer(NamedTuple):
    """A layer as a product of matrices, with what it is multiplied by.

    Nobody else needs its weights or ``gram`` as they are: both may be overwritten.

    Attributes:
        weight: groups × outputs × inputs; a linear layer is one group, and the inputs of a
            convolution are those under its kernel.
        mask: which of the weights have not been pruned before, of the same shape.
        gram: Σ x·xᵀ of the inputs over scoring examples and positions (groups × inputs × inputs),
            in float32 at least.
        generator: draws lots among equals.
        channels: after how many inputs those begin that do not compete with the ones before them;
            None where there are none such.
    """

    weight: Tensor
    mask: Tensor
    gram: Tensor
    generator: torch.Generator
    channels: int | None = None


@dataclass(frozen=True)
class LayerByLayer(Strategy, ABC):
    """A method that prunes linear layers and convolutions one by one.

    A new method is a :meth:`prune_layer`.
    """

    allocation: Allocation = Uniform()
    batches: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 128
    structure: Structure = field(default=Unstructured(), kw_only=True)
    sequential: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        layerwise(self, self.allocation)
        if not isinstance(self.structure, Unstructured | NM):
            raise UsageError(
                f"strategy {type(self).__name__}: structure: {self.structure} is not allowed: it "
                "must be Unstructured or NM"
            )
        if isinstance(self.allocation, PerOutput):
            raise UsageError(
                f"strategy {type(self).__name__}: allocation: {self.allocation} is not allowed: it "
                "chooses among all weights of a layer; give Uniform for the same density of each"
            )

    @abstractmethod
    def prune_layer(self, layer: CalibratedLayer, kept: int) -> tuple[Tensor, Tensor]:
        """The mask that keeps ``kept`` weights of a layer, and the weights' new values.

        Both of the shape of ``layer.weight``, the values zero where the mask is False.
        """

    def scorable(self, model: nn.Module, names: Sequence[str]) -> list[str]:
        """The weights of linear layers and convolutions of images."""
        return list(owners(model, names, PRODUCTS))

    def smallest_budget(self, weights: Mapping[str, Tensor]) -> int:
        """What the allocation keeps at least."""
        return self.allocation.smallest({n: weight.reshape(-1, 1) for n, weight in weights.items()})

    def largest_budget(self, weights: Mapping[str, Tensor]) -> int:
        """What the structure can keep at most."""
        return sum(map(self.structure.most, weights.values()))

    def prune(self, context: Context, budget: int) -> SparseTraining:
        """Prune layer after layer; see :meth:`Strategy.prune`."""
        shares = self.structure.shares(context, layerwise(self, self.allocation), budget)
        masks = PackedMasks()
        for part in self._parts(context):
            calibration = grams(part, self.batches, self.batch_size)
            for name in part.masks:
                masks.add(name, self._prune(part, name, calibration.pop(name), shares[name]))
        return SparseTraining(context.model, masks.in_order(context.masks))

    def _parts(self, context: Context) -> Iterator[Context]:
        """What is calibrated together: a layer, or the whole network."""
        return in_sequence(context) if self.sequential else iter([context])

    def _prune(self, context: Context, name: str, gram: Tensor, kept: int) -> Tensor:
        """Give a weight its new values; its mask."""
        weight, given = (
            outputs_first(context.model, {name: each[name]})[name]
            for each in (context.weights, context.masks)
        )
        order, back = self._orders(weight)
        groups = len(gram)
        layer = CalibratedLayer(
            weight=_grouped(weight, groups)[..., order],
            mask=_grouped(given, groups)[..., order],
            gram=gram[:, order][..., order],
            generator=context.generator,
            channels=None if isinstance(self.structure, Unstructured) else weight.shape[1],
        )
        mask, values = self.prune_layer(layer, kept)
        if values.data_ptr() != weight.data_ptr():  # else they are there already
            weight.copy_(values[..., back].view(weight.shape))
        return outputs_first(context.model, {name: mask[..., back].view(weight.shape)})[name]

    def _orders(self, weight: Tensor) -> tuple[Tensor | slice, Tensor | slice]:
        """The order of a layer's inputs in which those that compete for places are neighbours.

        And the order that leads back from it.
        """
        if isinstance(self.structure, Unstructured) or weight.ndim == 2:
            return slice(None), slice(None)
        numbers = torch.arange(weight[0].numel(), device=weight.device)
        order = numbers.view(weight.shape[1], -1).T.flatten()
        return order, order.argsort()


def _grouped(tensor: Tensor, groups: int) -> Tensor:
    """A layer's tensor as groups × outputs × inputs."""
    return tensor.reshape(groups, len(tensor) // groups, -1)
