"""First and second derivatives of the training loss, averaged over scoring batches.

All are taken with respect to the prunable weights and leave the parameters' ``grad`` untouched.
Dropout is off; normalisation uses its running statistics unless a mode says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ...datasets import Batch
from .modes import evaluation_mode, twice_differentiable

Loss = Callable[[nn.Module, Batch], Tensor]
"""The mean loss of a model on a batch, a scalar; :meth:`Task.loss` for one."""

Count = Callable[[Batch], int]
"""How many examples the loss of a batch is the mean over; :meth:`Task.examples` for one."""

Mode = Callable[[nn.Module], AbstractContextManager[None]]
"""How the model is run meanwhile: ``evaluation_mode`` or ``batch_statistics``."""


def gradients(
    model: nn.Module,
    names: Iterable[str],
    batches: Iterable[Batch],
    loss: Loss,
    examples: Count,
    mode: Mode = evaluation_mode,
) -> dict[str, Tensor]:
    """∂L/∂w of the parameters ``names``, L being the mean loss over all examples of ``batches``.

    One forward and one backward pass for each batch.
    """
    chosen = _parameters(model, names)
    with mode(model):
        return _averaged(
            chosen,
            (
                (torch.autograd.grad(loss(model, batch), list(chosen.values()),
                                     materialize_grads=True), examples(batch))
                for batch in batches
            ),
        )  # fmt: skip


def hessian_product(
    model: nn.Module,
    vector: Mapping[str, Tensor],
    batches: Iterable[Batch],
    loss: Loss,
    examples: Count,
    mode: Mode = evaluation_mode,
) -> dict[str, Tensor]:
    """H·v, with H the Hessian of the mean loss in the parameters that ``vector`` names.

    One forward pass and two backward passes (of twice the work each) for each batch; exact for
    recurrent networks too (Pearlmutter 1994).
    """
    chosen = _parameters(model, vector)
    directions = [vector[name] for name in chosen]

    def products() -> Iterator[tuple[tuple[Tensor, ...], int]]:
        weights = list(chosen.values())
        for batch in batches:
            first = torch.autograd.grad(
                loss(model, batch), weights, create_graph=True, materialize_grads=True
            )
            # A gradient that does not depend on any weight has no graph, and no curvature.
            pairs = [(g, v) for g, v in zip(first, directions, strict=True) if g.requires_grad]
            along = [(g * v).sum() for g, v in pairs]
            second = (
                torch.autograd.grad(along, weights, materialize_grads=True)
                if along
                else tuple(map(torch.zeros_like, weights))
            )
            yield second, examples(batch)

    with mode(model), twice_differentiable():
        return _averaged(chosen, products())


def _parameters(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Parameter]:
    parameters = dict(model.named_parameters())
    return {name: parameters[name] for name in names}


def _averaged(
    parameters: Mapping[str, Tensor], parts: Iterable[tuple[tuple[Tensor, ...], int]]
) -> dict[str, Tensor]:
    """The mean of tensors for each parameter, each weighted with its number of examples."""
    sums = [torch.zeros_like(parameter) for parameter in parameters.values()]
    total = 0
    for tensors, count in parts:
        torch._foreach_add_(sums, tensors, alpha=count)
        total += count
    torch._foreach_div_(sums, float(total))
    return dict(zip(parameters, sums, strict=True))
