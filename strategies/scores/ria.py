"""RIA: a weight matters by what it is beside others of its input and of its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ..evidence.activations import CONVOLUTIONS, input_norms, owners
from ..evidence.context import Context
from ..scored import Scores
from ..strategy import register
from .wanda import Wanda


@register
@dataclass(frozen=True)
class RIA(Wanda):
    """Prune the smallest weights among those of their input and output (Zhang et al. 2024).

    For linear, convolutional, recurrent and embedding layers. An input whose weights are all small
    does not lose them all, as it may with ``Wanda``. The paper compares weights of the same output
    only (``allocation=PerOutput()``), or those of the groups of ``structure=NM()``.

    Formula: (|w_ij| / Σ_k |w_ik| + |w_ij| / Σ_k |w_kj|) · ‖x_j‖₂^a, the norm of input j over the
        scoring examples and their positions.
    Source: Zhang, Bai, Lin, Zhao, Hou, Cannistraci: Plug-and-Play: An Efficient Post-training
        Pruning Method for Large Language Models, ICLR 2024.
    Use: on a trained network, without or with little fine-tuning.
    Cost: one forward pass for each scoring batch; if ``sequential`` one for each layer too, in a
        transformer through its block alone.

    Args:
        batches: number of scoring batches of training examples.
        batch_size: examples in each of them.
        sequential: whether layers are scored one after the other, on what the pruned layers before
            them give out, or all at once on the network as it was.
        power: a, how much the inputs count; at 0 the weights alone do.
    """

    power: Annotated[float, Field(ge=0)] = 0.5

    def score(self, context: Context) -> Scores:
        """Relative importance · ‖x‖^a."""
        norms = input_norms(context, self.batches, self.batch_size)
        convolutions = owners(context.model, context.masks, CONVOLUTIONS)
        groups = {name: getattr(users[0], "groups", 1) for name, users in convolutions.items()}
        return {
            name: _relative(weight, groups.get(name, 1)) * norms[name] ** self.power
            for name, weight in context.weights.items()
        }


def _relative(weight: Tensor, groups: int) -> Tensor:
    """Each magnitude beside the sum of its output's and of its input's, 0 where these are 0.

    The outputs of each of a convolution's groups have inputs of their own.
    """
    sizes = weight.abs().to(torch.promote_types(weight.dtype, torch.float32))
    of_output = sizes.flatten(1).sum(1).view(-1, *[1] * (sizes.ndim - 1))
    by_group = sizes.unflatten(0, (groups, -1))
    of_input = by_group.sum(1, keepdim=True).expand_as(by_group).flatten(0, 1)
    least = torch.finfo(sizes.dtype).tiny
    return sizes / of_output.clamp(min=least) + sizes / of_input.clamp(min=least)
