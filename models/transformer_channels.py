"""What can be cut out of transformers: heads of attention, and units of feed-forward layers.

Features of tokens stay, since the normalisation before each layer is over all of them. What a
layer is for shows in what it is called, by GPT-2, Llama, OPT and all that are built like them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..orientation import is_transposed
from ..protocols import ChannelGroup

_SEPARATE = ("q_proj", "k_proj", "v_proj")
_OUTPUTS = ("o_proj", "out_proj", "dense")
_FUSED = ("c_attn", "c_proj")
_FEED_FORWARD = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("fc1",), "fc2"),
    (("c_fc",), "c_proj"),
)

_Positions = dict[str, dict[int, Tensor]]


def channel_groups(model: nn.Module) -> list[ChannelGroup]:
    """The groups of channels of all attention and feed-forward layers that are known."""
    return [
        group
        for path, module in model.named_modules()
        for group in (*_heads(f"{path}.", module), *_units(f"{path}.", module))
    ]


def resize(model: nn.Module) -> None:
    """Have attention say the number of heads that its weights have."""
    for module in model.modules():
        attention: Any = module
        if _has(module, "num_heads", "head_dim", *_SEPARATE):
            attention.num_heads = len(attention.q_proj.weight) // attention.head_dim
        elif _has(module, "split_size", *_FUSED):
            attention.split_size = len(attention.c_proj.weight)


def _heads(path: str, module: nn.Module) -> Iterator[ChannelGroup]:
    """The heads of an attention; those that share keys and values go together."""
    attention: Any = module
    output = next((name for name in _OUTPUTS if _has(module, name)), "")
    if output and _has(module, "head_dim", *_SEPARATE):
        keys, queries = (
            torch.arange(len(layer.weight)) // attention.head_dim
            for layer in (attention.k_proj, attention.q_proj)
        )
        shared = (1 + int(queries.max())) // (1 + int(keys.max()))
        makers = {"q_proj": queries // shared, "k_proj": keys, "v_proj": keys}
        yield _group(path, module, makers, output, queries // shared)
    elif _has(module, "head_dim", *_FUSED):
        heads = torch.arange(len(attention.c_proj.weight)) // attention.head_dim
        yield _group(path, module, {"c_attn": heads.repeat(3)}, "c_proj", heads)


def _units(path: str, module: nn.Module) -> Iterator[ChannelGroup]:
    """The hidden units of a feed-forward layer."""
    for makers, reader in _FEED_FORWARD:
        if _has(module, *makers, reader):
            layer = module.get_submodule(reader)
            units = torch.arange(layer.get_parameter("weight").shape[1 - _outputs(layer)])
            yield _group(path, module, dict.fromkeys(makers, units), reader, units)


def _group(
    path: str, module: nn.Module, makers: dict[str, Tensor], reader: str, read: Tensor
) -> ChannelGroup:
    """Channels that some layers of a module make and one reads, by their numbers in each."""
    positions: _Positions = {}
    for name, made in makers.items():
        layer = module.get_submodule(name)
        positions[f"{path}{name}.weight"] = {_outputs(layer): made}
        if getattr(layer, "bias", None) is not None:
            positions[f"{path}{name}.bias"] = {0: made}
    reading = module.get_submodule(reader)
    positions[f"{path}{reader}.weight"] = {1 - _outputs(reading): read}
    return ChannelGroup(tuple(f"{path}{name}.weight" for name in makers), positions)


def _outputs(layer: nn.Module) -> int:
    """The dimension of a layer's weight along which its outputs are: GPT-2's has them last."""
    return int(is_transposed(layer))


def _has(module: nn.Module, *names: str) -> bool:
    return all(hasattr(module, name) for name in names)
