"""What a score may look at: the model, the task, the masks so far, gradients, random numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..datasets import Batch, Task


@dataclass(frozen=True)
class Context:
    """A model about to be pruned, and all that a strategy may base its scores on.

    Attributes:
        model: the model with its present weights, those already pruned being zero.
        task: batches and loss; only the training split may be used.
        masks: parameter name → bool tensor, False where a weight has been pruned already. Their
            names are those of the prunable weights.
        output: name of the output layer's weight (the classifier's).
        generator: the source of all randomness in scores.
    """

    model: nn.Module
    task: Task
    masks: Mapping[str, Tensor]
    output: str
    generator: torch.Generator

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The prunable weights by parameter name, detached, not to be changed."""
        parameters = dict(self.model.named_parameters())
        return {name: parameters[name].detach() for name in self.masks}

    def batches(self, count: int, size: int) -> Iterator[Batch]:
        """``count`` batches of ``size`` random training examples, from the start again if short."""
        remaining = count
        while remaining > 0:
            for batch in self.task.batches("train", size, self.generator):
                yield batch
                remaining -= 1
                if remaining == 0:
                    return

    def gradients(self, batches: int, batch_size: int) -> dict[str, Tensor]:
        """∂L/∂w for each prunable weight, the loss L averaged over the scoring batches.

        Taken in evaluation mode: dropout is off and normalisation statistics stay as they are.
        The parameters' ``grad`` is not touched.
        """
        parameters = dict(self.model.named_parameters())
        chosen = [parameters[name] for name in self.masks]
        sums = [torch.zeros_like(weight) for weight in chosen]
        examples = 0
        with evaluation_mode(self.model):
            for batch in self.batches(batches, batch_size):
                loss = self.task.loss(self.model, batch)
                gradients = torch.autograd.grad(loss, chosen, materialize_grads=True)
                torch._foreach_add_(sums, gradients, alpha=len(batch[0]))
                examples += len(batch[0])
        torch._foreach_div_(sums, float(examples))
        return dict(zip(self.masks, sums, strict=True))


# The kinds of normalisation whose weights may have two dimensions or more.
_NORMALISATION = (nn.LayerNorm, nn.RMSNorm)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into evaluation mode, and each module back into its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def prunable_weights(model: nn.Module, *, classifier: bool = True) -> list[str]:
    """Names of the parameters that may be pruned: trained weight matrices and kernels.

    Biases and normalisation are left out, and so are frozen parameters.
    A parameter shared by several modules is named once.

    Args:
        model: any module.
        classifier: False leaves the output layer out too.
    """
    names = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and parameter.ndim >= 2
        and "weight" in name.rpartition(".")[2]
        and not isinstance(model.get_submodule(name.rpartition(".")[0]), _NORMALISATION)
    ]
    return names if classifier else [name for name in names if name != output_weight(model)]


def output_weight(model: nn.Module) -> str:
    """Name of the output layer's weight: the last weight matrix that the model registers.

    A model whose output layer is not its last says so in an attribute ``output_layer``, the
    module's name.
    """
    named = getattr(model, "output_layer", None)
    return f"{named}.weight" if isinstance(named, str) else prunable_weights(model)[-1]
