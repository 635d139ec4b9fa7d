"""Methods that score whole channels: filters of convolutions and units of linear layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.fx import Tracer
from torch.nn.modules.batchnorm import _BatchNorm

from ...datasets import Batch
from ..axes.allocation import Allocation, Global, Uniform
from ..axes.structure import Filters, Structure
from ..evidence.activations import (
    CONVOLUTIONS,
    Layout,
    Owners,
    hooked,
    layouts,
    owners,
    refuse_unseen,
    singly,
)
from ..evidence.context import Context
from ..evidence.modes import evaluation_mode
from ..evidence.prunable import outputs_first
from ..scored import ScoredStrategy, Scores
from ..strategy import register

_LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, *CONVOLUTIONS)


@dataclass(frozen=True)
class ChannelStrategy(ScoredStrategy, ABC):
    """The base of methods that have one score for all weights of an output channel."""

    allocation: Allocation = Uniform()
    structure: Structure = Filters()

    @abstractmethod
    def channel_scores(self, context: Context) -> Mapping[str, Tensor]:
        """For each prunable weight the scores of its output channels, one-dimensional."""

    def score(self, context: Context) -> Scores:
        """The channel's score, for each of its weights."""
        scores = self.channel_scores(context)
        weights = outputs_first(context.model, context.weights)
        expanded = {
            name: scores[name].reshape(-1, *[1] * (weight.ndim - 1)).expand_as(weight)
            for name, weight in weights.items()
        }
        return outputs_first(context.model, expanded)

    def unit_scores(self, scores: Tensor) -> Tensor:
        """The channel's score; that of its best weight, where a structure cuts across channels."""
        return scores.amax(1)


@dataclass(frozen=True)
class _ObservedChannels(ChannelStrategy, ABC):
    """The base of methods that look at what leaves convolutions and linear layers."""

    batches: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 128

    search_space = {"batches": (1, 8, 32)}

    def scorable(self, model: nn.Module, names: Sequence[str]) -> list[str]:
        """The weights of convolutions and linear layers."""
        return list(owners(model, names, _LAYERS))


@register
@dataclass(frozen=True)
class ChannelTaylor(_ObservedChannels):
    """Prune the channels whose activation matters least to first order (Molchanov et al. 2017).

    The activation is what leaves the layer, before normalisation and nonlinearity.

    Formula: mean over examples of |Σ a · ∂L/∂a|, the sum over the positions of the channel.
    Source: Molchanov, Tyree, Karras, Aila, Kautz: Pruning Convolutional Neural Networks for
        Resource Efficient Inference, ICLR 2017, equation 8.
    Use: on a trained network, with fine-tuning, in several rounds.
    Cost: one forward and one backward pass for each scoring batch.

    Args:
        batches: number of scoring batches of training examples.
        batch_size: examples in each of them.
    """

    def channel_scores(self, context: Context) -> Mapping[str, Tensor]:
        """The mean of the absolute first-order effects."""
        return _effects(self, context, torch.abs)


@register
@dataclass(frozen=True)
class ActivationGradient(_ObservedChannels):
    """Prune the channels whose removal changes the mean loss least, to first order.

    Often called the mutual-information criterion. Effects of opposite sign on different examples
    cancel, which they do not in ``ChannelTaylor``.

    Formula: |mean over examples of Σ h · ∂L/∂h|, the sum over the positions of the channel.
    Source: the first-order form of |L(h = 0) − L|; Molchanov et al.: Pruning Convolutional Neural
        Networks for Resource Efficient Inference, ICLR 2017, equation 6.
    Use: on a trained network, with fine-tuning, in several rounds.
    Cost: one forward and one backward pass for each scoring batch.

    Args:
        batches: number of scoring batches of training examples.
        batch_size: examples in each of them.
    """

    def channel_scores(self, context: Context) -> Mapping[str, Tensor]:
        """The absolute mean of the first-order effects."""
        effects = _effects(self, context, torch.clone)
        return {name: effect.abs() for name, effect in effects.items()}


@register
@dataclass(frozen=True)
class ActivationChange(_ObservedChannels):
    """Prune the channels whose removal changes the mean loss least, by removing each in turn.

    Formula: |L(h = 0) − L|, the channel's output set to zero.
    Source: the oracle of Molchanov et al.: Pruning Convolutional Neural Networks for Resource
        Efficient Inference, ICLR 2017, equation 2.
    Use: on small networks, or to judge approximations.
    Cost: one forward pass for each channel and scoring batch.

    Args:
        batches: number of scoring batches of training examples.
        batch_size: examples in each of them.
    """

    batches: Annotated[int, Field(ge=1)] = 1

    def channel_scores(self, context: Context) -> Mapping[str, Tensor]:
        """The absolute change of the loss."""
        batches = list(context.batches(self.batches, self.batch_size))
        modules = owners(context.model, context.masks, _LAYERS)
        called: set[nn.Module] = set()

        def note(module: nn.Module, inputs: object, output: Tensor) -> None:
            called.add(module)

        with evaluation_mode(context.model), torch.no_grad():
            with hooked([each for group in modules.values() for each in group], note):
                base = _mean_loss(context, batches)
            refuse_unseen(context, [n for n, group in modules.items() if called.isdisjoint(group)])
            return {
                name: torch.stack(
                    [
                        (_loss_without(context, batches, modules[name], channel) - base).abs()
                        for channel in range(len(weight))
                    ]
                )
                for name, weight in outputs_first(context.model, context.weights).items()
            }


@register
@dataclass(frozen=True)
class FPGM(ChannelStrategy):
    """Prune the filters that are nearest to all others of their layer (He et al. 2019).

    Filter pruning via geometric median: not the small ones go but those that others can replace.

    Formula: Σ over the layer's filters j that are left of ‖w_i − w_j‖₂.
    Source: He, Liu, Wang, Hu, Yang: Filter Pruning via Geometric Median for Deep Convolutional
        Neural Networks Acceleration, CVPR 2019, equation 6.
    Use: on a trained network, with fine-tuning; also where no filter is small.
    Cost: no passes; distances of all pairs of filters of each layer.
    """

    def channel_scores(self, context: Context) -> Mapping[str, Tensor]:
        """The sum of distances to the filters that have not been pruned yet."""
        masks = outputs_first(context.model, context.masks)
        return {
            name: _distances(weight.flatten(1))[:, masks[name].flatten(1).any(1)].sum(1)
            for name, weight in outputs_first(context.model, context.weights).items()
        }


@register
@dataclass(frozen=True)
class BatchNormSlimming(ChannelStrategy):
    """Prune the channels whose batch normalisation has the smallest scale (Liu et al. 2017).

    Network slimming, for layers after which the model registers a batch normalisation of as many
    channels. One ranking for the whole network, as in the paper.

    Formula: |γ| of the channel.
    Source: Liu, Li, Shen, Huang, Yan, Zhang: Learning Efficient Convolutional Networks through
        Network Slimming, ICCV 2017, section 3.
    Use: on a network trained with a penalty on the scales: ``penalty: NormalisationScale`` in the
        pretraining recipe.
    Cost: none.

    Args:
        allocation: one ranking by default, which leaves every layer a channel.
    """

    allocation: Allocation = Global(minimum=1)

    def channel_scores(self, context: Context) -> Mapping[str, Tensor]:
        """|γ|."""
        normalisations = following_normalisations(context.model)
        parameters = dict(context.model.named_parameters())
        return {name: parameters[normalisations[name]].detach().abs() for name in context.masks}

    def scorable(self, model: nn.Module, names: Sequence[str]) -> list[str]:
        """The weights of layers that a batch normalisation with scales follows."""
        normalisations = following_normalisations(model)
        return [name for name in names if name in normalisations]


def _distances(rows: Tensor) -> Tensor:
    """Euclidean distances of all pairs; not by the fast formula, which cancels for near ones."""
    precise = rows.to(torch.promote_types(rows.dtype, torch.float32))  # there is none of halves
    return torch.cdist(precise, precise, compute_mode="donot_use_mm_for_euclid_dist")


def _effects(
    strategy: _ObservedChannels, context: Context, of_example: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """For each channel the mean over examples of ``of_example``(Σ over positions of a · ∂L/∂a)."""
    modules = owners(context.model, context.masks, _LAYERS)
    weights = outputs_first(context.model, context.weights)
    effects = {name: weight.new_zeros(len(weight)) for name, weight in weights.items()}
    watched = {id(module): module for group in modules.values() for module in group}
    known: dict[int, Layout] | None = {}
    seen: set[str] = set()
    examples = 0
    for batch in context.batches(strategy.batches, strategy.batch_size):
        if examples == 0:
            known = layouts(context, watched.values(), batch, lambda inputs, output: output)
        # Where it does not show what belongs to an example, each is a batch of its own.
        for part in singly(batch) if known is None else [batch]:
            for name, effect in _effects_of(context, part, modules, known).items():
                effects[name] += of_example(effect).sum(0)
                seen.add(name)
        examples += context.task.examples(batch)
    refuse_unseen(context, effects.keys() - seen)
    return {name: effect / examples for name, effect in effects.items()}


def _effects_of(
    context: Context, batch: Batch, modules: Owners, known: Mapping[int, Layout] | None
) -> dict[str, Tensor]:
    """For each channel Σ over positions of a · ∂L/∂a of each example (examples × channels).

    A module that the model does not use has no effect and is left out.
    """
    watched = {id(module): module for group in modules.values() for module in group}
    seen: list[tuple[nn.Module, Tensor]] = []

    def watch(module: nn.Module, inputs: object, output: Tensor) -> None:
        seen.append((module, output))

    with evaluation_mode(context.model), hooked(watched.values(), watch):
        # The gradient of the summed loss is each example's own one.
        loss = context.task.loss(context.model, batch) * context.task.examples(batch)
        slopes = torch.autograd.grad(loss, [output for _, output in seen], materialize_grads=True)
    effects: dict[str, Tensor] = {}
    for name, group in modules.items():
        of_calls = [
            _over_positions(
                module,
                output.detach() * slope,
                None if known is None else known[id(module)],
                len(batch[0]),
            )
            for (module, output), slope in zip(seen, slopes, strict=True)
            if any(module is each for each in group)
        ]
        if of_calls:
            effects[name] = torch.stack(of_calls).sum(0)
    return effects


def _over_positions(
    module: nn.Module, products: Tensor, layout: Layout | None, examples: int
) -> Tensor:
    """The sum over all positions of each channel (examples × channels).

    Without a layout all belongs to one example.
    """
    channel = _channel_dimension(module)
    apart = products.unsqueeze(0) if layout is None else layout.apart(products, examples)
    channels_last = apart.movedim(channel, -1)
    return channels_last.reshape(len(apart), -1, channels_last.shape[-1]).sum(1)


def _mean_loss(context: Context, batches: list[Batch]) -> Tensor:
    sizes = [context.task.examples(batch) for batch in batches]
    losses = [context.task.loss(context.model, batch) for batch in batches]
    weighted = [loss * size for loss, size in zip(losses, sizes, strict=True)]
    return torch.stack(weighted).sum() / sum(sizes)


def _loss_without(
    context: Context, batches: list[Batch], modules: list[nn.Module], channel: int
) -> Tensor:
    """The mean loss when one output channel of a layer is zero."""

    def close(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        closed = output.clone()
        closed.select(_channel_dimension(module), channel).zero_()
        return closed

    with hooked(modules, close):
        return _mean_loss(context, batches)


def _channel_dimension(module: nn.Module) -> int:
    """The dimension of a module's output that has its channels, counted from the end."""
    if isinstance(module, nn.Linear):
        return -1
    kernel: nn.Parameter = module.weight  # type: ignore[assignment]
    return 1 - kernel.ndim


def following_normalisations(model: nn.Module) -> dict[str, str]:
    """For each weight the scales of the batch normalisation that is registered next and fits.

    It must be what takes the layer's outputs, and nothing else may, which torch's tracing shows;
    of a network that cannot be traced that is taken for granted. In a pre-activation network the
    next one may normalise a sum.
    """
    readers = _readers(model)
    found = {}
    before: tuple[str, nn.Parameter] | None = None
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            if before is not None and module.affine and len(before[1]) == module.num_features:
                layer = before[0].removesuffix(".weight")
                if readers is None or readers.get(layer) == {name}:
                    found[before[0]] = f"{name}.weight"
            before = None
        elif isinstance(weight := getattr(module, "weight", None), nn.Parameter):
            before = (f"{name}.weight", weight)
        elif any(True for _ in module.parameters(recurse=False)):
            before = None
    return found


def _readers(model: nn.Module) -> dict[str, set[str]] | None:
    """What takes the outputs of each module, by name; None if the network cannot be traced.

    What is no call of a module, as an addition, has no name.
    """
    try:
        graph = Tracer().trace(model)
    except Exception:  # whatever a network's code does with what is no tensor
        return None
    readers: dict[str, set[str]] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            users = {str(user.target) if user.op == "call_module" else "" for user in node.users}
            readers.setdefault(str(node.target), set()).update(users)
    return readers
