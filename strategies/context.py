"""What a score may look at: the model, the task, the masks so far, gradients, random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.weight_norm import WeightNorm

from ..datasets import Batch, Task
from ..errors import UsageError
from .derivatives import gradients

if TYPE_CHECKING:
    from .coupling import Coupling

T = TypeVar("T")


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
        cost: where whole channels go, what those cost that stay, in units of the budget: of the
            channels, and of whether each stays. None is the number of prunable weights.
    """

    model: nn.Module
    task: Task
    masks: Mapping[str, Tensor]
    output: str
    generator: torch.Generator
    cost: Callable[[Coupling, Tensor], float] | None = None
    _memory: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

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
        The parameters' ``grad`` is not touched. See :mod:`.derivatives` for other losses and modes.
        """
        chosen, task = self.batches(batches, batch_size), self.task
        return gradients(self.model, self.masks, chosen, task.loss, task.examples)

    def remember(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` gave when it was first called under ``key``, for as long as this lives.

        For what is dear and wanted twice, by scores and by :meth:`Strategy.update`.
        """
        if key not in self._memory:
            self._memory[key] = make()
        made: T = self._memory[key]
        return made


# The kinds of normalisation whose weights may have two dimensions or more.
_NORMALISATION = (nn.LayerNorm, nn.RMSNorm)


def prunable_weights(model: nn.Module, *, classifier: bool = True) -> list[str]:
    """Names of the parameters that may be pruned: trained weight matrices and kernels.

    Biases and normalisation are left out, and so are frozen parameters.
    A parameter shared by several modules is named once.

    Args:
        model: any module.
        classifier: False leaves the output layer out too.

    Raises:
        UsageError: a trained weight is computed from other parameters, as by weight normalisation,
            so that it is no parameter that could be pruned.
    """
    names = [name for name, weight in _weight_matrices(model).items() if weight.requires_grad]
    return names if classifier else [name for name in names if name != output_weight(model)]


def output_weight(model: nn.Module) -> str:
    """Name of the output layer's weight: the last weight matrix that the model registers.

    Whether it is trained or frozen makes no difference. A model whose output layer is not its last
    says so in an attribute ``output_layer``, the module's name.
    """
    named = getattr(model, "output_layer", None)
    if isinstance(named, str):
        weight = model.get_submodule(named).weight
    else:
        weight = list(_weight_matrices(model, shared=True).values())[-1]
    # By the name of the first of the modules that share it.
    return next(name for name, parameter in model.named_parameters() if parameter is weight)


def _weight_matrices(model: nn.Module, *, shared: bool = False) -> dict[str, nn.Parameter]:
    """Weight matrices and kernels, trained or frozen, but not those of normalisation.

    With ``shared`` those that several modules use are there under each of their names.
    """
    for name, module in model.named_modules():
        _refuse_computed(name, module)
    return {
        name: parameter
        for name, parameter in model.named_parameters(remove_duplicate=not shared)
        if parameter.ndim >= 2
        and "weight" in name.rpartition(".")[2]
        and not isinstance(model.get_submodule(name.rpartition(".")[0]), _NORMALISATION)
    }


def _refuse_computed(name: str, module: nn.Module) -> None:
    """Refuse a module that computes a weight matrix from other, trained parameters.

    Pruning those is not pruning the weight: where a whole row of them is zero, its normalised
    direction is not a number.
    """
    computed = {
        hook.name: ("torch.nn.utils.remove_weight_norm(module)", module.parameters(recurse=False))
        for hook in module._forward_pre_hooks.values()
        if isinstance(hook, WeightNorm)
    }
    if is_parametrized(module):
        remove = "torch.nn.utils.parametrize.remove_parametrizations(module, '{}')"
        computed |= {
            tensor: (remove.format(tensor), parametrised.parameters())
            for tensor, parametrised in cast("nn.ModuleDict", module.parametrizations).items()
        }
    for tensor, (remove, sources) in computed.items():
        is_trained = any(each.requires_grad for each in sources)
        if "weight" in tensor and getattr(module, tensor).ndim >= 2 and is_trained:
            kind = type(module).__name__.removeprefix("Parametrized")
            raise UsageError(
                f"{tensor} of the {kind} {name!r} is not prunable: it is computed "
                f"from other parameters, as weight normalisation does; make it a plain one by "
                f"{remove}"
            )


def weight_class(model: nn.Module, name: str) -> str:
    """The class of weights to which the parameter ``name`` belongs (See et al. 2016).

    A model declares its classes in an attribute ``weight_classes``, a mapping of parameter names to
    classes. A parameter that it does not name is a class of its own.
    """
    declared: Mapping[str, str] = getattr(model, "weight_classes", {})
    return declared.get(name, name)
