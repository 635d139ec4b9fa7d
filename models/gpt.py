"""A small GPT: a transformer that predicts each token from those before it."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ..protocols import ChannelGroup
from .architecture import register


@register
class GPT(nn.Module):
    """A decoder-only transformer like GPT-2, with queries, keys and values in layers of their own.

    Tokens are embedded and get learned positions; each block adds attention, then a feed-forward
    layer, to what goes through, both normalised before. With 256 tokens, blocks of 256 and the
    defaults there are 858,880 parameters.

    Source: Radford et al.: Language Models are Unsupervised Multitask Learners, 2019.

    Args:
        width: features of a token.
        depth: number of blocks.
        heads: of the attention of a block; the width is a multiple of it.
        hidden: units of the feed-forward layer of a block.
        dropout: on what is embedded, on attention, and on what each block adds.
        tied: whether the embedding of tokens and the output layer share one matrix.
    """

    output_layer = "output"

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...] = (256,),
        classes: int = 256,
        width: Annotated[int, Field(ge=1)] = 128,
        depth: Annotated[int, Field(ge=1)] = 4,
        heads: Annotated[int, Field(ge=1)] = 4,
        hidden: Annotated[int, Field(ge=1)] = 512,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        tied: bool = True,
    ) -> None:
        super().__init__()
        if len(input_shape) != 1:
            shape = "×".join(map(str, input_shape))
            raise UsageError(
                "model GPT needs sequences of tokens, as Text has, and the examples of this data "
                f"set are {shape}"
            )
        if width % heads:
            raise UsageError(
                f"model GPT: heads: {heads} is not allowed: the width, {width}, must be a multiple"
            )
        self.embedding = nn.Embedding(classes, width)
        self.positions = nn.Parameter(torch.empty(*input_shape, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, classes, bias=False)
        if tied:
            self.output.weight = self.embedding.weight
        self._draw(depth)

    def _draw(self, depth: int) -> None:
        """As GPT-2 is: what adds to the sum that goes through is the smaller the more does."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                adds = name.endswith(("attention.output.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * depth) ** 0.5 if adds else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (batch × steps × tokens) of what follows each of ``tokens`` (batch × steps)."""
        x = self.dropout(self.embedding(tokens) + self.positions[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.output(self.norm(x))
        return logits

    @torch.no_grad()
    def generate(self, tokens: Tensor, count: int) -> Tensor:
        """The ``count`` most probable tokens after ``tokens`` (batch × steps), one by one.

        Nothing is kept from one to the next, so that each takes a forward pass over as many tokens
        before it as there are positions.
        """
        for _ in range(count):
            logits = self(tokens[:, -len(self.positions) :])
            tokens = torch.cat([tokens, logits[:, -1:].argmax(2)], 1)
        return tokens[:, -count:]

    def channel_groups(self) -> list[ChannelGroup]:
        """What can be removed: heads of attention, and units of feed-forward layers.

        Features of tokens stay, since the normalisation before each layer is over all of them.
        """
        groups = []
        for name, block in self.named_modules():
            if isinstance(block, Block):
                groups += [
                    _heads(f"{name}.attention", block.attention),
                    _units(f"{name}.feed_forward", block.feed_forward),
                ]
        return groups


class Block(nn.Module):
    """Attention and a feed-forward layer, each normalised before and added to what goes through."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """The features of each token (batch × steps × width) after this block."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class CausalAttention(nn.Module):
    """Multi-head attention in which a token attends to itself and those before it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.head_width = width // heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """What each token gathers (batch × steps × width)."""
        query, key, value = (
            layer(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        gathered = F.scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, is_causal=True
        )
        added: Tensor = self.output(gathered.transpose(1, 2).flatten(2))
        return added


class FeedForward(nn.Module):
    """A layer of hidden units for each token by itself."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """What the units make of each token (batch × steps × width)."""
        added: Tensor = self.down(F.gelu(self.up(x), approximate="tanh"))
        return added


def _heads(name: str, attention: CausalAttention) -> ChannelGroup:
    """The heads of an attention: rows of queries, keys and values, and columns of the output."""
    head = torch.arange(attention.output.in_features) // attention.head_width
    layers = [f"{name}.{layer}" for layer in ("query", "key", "value")]
    rows = {f"{layer}.{part}": {0: head} for layer in layers for part in ("weight", "bias")}
    makers = tuple(f"{layer}.weight" for layer in layers)
    return ChannelGroup(makers, {**rows, f"{name}.output.weight": {1: head}})


def _units(name: str, layer: FeedForward) -> ChannelGroup:
    """The hidden units of a feed-forward layer."""
    unit = torch.arange(layer.down.in_features)
    positions = {
        f"{name}.up.weight": {0: unit},
        f"{name}.up.bias": {0: unit},
        f"{name}.down.weight": {1: unit},
    }
    return ChannelGroup((f"{name}.up.weight",), positions)
