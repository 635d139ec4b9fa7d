"""Optimal brain surgery: the kept weights make up for those that go."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ...datasets import Batch
from ...errors import UsageError
from ...precision import float64_device, from_float64, in_float64
from ..evidence.context import Context
from ..evidence.curvature import sample_gradients
from ..masks import Masks
from ..scored import ScoredStrategy, Scores
from ..strategy import register

_MOST_ENTRIES = 2**30
# Gradients of so many examples are multiplied at once.
_CHUNK = 32


@dataclass(frozen=True)
class _Surgeon(ScoredStrategy):
    """Scores and updates by the inverse of a curvature matrix in diagonal blocks."""

    examples: Annotated[int, Field(ge=1)] = 512
    block_size: Annotated[int, Field(ge=1)] = 64
    damping: Annotated[float, Field(gt=0)] = 1e-4

    search_space = {"damping": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)}

    @abstractmethod
    def loss(self, context: Context, batch: Batch) -> Tensor:
        """The mean loss of a batch of one, whose gradients, of the sum, make the curvature."""

    def score(self, context: Context) -> Scores:
        """w² / (2 · [F⁻¹]_ii)."""
        scores = {}
        for name, matrix in self._matrices(context).items():
            weight, mask = context.weights[name], context.masks[name]
            alive = _in_blocks(mask, self.block_size).to(float64_device(mask.device))
            # In float64: a block of few directions is nearly singular but for the damping.
            restricted = _restricted(in_float64(matrix), alive)
            inverse = torch.linalg.inv(restricted).diagonal(dim1=1, dim2=2)
            squares = in_float64(_in_blocks(weight, self.block_size)).square()
            score = _out_of_blocks(squares / (2 * inverse), weight)
            scores[name] = from_float64(score, weight.device)
        return scores

    def update(self, context: Context, masks: Masks) -> Mapping[str, Tensor]:
        """The kept weights K of a block, when the others Q go to zero: w_K + F_KK⁻¹ F_KQ w_Q."""
        updated = {}
        for name, matrix in self._matrices(context).items():
            weight = context.weights[name]
            stay = _in_blocks(masks[name], self.block_size).to(float64_device(weight.device))
            blocks, matrix = in_float64(_in_blocks(weight, self.block_size)), in_float64(matrix)
            pull = (matrix @ (blocks * ~stay).unsqueeze(2)) * stay.unsqueeze(2)
            change = torch.linalg.solve(_restricted(matrix, stay), pull).squeeze(2)
            new = _out_of_blocks((blocks + change) * stay, weight)
            updated[name] = new.to(weight.dtype).to(weight.device)
        return updated

    def _matrices(self, context: Context) -> dict[str, Tensor]:
        """For each layer its blocks of λI + mean of g·gᵀ (blocks × block_size × block_size).

        A token of a sequence is an example, and the gradient of a sequence's sum stands for those
        of its tokens, as in :class:`.GaussNewton`.
        """
        return context.remember("blocks of curvature", lambda: self._accumulated(context))

    def _accumulated(self, context: Context) -> dict[str, Tensor]:
        entries = self.block_size * sum(weight.numel() for weight in context.weights.values())
        if entries > _MOST_ENTRIES:
            raise UsageError(
                f"strategy {self}: block_size: {self.block_size} is not possible here: the blocks "
                f"would have {entries:,} entries, and {_MOST_ENTRIES:,} are allowed"
            )
        size = self.block_size
        matrices = {
            name: torch.eye(size, dtype=w.dtype, device=w.device)
            .mul(self.damping)
            .repeat(-(-w.numel() // size), 1, 1)
            for name, w in context.weights.items()
        }
        pending: list[list[Tensor]] = [[] for _ in matrices]

        def add() -> None:
            for matrix, slopes in zip(matrices.values(), pending, strict=True):
                rows = torch.stack(slopes, 1)  # blocks × examples × block_size
                matrix.baddbmm_(rows.transpose(1, 2), rows, alpha=1 / self.examples)
                slopes.clear()

        sizes: list[int] = []

        def summed(batch: Batch) -> Tensor:
            sizes.append(context.task.examples(batch))
            return self.loss(context, batch) * sizes[-1]

        slopes_of_examples = sample_gradients(context, self.examples, 1, summed)
        for number, slopes in enumerate(slopes_of_examples, start=1):
            for waiting, slope in zip(pending, slopes, strict=True):
                waiting.append(_in_blocks(slope, size))
            if number % _CHUNK == 0 or number == self.examples:
                add()
        # A sequence has as many examples as tokens, so that there are more than were counted on.
        if (fewer := self.examples / sum(sizes)) < 1:
            for matrix in matrices.values():
                matrix.mul_(fewer).diagonal(dim1=1, dim2=2).add_((1 - fewer) * self.damping)
        return matrices


@register
@dataclass(frozen=True)
class OBS(_Surgeon):
    """Prune what costs the least loss once all others have made up for it (Hassibi & Stork 1993).

    Optimal brain surgeon: weights that stay are changed so as to make up for those that go. The
    Hessian is that of Gauss and Newton, by targets drawn from the model's predictions, in diagonal
    blocks of consecutive weights of a layer.

    Formula: w² / (2 · [H⁻¹]_ii); kept weights change by H_KK⁻¹ H_KQ w_Q.
    Source: Hassibi, Stork: Second order derivatives for network pruning: Optimal Brain Surgeon,
        NeurIPS 1992, equation 5.
    Use: on a trained network, above all without or with little fine-tuning.
    Cost: one forward and one backward pass for each example, and the inverse of each block; memory
        for block_size numbers a weight.

    Args:
        examples: number of examples, each with one draw of its target.
        block_size: consecutive weights whose interaction counts; 1 leaves the diagonal.
        damping: added to the diagonal of H.
    """

    def loss(self, context: Context, batch: Batch) -> Tensor:
        """The loss of a target that is drawn from the model's prediction."""
        return context.task.sampled_loss(context.model, batch, context.generator)


@register
@dataclass(frozen=True)
class WoodFisher(_Surgeon):
    """Prune what costs the least loss by blocks of the empirical Fisher (Singh & Alistarh 2020).

    As ``OBS``, with the examples' true targets. Weights that go together are made up for jointly,
    where the paper adds up what it would do for each alone.

    Formula: w² / (2 · [F⁻¹]_ii), F = λI + mean of g·gᵀ over examples; kept weights change by
        F_KK⁻¹ F_KQ w_Q.
    Source: Singh, Alistarh: WoodFisher: Efficient Second-Order Approximation for Neural Network
        Compression, NeurIPS 2020, equations 4 and 12.
    Use: on a trained network, above all without or with little fine-tuning.
    Cost: one forward and one backward pass for each example, and the inverse of each block; memory
        for block_size numbers a weight.

    Args:
        examples: number of examples.
        block_size: consecutive weights whose interaction counts; 1 leaves the diagonal.
        damping: λ, added to the diagonal of F.
    """

    def loss(self, context: Context, batch: Batch) -> Tensor:
        """The loss of the true target."""
        return context.task.loss(context.model, batch)


def _in_blocks(tensor: Tensor, size: int) -> Tensor:
    """A tensor of a layer's shape as blocks × ``size``, filled up with zeros at the end."""
    flat = tensor.reshape(-1)
    return torch.nn.functional.pad(flat, (0, -len(flat) % size)).view(-1, size)


def _out_of_blocks(blocks: Tensor, weight: Tensor) -> Tensor:
    """Blocks as a tensor of the shape of ``weight`` again."""
    return blocks.reshape(-1)[: weight.numel()].view(weight.shape)


def _restricted(matrix: Tensor, part: Tensor) -> Tensor:
    """Each block with the rows and columns outside ``part`` as those of the identity."""
    inside = part.unsqueeze(1) & part.unsqueeze(2)
    return matrix * inside + torch.diag_embed((~part).to(matrix.dtype))
