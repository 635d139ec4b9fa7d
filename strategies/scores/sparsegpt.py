"""SparseGPT: optimal brain surgery within each layer, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ..axes.selection import keep_largest
from ..layer_by_layer import CalibratedLayer, LayerByLayer
from ..strategy import register


@register
@dataclass(frozen=True)
class SparseGPT(LayerByLayer):
    """Prune layer by layer what changes a layer's outputs least, and let the rest make up for it.

    For linear layers and convolutions of images (Frantar & Alistarh 2023). Layers are pruned in the
    order in which they run, each on what the pruned layers before it give out. Within a layer every
    block of inputs keeps the same fraction; of inputs that are alike the first lose most, since
    those after them can make up for it.

    Formula: of each block of inputs the weights of lowest w_j² / [H⁻¹]_jj go, H = Σ x·xᵀ + λI over
        the inputs from j on; when w_j goes, w_k changes by −w_j · [H⁻¹]_jk / [H⁻¹]_jj for k > j.
    Source: Frantar, Alistarh: SparseGPT: Massive Language Models Can Be Accurately Pruned in
        One-Shot, ICML 2023, algorithm 1.
    Use: on a trained network, without or with little fine-tuning.
    Cost: a forward pass for each layer and scoring batch, and for each layer the inverse of a
        matrix as large as its inputs.

    Args:
        allocation: how what is kept is divided among the layers, before any of them is looked at.
        batches: number of scoring batches of training examples.
        batch_size: examples in each of them.
        block_size: inputs whose weights are compared with each other.
        damping: λ, as a share of the mean of H's diagonal.
    """

    block_size: Annotated[int, Field(ge=1)] = 128
    damping: Annotated[float, Field(gt=0)] = 0.01

    def prune_layer(self, layer: CalibratedLayer, kept: int) -> tuple[Tensor, Tensor]:
        """Go through the inputs once, from the first to the last."""
        weight = layer.weight.double().clone()
        factor = self._factor(layer.gram)
        mask = torch.zeros_like(layer.mask)
        alive, left = layer.mask.clone(), kept
        for start in range(0, weight.shape[2], self.block_size):
            block = slice(start, min(start + self.block_size, weight.shape[2]))
            own = alive[..., block]
            share = round(left * int(own.count_nonzero()) / max(int(alive[..., start:].sum()), 1))
            diagonal = factor.diagonal(dim1=1, dim2=2)[:, block].unsqueeze(1)
            scores = (weight[..., block] / diagonal).square().masked_fill(~own, -torch.inf)
            mask[..., block] = keep_largest(scores, share, layer.generator) & own
            left -= share
            self._remove(weight, mask, factor, block)
        return mask, (weight * mask).to(layer.weight.dtype)

    def _factor(self, gram: Tensor) -> Tensor:
        """The upper factor U of H⁻¹ = Uᵀ·U, whose rows have what removing an input changes."""
        mean = gram.diagonal(dim1=1, dim2=2).mean(1)
        shift = torch.where(mean > 0, self.damping * mean, 1.0)  # a layer may have no inputs but 0
        identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
        damped = gram + shift.view(-1, 1, 1) * identity
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        return torch.linalg.cholesky(inverse, upper=True)

    def _remove(self, weight: Tensor, mask: Tensor, factor: Tensor, block: slice) -> None:
        """Set what the mask does not keep of a block to zero, and change the weights after it."""
        errors = torch.zeros_like(weight[..., block])
        for column in range(block.start, block.stop):
            own = factor[:, column, column : block.stop]
            error = (weight[..., column] * ~mask[..., column]) / own[:, :1]
            weight[..., column : block.stop] -= error.unsqueeze(2) * own.unsqueeze(1)
            errors[..., column - block.start] = error
        weight[..., block.stop :] -= errors @ factor[:, block, block.stop :]
