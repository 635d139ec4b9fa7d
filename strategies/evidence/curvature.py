"""Estimators of the diagonal of the loss's Hessian, each by its own name and never mixed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ...datasets import Batch
from ...errors import UsageError
from ...hyperparameters import Configured
from ...registry import Registry
from ..masks import kept
from .context import Context
from .derivatives import hessian_product
from .modes import evaluation_mode, twice_differentiable

_MOST_EXACT = 5_000


@dataclass(frozen=True)
class Curvature(Configured, ABC):
    """Estimates the second derivative of the mean training loss by each weight alone."""

    @abstractmethod
    def diagonal(self, context: Context) -> dict[str, Tensor]:
        """The estimate of ∂²L/∂w² for each prunable weight, of the weights' shapes.

        Raises:
            UsageError: the network is too large for it, or the task does not give what it needs.
        """


CURVATURES: Registry[Curvature] = Registry("curvature", "curvatures", Curvature, home=__name__)


@CURVATURES.register
@dataclass(frozen=True)
class GaussNewton(Curvature):
    """The diagonal of the Gauss–Newton matrix, by targets drawn from the model's predictions.

    Never negative. The gradient of a batch's summed loss with independent targets has, squared, the
    sum of the examples' own terms as its expectation, so that one backward pass serves a batch
    (Martens 2020, sections 5 and 8). The default is few examples, as all that is recorded under it
    had them: for a network of more than some thousand weights give more, such as ``batches=512``.

    Args:
        batches: number of batches, each with one draw of targets.
        batch_size: examples in each of them.
    """

    batches: Annotated[int, Field(ge=1)] = 64
    batch_size: Annotated[int, Field(ge=1)] = 32

    def diagonal(self, context: Context) -> dict[str, Tensor]:
        """The mean of B·g², with g the gradient of the mean loss of a batch of B."""

        def loss(batch: Batch) -> Tensor:
            return context.task.sampled_loss(context.model, batch, context.generator)

        return _squares(context, self.batches, self.batch_size, loss)


@CURVATURES.register
@dataclass(frozen=True)
class EmpiricalFisher(Curvature):
    """The mean squared gradient of single examples with their true targets (Theis et al. 2018).

    Never negative. The same as Gauss–Newton where the model's predictions are right on average. The
    default is few examples, as all that is recorded under it had them: give more, such as
    ``examples=4096``, since few lose points of accuracy.

    Args:
        examples: number of examples, with a forward and a backward pass for each.
    """

    examples: Annotated[int, Field(ge=1)] = 512

    def diagonal(self, context: Context) -> dict[str, Tensor]:
        """The mean of g² over single examples."""
        return _squares(
            context, self.examples, 1, lambda batch: context.task.loss(context.model, batch)
        )


@CURVATURES.register
@dataclass(frozen=True)
class Hutchinson(Curvature):
    """The diagonal of the Hessian itself, by random signs (Bekas et al. 2007).

    Unbiased, but noisy, and it can be negative.

    Args:
        probes: vectors of random signs.
        batches: number of scoring batches over which the loss is averaged for each.
        batch_size: examples in each of them.
    """

    probes: Annotated[int, Field(ge=1)] = 32
    batches: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 128

    def diagonal(self, context: Context) -> dict[str, Tensor]:
        """The mean of z ⊙ Hz."""
        sums = {name: torch.zeros_like(weight) for name, weight in context.weights.items()}
        for _ in range(self.probes):
            # Weights that are gone, and stay so, add nothing but noise.
            signs = {
                name: _signs(weight, context.generator) * context.masks[name]
                for name, weight in context.weights.items()
            }
            batches = context.batches(self.batches, self.batch_size)
            task = context.task
            products = hessian_product(context.model, signs, batches, task.loss, task.examples)
            for name, product in products.items():
                sums[name].addcmul_(signs[name], product, value=1 / self.probes)
        return sums


@CURVATURES.register
@dataclass(frozen=True)
class Exact(Curvature):
    """The diagonal of the Hessian itself, entry by entry: for networks of up to 5,000 weights.

    It can be negative.

    Args:
        batches: number of scoring batches over which the loss is averaged.
        batch_size: examples in each of them.
    """

    batches: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 128

    def diagonal(self, context: Context) -> dict[str, Tensor]:
        """One backward pass through the gradient's graph for each weight and batch."""
        if (count := kept(context.masks)) > _MOST_EXACT:
            raise UsageError(
                f"curvature Exact is not possible for {count:,} weights: it takes a backward pass "
                f"for each, and {_MOST_EXACT:,} are allowed; take GaussNewton"
            )
        parameters = dict(context.model.named_parameters())
        weights = [parameters[name] for name in context.masks]
        sums = [torch.zeros_like(weight) for weight in context.weights.values()]
        examples = 0
        with evaluation_mode(context.model), twice_differentiable():
            for batch in context.batches(self.batches, self.batch_size):
                loss = context.task.loss(context.model, batch)
                slopes = torch.autograd.grad(
                    loss, weights, create_graph=True, materialize_grads=True
                )
                for total, slope, weight, mask in zip(
                    sums, slopes, weights, context.masks.values(), strict=True
                ):
                    own = _own_derivatives(slope, weight, mask)
                    total.add_(own, alpha=context.task.examples(batch))
                examples += context.task.examples(batch)
        return {name: total / examples for name, total in zip(context.masks, sums, strict=True)}


def sample_gradients(
    context: Context, count: int, batch_size: int, loss: Callable[[Batch], Tensor]
) -> Iterator[tuple[Tensor, ...]]:
    """The gradient of ``loss`` on each of ``count`` batches, in the order of ``context.masks``."""
    parameters = dict(context.model.named_parameters())
    weights = [parameters[name] for name in context.masks]
    with evaluation_mode(context.model):
        for batch in context.batches(count, batch_size):
            yield torch.autograd.grad(loss(batch), weights, materialize_grads=True)


def _squares(
    context: Context, batches: int, batch_size: int, loss: Callable[[Batch], Tensor]
) -> dict[str, Tensor]:
    """Over all batches the squared gradients of the summed loss, divided by the examples."""
    sums = [torch.zeros_like(weight) for weight in context.weights.values()]
    sizes: list[int] = []

    def summed(batch: Batch) -> Tensor:
        sizes.append(context.task.examples(batch))
        return loss(batch) * sizes[-1]

    for slopes in sample_gradients(context, batches, batch_size, summed):
        for total, slope in zip(sums, slopes, strict=True):
            total.addcmul_(slope, slope)
    return {name: total / sum(sizes) for name, total in zip(context.masks, sums, strict=True)}


def _signs(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Independent random signs of the shape and type of ``weight``."""
    bits = torch.randint(2, weight.shape, generator=generator)
    return (2 * bits - 1).to(weight)


def _own_derivatives(slope: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """∂slope_i/∂weight_i for each entry i of one parameter that ``mask`` keeps, else zero."""
    own = torch.zeros_like(weight)
    if slope.requires_grad:
        for place in map(tuple, mask.nonzero().tolist()):
            (row,) = torch.autograd.grad(
                slope[place], weight, retain_graph=True, materialize_grads=True
            )
            own[place] = row[place]
    return own
