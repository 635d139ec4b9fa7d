"""Shrinking: from channels that are masked to a smaller dense network that computes the same."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ...errors import UsageError
from ...networks import relative_difference, replace_module
from ...orientation import is_transposed
from ...protocols import Resizes, declared
from ...seeding import generator
from ..evidence.modes import evaluation_mode
from ..masks import MaskedWeights
from .coupling import Coupling

TOLERANCE = 1e-4
"""By how much outputs of the masked and the shrunk network may differ, relative to the largest."""


def shrink(model: nn.Module, coupling: Coupling, kept: Tensor) -> nn.Module:
    """A copy of ``model`` without the channels that are not kept.

    The copy's parameters have the names they had. Attention that lost heads is
    :class:`AttentionHeads`, all other modules are of the kind they were.

    Args:
        model: the network, which is not changed. What is masked in it need not be zero.
        coupling: the channels of ``model``.
        kept: for each channel whether it stays; at least one of each group does.
    """
    small = copy.deepcopy(model)
    cut: dict[int, Tensor] = {}  # tied weights stay tied
    for name in coupling.dimensions:
        path, _, tensor_name = name.rpartition(".")
        owner = small.get_submodule(path)
        tensor = getattr(owner, tensor_name)
        if id(tensor) not in cut:
            cut[id(tensor)] = _cut(tensor, coupling.positions(name, kept))
        setattr(owner, tensor_name, cut[id(tensor)])
    stays = torch.cat([kept, kept.new_ones(1)])
    for name, channels in coupling.sources.items():
        module: Any = small.get_submodule(name)
        inputs = stays[channels].to(module.channel_source.device)
        # What an input is called now; −1 for one that is gone, and for zeros, the last, as ever.
        renamed = torch.where(inputs, inputs.cumsum(0) - 1, -1)
        module.channel_source = torch.cat([renamed, renamed.new_tensor([-1])])[
            module.channel_source
        ]
        module.inputs = int(inputs.sum())
    for module in list(small.modules()):
        _resize(small, module)
    if (says := declared(small, Resizes)) is not None:
        says.resize()
    return small


def write_back(small: nn.Module, model: nn.Module, coupling: Coupling, kept: Tensor) -> None:
    """Copy what a shrunk network has learned to where it was in ``model``."""
    state = model.state_dict()
    for name, learned in small.state_dict().items():
        if name.endswith("channel_source"):
            continue
        if name not in coupling.dimensions:
            state[name].copy_(learned)
            continue
        tensor = state[name]
        places = [torch.arange(size, device=tensor.device) for size in tensor.shape]
        for dim, stays in coupling.positions(name, kept).items():
            places[dim] = stays.to(tensor.device).nonzero().squeeze(1)
        tensor[torch.meshgrid(*places, indexing="ij")] = learned


def check_equivalence(masked: nn.Module, small: nn.Module, example: Tensor) -> float:
    """The largest difference between the outputs of the two networks, relative to the largest.

    Raises:
        UsageError: it is above :data:`TOLERANCE`, or the smaller network does not run: the network
            has a connection that was not traced.
    """
    with evaluation_mode(masked), evaluation_mode(small), torch.no_grad():
        expected = masked(example)
        try:
            got = small(example)
        except Exception as error:  # whatever the model's forward pass raises
            raise UsageError(
                f"{type(masked).__name__} cannot be shrunk: the smaller network does not run "
                f"({type(error).__name__}: {error})"
            ) from error
    difference = relative_difference(got, expected)
    if not difference <= TOLERANCE:
        raise UsageError(
            f"{type(masked).__name__} cannot be shrunk: the smaller network's outputs differ from "
            f"the masked one's by {difference:.1e} of the largest, more than {TOLERANCE:g}"
        )
    return difference


def try_shrinking(
    model: nn.Module, coupling: Coupling, example: Tensor, *, trains: bool = False
) -> float:
    """Remove half of the channels of a copy of ``model`` by lot, and see whether it can be shrunk.

    Args:
        model: the network, in any state.
        coupling: its channels.
        example: inputs on which it can run.
        trains: whether the smaller network has to run in training mode too, where a network may
            have layers of which tracing sees nothing.

    Returns:
        What :func:`check_equivalence` does.

    Raises:
        UsageError: it cannot.
    """
    kept = coupling.half("channels", "shrinking")
    masked = unsettled(model)
    MaskedWeights(masked, coupling.masks(masked, kept)).apply()
    small = shrink(masked, coupling, kept)
    difference = check_equivalence(masked, small, example)
    error = _fault_in_training(small, example) if trains else None
    if error is not None and _fault_in_training(masked, example) is None:
        raise UsageError(
            f"{type(masked).__name__} cannot be trained shrunk: the smaller network does not run "
            f"in training mode ({type(error).__name__}: {error}); fine-tune it masked"
        ) from error
    return difference


def _fault_in_training(model: nn.Module, example: Tensor) -> Exception | None:
    """What a network raises in training mode, whose statistics may change."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            model.train()(example)
        except Exception as error:  # whatever the model's forward pass raises
            return error
    return None


def unsettled(model: nn.Module) -> nn.Module:
    """A copy of ``model`` with statistics, scales and biases at which nothing cancels by chance.

    As networks are built, many biases and some scales are zero, and statistics all the same.
    """
    lots = generator(0, "unsettled")
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, statistic in model.named_buffers():
            if name.endswith("running_mean"):
                statistic.copy_(0.1 * torch.randn(statistic.shape, generator=lots))
            elif name.endswith("running_var"):
                statistic.copy_(0.5 + torch.rand(statistic.shape, generator=lots))
        for parameter in model.parameters():
            is_vector = parameter.numel() == max(parameter.shape, default=1)
            if is_vector or not parameter.any():
                noise = 0.05 * torch.randn(parameter.shape, generator=lots)
                parameter.add_(noise.to(parameter))
    return model


class AttentionHeads(nn.Module):
    """Attention like :class:`torch.nn.MultiheadAttention` that was left with some of its heads.

    It takes no padding mask and gives no attention weights.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.in_proj_weight = attention.in_proj_weight
        self.in_proj_bias = attention.in_proj_bias
        self.out_proj = attention.out_proj
        self.head_dim = attention.head_dim
        self.num_heads = len(attention.in_proj_weight) // (3 * attention.head_dim)
        self.dropout = attention.dropout
        self.batch_first = attention.batch_first
        self._qkv_same_embed_dim = False  # keeps torch's layers from taking fused shortcuts

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """The attention's output of batches (batch × steps × features if ``batch_first``).

        Raises:
            UsageError: a padding mask is given, or weights are asked for.
        """
        if key_padding_mask is not None or need_weights:
            raise UsageError("attention that was shrunk takes no padding mask and gives no weights")
        rows = self.num_heads * self.head_dim
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.split(rows)
        queries, keys, values = (
            self._heads(F.linear(inputs, weight, bias))
            for inputs, weight, bias in zip(
                (query, key, value), self.in_proj_weight.split(rows), biases, strict=True
            )
        )
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            attn_mask = ~attn_mask  # true is what may not be looked at here, and what may be below
        dropout = self.dropout if self.training else 0.0
        causal = is_causal and attn_mask is None
        attended = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=attn_mask, dropout_p=dropout, is_causal=causal
        )
        attended = attended.transpose(1, 2).flatten(2)
        return self.out_proj(attended if self.batch_first else attended.transpose(0, 1)), None

    def _heads(self, x: Tensor) -> Tensor:
        """As batch × heads × steps × features of a head."""
        x = x if self.batch_first else x.transpose(0, 1)
        return x.unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)


def _cut(tensor: Tensor, positions: dict[int, Tensor]) -> Tensor:
    """What is left of a parameter or buffer, in the memory format it had."""
    smaller = tensor.detach()
    for dim, stays in positions.items():
        smaller = smaller.index_select(dim, stays.to(tensor.device).nonzero().squeeze(1))
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        smaller = smaller.contiguous(memory_format=torch.channels_last)
    else:
        smaller = smaller.contiguous()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(smaller, requires_grad=tensor.requires_grad)
    return smaller


def _resize(model: nn.Module, module: nn.Module) -> None:
    """Make what a module says of its size true again."""
    if isinstance(module, _ConvTransposeNd):
        return  # tracing leaves them whole
    if isinstance(module, _ConvNd):
        if module.groups > 1:  # a group goes as a whole
            module.groups = module.groups * module.weight.shape[0] // module.out_channels
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif is_transposed(module):  # GPT-2's linear layers
        module.nx, module.nf = module.get_parameter("weight").shape  # type: ignore[assignment]
    elif isinstance(module, nn.RNNBase):
        module.hidden_size = module.get_parameter("weight_hh_l0").shape[1]
        module.input_size = module.get_parameter("weight_ih_l0").shape[1]
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]
    elif isinstance(module, _BatchNorm) and module.running_mean is not None:
        module.num_features = len(module.running_mean)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif (
        isinstance(module, nn.MultiheadAttention)
        and module.in_proj_weight is not None
        and len(module.in_proj_weight) < 3 * module.embed_dim
    ):
        heads = AttentionHeads(module)
        replace_module(model, module, heads.train(module.training))
