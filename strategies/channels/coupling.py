"""Which channels of a network can only be removed together, and what of each tensor is theirs.

A channel is more than a filter: the bias and the normalisation that follow belong to it, so do the
columns of all layers that read it, and where outputs are added up, the filters of all of them.
Removed with all of it, a channel leaves a smaller network that computes the same as the masked one.

What goes together :mod:`.coupling_search` finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...seeding import generator
from ..masks import Masks


class Group(NamedTuple):
    """Channels that the same layers make, so that they are ranked against each other.

    Attributes:
        weights: names of the weights that make the channels.
        start: the number of the first channel.
        stop: one more than the number of the last.
    """

    weights: tuple[str, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Coupling:
    """The channels of a network that can be removed, numbered from 0, group after group.

    Attributes:
        groups: by the name of the first weight that makes the channels.
        dimensions: name of a parameter or buffer → dimension → for each position along it the
            number of the channel that it belongs to, −1 for none.
        sources: name of a module that moves channels (:class:`.MovesChannels`) → for each of its
            inputs the number of the channel, −1 for none.
    """

    groups: Mapping[str, Group]
    dimensions: Mapping[str, Mapping[int, Tensor]]
    sources: Mapping[str, Tensor]

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return max((group.stop for group in self.groups.values()), default=0)

    def half(self, *purpose: object) -> Tensor:
        """For each channel whether it stays when half of them go by lot, drawn for a purpose.

        Of each group at least one stays, and one goes if there are several.
        """
        kept = torch.rand(self.channels, generator=generator(0, *purpose)) < 0.5
        for group in self.groups.values():
            kept[group.stop - 1], kept[group.start] = False, True
        return kept

    def positions(self, name: str, kept: Tensor) -> dict[int, Tensor]:
        """Where along each dimension of a tensor are those that stay: dimension → bool tensor.

        Args:
            name: of a tensor in ``dimensions``.
            kept: for each channel whether it stays.
        """
        stays = torch.cat([kept, kept.new_ones(1)])  # −1, no channel, is the last
        return {dim: stays[channels] for dim, channels in self.dimensions[name].items()}

    def masks(self, model: nn.Module, kept: Tensor) -> Masks:
        """Masks of all parameters that channels have a part of."""
        parameters = dict(model.named_parameters())
        masks = {}
        for name in self.dimensions:
            if name in parameters:
                weight = parameters[name]
                mask = torch.ones((), dtype=torch.bool, device=weight.device).expand(weight.shape)
                for dim, stays in self.positions(name, kept).items():
                    shape = [-1 if each == dim else 1 for each in range(weight.ndim)]
                    mask = mask & stays.to(weight.device).view(shape)
                masks[name] = mask
        return masks

    def kept(self, masks: Mapping[str, Tensor]) -> Tensor:
        """For each channel whether masks of the weights that make it keep anything of it."""
        kept = torch.zeros(self.channels, dtype=torch.bool)
        for group in self.groups.values():
            for name in group.weights:
                dim, numbers = self._made_along(name, group)
                left = masks[name].movedim(dim, 0).flatten(1).any(1).cpu()
                kept[numbers[left & (numbers >= 0)]] = True
        return kept

    def rows(self, group: Group, tensors: Mapping[str, Tensor]) -> Tensor:
        """All elements of the weights that make each channel of a group (channels × elements)."""
        parts = []
        for name in group.weights:
            dim, numbers = self._made_along(name, group)
            inside = (numbers >= 0).nonzero().squeeze(1)
            order = inside[numbers[inside].argsort(stable=True)].to(tensors[name].device)
            filters = tensors[name].movedim(dim, 0).flatten(1)[order]
            parts.append(filters.reshape(group.stop - group.start, -1))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def _made_along(self, name: str, group: Group) -> tuple[int, Tensor]:
        """The dimension of a weight along which it makes a group's channels, and their numbers.

        It is the first, but for embeddings, whose rows are no channels. All else is −1.
        """
        own = {
            dim: numbers.where((numbers >= group.start) & (numbers < group.stop), -1)
            for dim, numbers in self.dimensions[name].items()
        }
        dim = min(dim for dim, numbers in own.items() if (numbers >= 0).any())
        return dim, own[dim]

    def kept_fractions(self, kept: Tensor) -> dict[str, float]:
        """For each tensor in ``dimensions`` the fraction of its elements that stays."""
        return {
            name: prod(float(each.double().mean()) for each in self.positions(name, kept).values())
            for name in self.dimensions
        }
