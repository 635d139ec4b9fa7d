"""SparseGPT: optimal brain surgery within each layer, column by column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ...errors import UsageError
from ..axes.selection import keep_largest
from ..axes.structure import NM
from ..layer_by_layer import CalibratedLayer, LayerByLayer
from ..strategy import register


@register
@dataclass(frozen=True)
class SparseGPT(LayerByLayer):
    """Prune layer by layer what changes a layer's outputs least, and let the rest make up for it.

    For linear layers and convolutions of images (Frantar & Alistarh 2023). Layers are pruned in the
    order in which they run, each on what the pruned layers before it give out. Within a layer every
    block of inputs keeps the same fraction; of inputs that are alike the first lose most, since
    those after them can make up for it. With ``structure=NM()`` the weights of each group are
    chosen when the first of its inputs has its turn.

    Formula: of each block of inputs the weights of lowest w_j² / [H⁻¹]_jj go, H = Σ x·xᵀ + λI over
        the inputs from j on; when w_j goes, w_k changes by −w_j · [H⁻¹]_jk / [H⁻¹]_jj for k > j.
    Source: Frantar, Alistarh: SparseGPT: Massive Language Models Can Be Accurately Pruned in
        One-Shot, ICML 2023, algorithm 1.
    Use: on a trained network, without or with little fine-tuning.
    Cost: a forward pass for each layer and scoring batch, in a transformer through its block alone,
        and for each layer the inverse of a matrix with as many rows as it has inputs, in the place
        of that matrix.

    Args:
        allocation: how what is kept is divided among the layers, before any of them is looked at.
        batches: number of scoring batches of training examples.
        batch_size: examples in each of them.
        structure: single weights, or n of every m.
        sequential: whether layers are calibrated on what the pruned layers before them give out,
            one after the other, or all at once on the network as it was.
        block_size: inputs whose weights are compared with each other.
        damping: λ, as a share of the mean of H's diagonal.
    """

    block_size: Annotated[int, Field(ge=1)] = 128
    damping: Annotated[float, Field(gt=0)] = 0.01

    search_space = {"damping": (1e-3, 1e-2, 1e-1)}

    def prune_layer(self, layer: CalibratedLayer, kept: int) -> tuple[Tensor, Tensor]:
        """Go through the inputs once, from the first to the last."""
        weight = layer.weight.to(layer.gram.dtype)
        factor = self._factor(layer.gram)
        mask = torch.zeros_like(layer.mask)
        places, left = self._places(layer), kept
        for parts in self._blocks(layer):
            block = slice(parts[0].start, parts[-1].stop)
            errors = []
            for part in parts:
                most = int(places[..., part].count_nonzero())
                share = round(left * most / max(int(places[..., part.start :].count_nonzero()), 1))
                diagonal = factor.diagonal(dim1=1, dim2=2)[:, part].unsqueeze(1)
                scores = (weight[..., part] / diagonal).square()
                alive = self._admissible(scores, layer.mask[..., part])
                scores = scores.masked_fill(~alive, -torch.inf)
                mask[..., part] = keep_largest(scores, share, layer.generator) & alive
                left -= share
                errors.append(_remove(weight, mask, factor, part, block.stop))
            rest = weight[..., block.stop :]
            rest.baddbmm_(torch.cat(errors, 2), factor[:, block, block.stop :], alpha=-1)
        return mask, weight.to(layer.weight.dtype)

    def _blocks(self, layer: CalibratedLayer) -> Iterator[list[slice]]:
        """Blocks of inputs, in the parts within which weights compete for places."""
        inputs = layer.weight.shape[2]
        if layer.channels is None or not isinstance(self.structure, NM):
            for start in range(0, inputs, self.block_size):
                yield [slice(start, min(start + self.block_size, inputs))]
            return
        parts: list[slice] = []
        for first in range(0, inputs, layer.channels):
            end = first + layer.channels
            for start in range(first, end, self.structure.m):
                parts.append(slice(start, min(start + self.structure.m, end)))
                if parts[-1].stop - parts[0].start >= self.block_size:
                    yield parts
                    parts = []
        if parts:
            yield parts

    def _places(self, layer: CalibratedLayer) -> Tensor:
        """A mask that keeps as many weights of each part as may be kept, whichever they are."""
        mask = layer.mask
        if layer.channels is not None:
            mask = mask.unflatten(2, (-1, layer.channels)).flatten(1, 2)
        equal = torch.zeros((), dtype=torch.half, device=mask.device).expand(mask.shape)
        return self._admissible(equal, mask).reshape(layer.mask.shape)

    def _admissible(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Which of the weights that ``mask`` keeps the structure lets be kept on."""
        rows = self.structure.admissible(scores.flatten(0, 1), mask.flatten(0, 1))
        return rows.view(mask.shape)

    def _factor(self, gram: Tensor) -> Tensor:
        """The upper factor U of H⁻¹ = Uᵀ·U, whose rows have what removing an input changes.

        It takes the place of ``gram``.

        Raises:
            UsageError: there is none, as computed.
        """
        mean = gram.diagonal(dim1=1, dim2=2).mean(1)
        shift = torch.where(mean > 0, self.damping * mean, 1.0)  # a layer may have no inputs but 0
        gram.diagonal(dim1=1, dim2=2).add_(shift.unsqueeze(1))
        try:
            return inverted_factor_(gram)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            raise UsageError(
                f"strategy SparseGPT: damping: {self.damping} is too small for what flows into a "
                "layer, or that contains NaN or infinite values"
            ) from None


def inverted_factor_(matrix: Tensor, block_size: int = 128) -> Tensor:
    """The upper U with H⁻¹ = Uᵀ·U, in the place of H (batch × n × n, positive definite).

    H = R·Rᵀ with an upper R, of which U is the inverse. R is Cholesky's factor if rows and columns
    are counted from the last, so that both are found block by block from the last to the first, and
    no other matrix of that size is needed.
    """
    size = matrix.shape[-1]
    for start in reversed(range(0, size, block_size)):
        own, after = slice(start, start + block_size), slice(start + block_size, size)
        before = slice(start)
        corner = torch.linalg.cholesky(matrix[:, own, own].flip(1, 2)).flip(1, 2)
        unit = torch.eye(corner.shape[-1], dtype=matrix.dtype, device=matrix.device)
        inverse = torch.linalg.solve_triangular(corner, unit.expand_as(corner), upper=True)
        panel = matrix[:, before, own] @ inverse.mT
        matrix[:, before, before].baddbmm_(panel, panel.mT, alpha=-1)
        matrix[:, before, own] = panel
        matrix[:, own, after] = -inverse @ (matrix[:, own, after] @ matrix[:, after, after])
        matrix[:, own, own] = inverse
        matrix[:, own, before] = 0
    return matrix


def _remove(weight: Tensor, mask: Tensor, factor: Tensor, part: slice, end: int) -> Tensor:
    """Set what the mask does not keep of a part to zero, and change the weights up to ``end``.

    Returns:
        Of the shape of the part by how much of a row of ``factor`` those after ``end`` change.
    """
    errors = torch.zeros_like(weight[..., part])
    for column in range(part.start, part.stop):
        own = factor[:, column, column:end]
        error = (weight[..., column] * ~mask[..., column]) / own[:, :1]
        weight[..., column:end] -= error.unsqueeze(2) * own.unsqueeze(1)
        errors[..., column - part.start] = error
    weight[..., part].masked_fill_(~mask[..., part], 0)  # but for rounding it is so already
    return errors
