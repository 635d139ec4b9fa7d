"""Structures: which weights are removed together, and how what is removed together is ranked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...errors import UsageError
from ...hyperparameters import Configured
from ...registry import Registry
from ..channels.coupled import coupled_masks
from ..channels.coupling import Coupling
from ..channels.coupling_search import couple
from ..evidence.context import Context
from ..evidence.prunable import outputs_first, weight_class
from ..masks import Masks
from .allocation import Layerwise, Units
from .ranking import Ranking


@dataclass(frozen=True)
class Structure(Configured, ABC):
    """Divides each weight tensor into units that stay or go as a whole.

    The weights that it is given have their outputs first, whichever way round they are stored.

    Attributes:
        removes: whether weights are removed, or channels with all that belongs to them.
        spares_output: whether the output layer is left alone, since removing a unit of it would
            remove a class.
    """

    removes: ClassVar[Literal["weights", "channels"]] = "weights"
    spares_output: ClassVar[bool] = False

    @abstractmethod
    def units(self, weight: Tensor) -> Tensor:
        """``weight``, or anything of its shape, as a matrix (units × weights in a unit)."""

    def sizes(self, weight: Tensor) -> Tensor | None:
        """Number of weights in each unit of ``weight`` (int64), where units differ; else None."""
        return None

    def admissible(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Which of the weights that ``mask`` keeps may be kept on: by default all of them.

        Of those that compete for a place (:class:`NM`) those of the highest ``scores`` may.
        """
        return mask

    def most(self, weight: Tensor) -> int:
        """The most weights of ``weight`` that this structure can keep."""
        return weight.numel()

    def expand(self, kept_units: Tensor, mask: Tensor) -> Tensor:
        """The mask of a weight from its kept units: of the shape of ``mask``, and no more in it."""
        rows = self.units(mask)
        return (kept_units.unsqueeze(1) & rows).view(mask.shape)

    def masks(self, ranking: Ranking, scores: dict[str, Tensor]) -> Masks:
        """The masks that keep the units of highest score, as the allocation divides the budget.

        Args:
            ranking: what is ranked, and how.
            scores: of each weight by its name; they are taken out, since they are as large as the
                network.
        """
        context = ranking.context
        masks = outputs_first(context.model, context.masks)
        scores_first = outputs_first(context.model, scores)
        scores.clear()
        allowed = {name: self.admissible(scores_first[name], mask) for name, mask in masks.items()}
        units = {
            name: self._units(ranking, name, scores_first.pop(name), allowed[name])
            for name in masks
        }
        chosen = ranking.allocation.keep(units, ranking.budget, context.generator)
        units.clear()
        kept = {name: self.expand(chosen.pop(name), mask) for name, mask in allowed.items()}
        return outputs_first(context.model, kept)

    def shares(self, context: Context, allocation: Layerwise, budget: int) -> dict[str, int]:
        """How many weights each layer keeps, which no score decides."""
        masks = outputs_first(context.model, context.masks)
        layers, most = {}, {}
        for name, mask in masks.items():
            equal = torch.zeros((), dtype=torch.half, device=mask.device).expand(mask.shape)
            allowed = self.admissible(equal, mask)
            layers[name] = self._units(
                Ranking(context, allocation, _any, budget), name, equal, allowed
            )
            most[name] = int(allowed.count_nonzero())
        shares = allocation.shares(layers, budget)
        return {name: min(share, most[name]) for name, share in shares.items()}

    def further_masks(self, context: Context, masks: Masks) -> Masks:
        """Masks of what goes with the weights that ``masks`` remove, and is no prunable weight."""
        return {}

    def _units(self, ranking: Ranking, name: str, score: Tensor, allowed: Tensor) -> Units:
        """The units of a layer, given what of it may be kept."""
        context = ranking.context
        rows = self.units(score)
        scores = ranking.unit_scores(rows)
        if not allowed.all():
            # What is gone ranks below everything else, below a score of -inf too.
            alive = self.units(allowed).any(1)
            scores = scores.clamp(min=torch.finfo(scores.dtype).min).masked_fill(~alive, -torch.inf)
        weight = outputs_first(context.model, {name: context.weights[name]})[name]
        return Units(
            scores=scores,
            size=rows.shape[1],
            weight=weight,
            weight_class=weight_class(context.model, name),
            is_output=name in context.outputs,
            sizes=self.sizes(weight),
        )


STRUCTURES: Registry[Structure] = Registry("structure", "structures", Structure, home=__name__)


@STRUCTURES.register
@dataclass(frozen=True)
class Unstructured(Structure):
    """Every weight by itself."""

    def units(self, weight: Tensor) -> Tensor:
        """One row for each weight."""
        return weight.reshape(-1, 1)


@STRUCTURES.register
@dataclass(frozen=True)
class Filters(Structure):
    """All weights that make one output channel of a convolution or one unit of a linear layer.

    The output layer stays. Biases are not removed with the filter.
    """

    spares_output = True

    def units(self, weight: Tensor) -> Tensor:
        """One row for each output channel (the first dimension)."""
        return weight.reshape(weight.shape[0], -1)


@STRUCTURES.register
@dataclass(frozen=True)
class CoupledChannels(Filters):
    """Channels with all that belongs to them, so that the network can be made smaller.

    The filter, its bias and normalisation, the columns of every layer that reads the channel, and
    where outputs are added up the filters of all of them; heads of attention are channels too.
    Every group of channels keeps one at least, and the output layer stays.
    """

    removes = "channels"

    def masks(self, ranking: Ranking, scores: dict[str, Tensor]) -> Masks:
        """The masks that keep whole channels, as many as cost no more than the budget."""
        return coupled_masks(ranking, _coupling(ranking.context), scores)

    def further_masks(self, context: Context, masks: Masks) -> Masks:
        """Those of biases, normalisation and all else that belongs to the channels."""
        coupling = _coupling(context)
        return coupling.masks(context.model, coupling.kept(masks))


@STRUCTURES.register
@dataclass(frozen=True)
class Channels(Structure):
    """All weights that read one input channel of a convolution or one input of a linear layer."""

    def units(self, weight: Tensor) -> Tensor:
        """One row for each input channel (the second dimension)."""
        return weight.transpose(0, 1).reshape(weight.shape[1], -1)

    def expand(self, kept_units: Tensor, mask: Tensor) -> Tensor:
        """The mask of a weight from its kept units; see :meth:`Structure.expand`."""
        shape = [1, len(kept_units), *[1] * (mask.ndim - 2)]
        return kept_units.view(shape) & mask


@STRUCTURES.register
@dataclass(frozen=True)
class NM(Structure):
    """At most n of every m consecutive weights along the input dimension (Mishra et al. 2021).

    2:4 is what some GPUs run faster. The strategy's score decides which n stay. A sparsity of
    1 − n/m gives the full pattern, a higher one thins it out by the allocation; layers with fewer
    than m inputs stay denser, for which the others make up.

    Args:
        n: weights that may be kept in a group.
        m: consecutive weights in a group.
    """

    n: Annotated[int, Field(ge=1)] = 2
    m: Annotated[int, Field(ge=2)] = 4

    def __post_init__(self) -> None:
        if self.n >= self.m:
            raise UsageError(
                f"structure NM: n: {self.n} is not allowed: it must be below m: {self.m}"
            )

    def units(self, weight: Tensor) -> Tensor:
        """One row for each weight."""
        return weight.reshape(-1, 1)

    def admissible(self, scores: Tensor, mask: Tensor) -> Tensor:
        """The n highest of each group; of equal ones those that come first."""
        rows = scores.masked_fill(~mask, -torch.inf).movedim(1, -1)
        # What a last, smaller group lacks wins no place.
        groups = _padded(rows, self.m, -torch.inf).unflatten(-1, (-1, self.m))
        order = groups.argsort(dim=-1, descending=True, stable=True)
        chosen = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., : self.n], True)
        return chosen.flatten(-2)[..., : rows.shape[-1]].movedim(-1, 1) & mask

    def most(self, weight: Tensor) -> int:
        """n in every group, and all of a rest that has no more."""
        groups, rest = divmod(weight.shape[1], self.m)
        return (groups * self.n + min(rest, self.n)) * (weight.numel() // weight.shape[1])


@STRUCTURES.register
@dataclass(frozen=True)
class Block(Structure):
    """Blocks of the weight as a matrix (outputs × inputs · kernel), smaller at the edges.

    Args:
        height: outputs in a block.
        width: inputs in a block, those of a convolution's kernel one after the other.
    """

    height: Annotated[int, Field(ge=1)] = 4
    width: Annotated[int, Field(ge=1)] = 4

    def units(self, weight: Tensor) -> Tensor:
        """One row for each block, filled up with zeros at the edges."""
        matrix = weight.reshape(weight.shape[0], -1)
        matrix = _padded(_padded(matrix, self.width).T, self.height).T
        blocks = matrix.unflatten(0, (-1, self.height)).unflatten(2, (-1, self.width))
        return blocks.transpose(1, 2).reshape(-1, self.height * self.width)

    def sizes(self, weight: Tensor) -> Tensor | None:
        """The number of weights in each block, if the blocks do not divide the matrix."""
        rows, columns = weight.shape[0], weight.numel() // weight.shape[0]
        if rows % self.height == 0 and columns % self.width == 0:
            return None
        return self.units(torch.ones(rows, columns, dtype=torch.int64)).sum(1)

    def expand(self, kept_units: Tensor, mask: Tensor) -> Tensor:
        """The mask of a weight from its kept blocks; see :meth:`Structure.expand`."""
        columns = mask.numel() // mask.shape[0]
        across = -(-columns // self.width)
        blocks = kept_units.view(-1, across)
        matrix = blocks.repeat_interleave(self.height, 0).repeat_interleave(self.width, 1)
        return matrix[: mask.shape[0], :columns].reshape(mask.shape) & mask


def _any(units: Tensor) -> Tensor:
    """A score for each unit that says nothing."""
    return units[:, 0]


def _coupling(context: Context) -> Coupling:
    """The channels of the network, which are found once."""
    return context.remember(
        "coupling", lambda: couple(context.model, context.task.inputs(1), list(context.masks))
    )


def _padded(tensor: Tensor, multiple: int, value: float = 0) -> Tensor:
    """``tensor`` with its last dimension filled up with ``value`` to a multiple."""
    missing = -tensor.shape[-1] % multiple
    return tensor if missing == 0 else nn.functional.pad(tensor, (0, missing), value=value)
