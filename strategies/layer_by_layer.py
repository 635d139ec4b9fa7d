"""Strategies that go through a network layer by layer, as its pruned layers run.

Each layer is calibrated on what the pruned layers before it give out, pruned, and left behind: what
is in memory at a time is the network, one layer's calibration and mask, and a bit for every weight.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..datasets import Batch
from ..errors import UsageError
from .axes.allocation import Allocation, Layerwise, Uniform, Units
from .evidence.activations import Owners, hooked, owners
from .evidence.context import Context
from .evidence.modes import evaluation_mode
from .evidence.prunable import weight_class
from .masks import PackedMasks
from .strategy import Strategy
from .training.sparse_training import SparseTraining

_LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv2d)


class CalibratedLayer(NamedTuple):
    """A layer as a product of matrices, with what it is multiplied by.

    Attributes:
        weight: groups × outputs × inputs; a linear layer is one group, and the inputs of a
            convolution are those under its kernel.
        mask: which of the weights have not been pruned before, of the same shape.
        gram: Σ x·xᵀ of the inputs over scoring examples and positions, in float64 (groups ×
            inputs × inputs).
        generator: draws lots among equals.
    """

    weight: Tensor
    mask: Tensor
    gram: Tensor
    generator: torch.Generator


@dataclass(frozen=True)
class LayerByLayer(Strategy, ABC):
    """A method that prunes linear layers and convolutions one after the other, as they run.

    A new method is a :meth:`prune_layer`.
    """

    allocation: Allocation = Uniform()
    batches: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 128

    def __post_init__(self) -> None:
        if not isinstance(self.allocation, Layerwise):
            raise UsageError(
                f"strategy {type(self).__name__}: allocation: {self.allocation} is not allowed: "
                "layers are pruned one by one, and only one that gives each a density, such as "
                "Uniform or ERK, is"
            )

    @abstractmethod
    def prune_layer(self, layer: CalibratedLayer, kept: int) -> tuple[Tensor, Tensor]:
        """The mask that keeps ``kept`` weights of a layer, and the weights' new values.

        Both of the shape of ``layer.weight``, the values zero where the mask is False.
        """

    def scorable(self, model: nn.Module, names: Sequence[str]) -> list[str]:
        """The weights of linear layers and convolutions of images."""
        return list(owners(model, names, _LAYERS))

    def smallest_budget(self, weights: Mapping[str, Tensor]) -> int:
        """What the allocation keeps at least."""
        return self.allocation.smallest({n: weight.reshape(-1, 1) for n, weight in weights.items()})

    def prune(self, context: Context, budget: int) -> SparseTraining:
        """Prune layer after layer; see :meth:`Strategy.prune`."""
        counts = self._counts(context, budget)
        batches = list(context.batches(self.batches, self.batch_size))
        modules = owners(context.model, context.masks, _LAYERS)
        masks = PackedMasks()
        for name in _in_order(context, modules, batches[0]):
            weight = context.model.get_parameter(name)
            groups = int(getattr(modules[name][0], "groups", 1))
            layer = CalibratedLayer(
                weight=_grouped(weight.detach(), groups),
                mask=_grouped(context.masks[name], groups),
                gram=_gram(context, modules[name], groups, batches),
                generator=context.generator,
            )
            mask, values = self.prune_layer(layer, counts[name])
            with torch.no_grad():
                weight.copy_(values.view(weight.shape))
            masks.add(name, mask.view(weight.shape))
        return SparseTraining(context.model, masks.in_order(context.masks))

    def _counts(self, context: Context, budget: int) -> dict[str, int]:
        """How many weights each layer keeps, which no score decides."""
        assert isinstance(self.allocation, Layerwise)  # __post_init__ sees to it
        alive = {name: int(mask.count_nonzero()) for name, mask in context.masks.items()}
        layers = {
            name: Units(
                scores=_alive(mask),
                size=1,
                weight=context.weights[name],
                weight_class=weight_class(context.model, name),
                is_output=name in context.outputs,
            )
            for name, mask in context.masks.items()
        }
        counts = self.allocation.counts(
            layers, self.allocation.layer_densities(layers, budget), budget
        )
        return {name: min(count, alive[name]) for name, count in counts.items()}


def _alive(mask: Tensor) -> Tensor:
    """Scores that say nothing but what has been pruned; where that is nothing they take no room."""
    if mask.all():
        return torch.zeros((), device=mask.device).expand(mask.numel())
    return torch.zeros(mask.numel(), device=mask.device).masked_fill_(~mask.flatten(), -torch.inf)


def _grouped(tensor: Tensor, groups: int) -> Tensor:
    """A layer's tensor as groups × outputs × inputs."""
    return tensor.reshape(groups, len(tensor) // groups, -1)


def _in_order(context: Context, modules: Owners, batch: Batch) -> Iterator[str]:
    """The weights' names in the order in which the network uses them, unused ones last."""
    called: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        called.append(module)

    watched = {id(module): module for group in modules.values() for module in group}
    with evaluation_mode(context.model), torch.no_grad(), hooked(watched.values(), note):
        context.task.loss(context.model, tuple(part[:1] for part in batch))  # type: ignore[arg-type]
    places = {id(module): place for place, module in reversed(list(enumerate(called)))}
    last = len(called)
    first = {name: min(places.get(id(m), last) for m in group) for name, group in modules.items()}
    return iter(sorted(first, key=lambda name: first[name]))


def _gram(
    context: Context, modules: Sequence[nn.Module], groups: int, batches: Sequence[Batch]
) -> Tensor:
    """Σ x·xᵀ of what some modules with one weight are multiplied by (groups × inputs × inputs)."""
    found: list[Tensor] = []

    def observe(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        rows = _rows(module, inputs[0]).unflatten(1, (groups, -1)).transpose(0, 1)
        product = (rows.transpose(1, 2) @ rows).double()
        if found:
            found[0] += product
        else:
            found.append(product)

    with evaluation_mode(context.model), torch.no_grad(), hooked(modules, observe):
        for batch in batches:
            context.task.loss(context.model, batch)
    if found:
        return found[0]
    weight: Tensor = modules[0].weight  # type: ignore[assignment]
    inputs = weight[0].numel()
    return torch.zeros(groups, inputs, inputs, dtype=torch.float64, device=weight.device)


def _rows(module: nn.Module, inputs: Tensor) -> Tensor:
    """What each output is computed from: a row for each position (positions × inputs)."""
    if not isinstance(module, nn.Conv2d):
        return inputs.reshape(-1, inputs.shape[-1])
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(inputs, module._reversed_padding_repeated_twice, mode=mode)
    patches = F.unfold(padded, module.kernel_size, dilation=module.dilation, stride=module.stride)
    return patches.transpose(1, 2).reshape(-1, patches.shape[1])
