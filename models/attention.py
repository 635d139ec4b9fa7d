"""Attention of a decoder's states over an encoder's (Luong, Pham & Manning 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GeneralAttention(nn.Module):
    """Luong's global attention with the score "general".

    Formula: a = softmax(hᵗ W m), c = Σ a m, h̃ = tanh(U [c; h]).
    Source: Luong, Pham, Manning: Effective Approaches to Attention-based Neural Machine
        Translation, EMNLP 2015, section 3.1 and equation 5.

    Args:
        memory: features of an encoder's state m.
        query: features of a decoder's state h.
        outputs: features of the attentional vector h̃.
    """

    def __init__(self, memory: int, query: int, outputs: int) -> None:
        super().__init__()
        self.score = nn.Linear(memory, query, bias=False)
        self.combine = nn.Linear(memory + query, outputs, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        """W m of the encoder's states (batch × steps × features), the same for all queries."""
        keys: Tensor = self.score(memory)
        return keys

    def forward(self, queries: Tensor, keys: Tensor, memory: Tensor, padding: Tensor) -> Tensor:
        """Attentional vectors (batch × queries × outputs).

        Args:
            queries: the decoder's states, batch × queries × features.
            keys: those of ``memory``; see :meth:`keys`.
            memory: the encoder's states, batch × steps × features.
            padding: bool, batch × steps, whether there is no encoder's state.
        """
        scores = torch.bmm(queries, keys.transpose(1, 2))
        weights = scores.masked_fill(padding.unsqueeze(1), -torch.inf).softmax(2)
        context = torch.bmm(weights, memory)
        return torch.tanh(self.combine(torch.cat([context, queries], 2)))
