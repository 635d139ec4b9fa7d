"""SynFlow: prune by the flow through the synapses, without any data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isclose, isfinite
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ...datasets import Task
from ...errors import UsageError
from ...precision import float64_device, from_float64
from ..axes.schedule import Geometric
from ..evidence.context import Context
from ..evidence.modes import evaluation_mode
from ..masks import MaskedWeights, Masks, kept
from ..scored import ScoredStrategy, Scores
from ..strategy import register

# Activations let all of the flow through. They go by their names, of which torch has several each.
_ACTIVATIONS = frozenset(
    [
        "tanh",
        "hardtanh",
        "relu6",
        "sigmoid",
        "hardsigmoid",
        "gelu",
        "silu",
        "mish",
        "hardswish",
        "softplus",
        "softsign",
        "softmax",
        "log_softmax",
    ]
)
_RECURRENT = frozenset(
    f"{kind}{end}" for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu") for end in ("", "_cell")
)
_ATTENTION = frozenset(("multi_head_attention_forward", "scaled_dot_product_attention"))
# Normalisations by statistics of what they are given; so many arguments come before the scales.
_OF_FEATURES: dict[Any, int] = {F.layer_norm: 2, F.rms_norm: 2}
_OF_CHANNELS: dict[Any, int] = {F.group_norm: 2, F.instance_norm: 3, F.batch_norm: 3}
# Of these the argument that says whether they do so, or by statistics that are kept.
_BY_KEPT_STATISTICS = 5


@register
@dataclass(frozen=True)
class SynFlow(ScoredStrategy):
    """Prune the least part of the flow through the network, little by little (Tanaka et al. 2020).

    No data are used: of an example only the shape counts. What flows into a unit flows out of it,
    and in a network without branches the flow through a layer is the same for all layers, so that
    none is emptied as long as a path can be kept: the network does not collapse. Computed in
    float64.

    Activations let the flow through, whatever they are. Normalisation only scales it, as batch
    normalisation does in the paper. An embedding's flow is that of ones through every row. A
    network in which the flow is not conserved, as one with recurrent layers, attention or gates, is
    refused.

    Formula: w · ∂R/∂w with R = 1ᵀ ∏ |W| 1, the sum of the outputs for an input of ones when every
        weight has its absolute value and there are no biases.
    Source: Tanaka, Kunin, Yamins, Ganguli: Pruning neural networks without any data by iteratively
        conserving synaptic flow, NeurIPS 2020, algorithm 1.
    Use: at initialisation (``start_epoch: 0``), above all for very high compression.
    Cost: one forward and one backward pass of a single example for each iteration.

    Args:
        iterations: prunings, each by the same fraction, between which the flow is computed anew.
    """

    iterations: Annotated[int, Field(ge=1)] = 100

    search_space = {"iterations": (10, 30, 100)}

    def check(self, task: Task, model: nn.Module) -> None:
        """The flow is conserved; see :meth:`.Strategy.check`."""
        _conserving(model, task.inputs(1))

    def score(self, context: Context) -> Scores:
        """The flow through each weight of the network as it is."""
        inputs = context.task.inputs(1)
        return _flow(_conserving(context.model, inputs), context.masks, inputs)

    def masks(self, context: Context, budget: int) -> Masks:
        """Keep ``budget`` weights, in ``iterations`` steps on the geometric schedule."""
        inputs = context.task.inputs(1)
        model = _conserving(context.model, inputs)
        start = max(1, kept(context.masks))
        for number in range(1, self.iterations + 1):
            density = Geometric().density(budget / start, number, self.iterations)
            scores = _flow(model, context.masks, inputs)
            masks = self.ranked(context, scores, max(budget, round(density * start)))
            device = next(model.parameters()).device
            MaskedWeights(model, {name: mask.to(device) for name, mask in masks.items()}).apply()
            context = context.with_masks(masks)
        return masks


def _linearised(model: nn.Module) -> nn.Module:
    """A copy in float64 with absolute weights, and without biases or shifts."""
    device = next(model.parameters()).device
    positive = copy.deepcopy(model).to(float64_device(device)).double()
    with torch.no_grad():
        for name, parameter in positive.named_parameters():
            if "bias" in name.rpartition(".")[2]:
                parameter.zero_()
            else:
                parameter.abs_()
        for name, buffer in positive.named_buffers():
            if name.endswith("running_mean"):
                buffer.zero_()
    return positive


def _conserving(model: nn.Module, inputs: Tensor) -> nn.Module:
    """The linearised network, in which what flows in flows out.

    By Euler's theorem that is so where the flow is linear in what flows in. It is measured with an
    input whose positions differ, since attention to equal ones does not show.

    Raises:
        UsageError: it is not so.
    """
    linearised = _linearised(model)
    entering: list[Tensor] = []

    def ramp(like: Tensor) -> Tensor:
        steps = torch.linspace(1, 2, like.numel(), dtype=torch.float64, device=like.device)
        entering.append(steps.reshape(like.shape).requires_grad_())
        return entering[-1]

    leaving = _leaving(linearised, inputs, ramp)
    into = 0.0
    if entering and leaving.requires_grad:
        slopes = torch.autograd.grad(leaving, entering, materialize_grads=True)
        into = sum(float((e.detach() * s).sum()) for e, s in zip(entering, slopes, strict=True))
    out = float(leaving.detach())
    if not (isfinite(out) and isclose(out, into, rel_tol=1e-6)):
        raise UsageError(
            f"strategy SynFlow is not possible on {type(model).__name__}: what flows out of it "
            f"({out:.4g}) is not what flows into it ({into:.4g}), since it is not linear but for "
            "activations and normalisation, or too deep for float64; take another strategy"
        )
    return linearised


def _flow(model: nn.Module, masks: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    """w · ∂R/∂w of the weights in ``masks``, for ones in the shape of ``inputs``."""
    parameters = dict(model.named_parameters())
    weights = [parameters[name] for name in masks]
    leaving = _leaving(model, inputs, lambda like: torch.ones_like(like, dtype=torch.float64))
    slopes = torch.autograd.grad(leaving, weights, materialize_grads=True)
    return {
        name: from_float64((weight * slope).detach(), mask.device)
        for (name, mask), weight, slope in zip(masks.items(), weights, slopes, strict=True)
    }


def _leaving(model: nn.Module, inputs: Tensor, enter: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum of what flows out, ``enter`` giving what flows in in the shape of a tensor.

    Of tokens only the shape counts too, and what flows in does so where they are looked up.
    """
    inputs = inputs.to(next(model.parameters()).device)
    tokens = not inputs.is_floating_point()
    with evaluation_mode(model), _Flow(type(model).__name__, enter):
        leaving: Tensor = model(torch.ones_like(inputs) if tokens else enter(inputs)).sum()
    return leaving


class _Flow(TorchFunctionMode):
    """While it lasts, torch's functions are what they are to the flow."""

    def __init__(self, network: str, enter: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._network, self._enter = network, enter

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        if func is F.embedding:
            indices, weight = args[:2]
            return self._enter(indices).unsqueeze(-1) * weight.sum(0)
        if name in _RECURRENT or name in _ATTENTION:
            what = "attention" if name in _ATTENTION else "a recurrent layer"
            raise UsageError(
                f"strategy SynFlow is not possible on {self._network}: it has {what} ({name}), "
                "through which the flow is not conserved; take another strategy"
            )
        if name in _ACTIVATIONS:
            return args[0]
        if func in _OF_FEATURES:
            return _scaled(args[0], _argument(args, named, _OF_FEATURES[func], "weight"))
        if func in _OF_CHANNELS and _own_statistics(func, args, named):
            scales = _argument(args, named, _OF_CHANNELS[func], "weight")
            if scales is not None:
                scales = scales.view(-1, *[1] * (args[0].ndim - 2))
            return _scaled(args[0], scales)
        return func(*args, **named)


def _own_statistics(func: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    """Whether a normalisation takes the statistics of what it is given."""
    if func is F.batch_norm:
        return bool(_argument(args, named, _BY_KEPT_STATISTICS, "training"))
    if func is F.instance_norm:
        return _argument(args, named, _BY_KEPT_STATISTICS, "use_input_stats") is not False
    return True


def _argument(args: tuple[Any, ...], named: Mapping[str, Any], place: int, name: str) -> Any:
    """An argument by its place or its name, None if it is not given."""
    return args[place] if len(args) > place else named.get(name)


def _scaled(flow: Tensor, scales: Tensor | None) -> Tensor:
    return flow if scales is None else flow * scales
