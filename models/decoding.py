"""Decoding: the most probable output sequence of a network that predicts token after token."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

State = tuple[Tensor, ...]
"""What a decoder knows so far: tensors whose first dimension is the batch."""

Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""From the last tokens (batch) and the state to the logits of the next (batch × tokens) and the
state after it."""


class Hypothesis(NamedTuple):
    """An output sequence without its end, and its log-probability after length normalisation."""

    tokens: list[int]
    score: float


def greedy(step: Step, state: State, limits: Tensor, begin: int, end: int) -> list[list[int]]:
    """Take the most probable token at every step, sentence by sentence of a batch.

    Args:
        step: the decoder.
        state: its state before the first token.
        limits: the most tokens of each sentence, its end included.
        begin: the token that stands before the first.
        end: the token that stands after the last.

    Returns:
        The tokens of each sentence without its end.
    """
    sentences = torch.arange(len(limits), device=limits.device)
    outputs: list[list[int]] = [[] for _ in sentences]
    tokens = torch.full_like(limits, begin)
    length = 0
    while len(sentences):
        length += 1
        logits, state = step(tokens, state)
        tokens = logits.argmax(1)
        going = (tokens != end) & (length < limits)
        for sentence, token in zip(sentences[going].tolist(), tokens[going].tolist(), strict=True):
            outputs[sentence].append(token)
        sentences, tokens, limits = sentences[going], tokens[going], limits[going]
        state = tuple(part[going] for part in state)
    return outputs


def beam_search(
    step: Step,
    state: State,
    limits: Tensor,
    begin: int,
    end: int,
    beam: int,
    length_normalisation: float,
) -> list[Hypothesis]:
    """The best output of each sentence among those that a search of limited width meets.

    All sentences of the batch are searched at once, each until as many outputs as the beam is wide
    have come to their end, or until its limit, at which nothing but the end may follow. What is
    found for a sentence does not depend on the others, but for rounding.

    Args:
        step: the decoder.
        state: its state before the first token.
        limits: the most tokens of each sentence, its end included.
        begin: the token that stands before the first.
        end: the token that stands after the last.
        beam: how many unfinished outputs are followed.
        length_normalisation: outputs are compared by log-probability / length**this, the end being
            counted; 0 compares the probabilities themselves, which favours short ones.
    """
    finished: list[list[Hypothesis]] = [[] for _ in limits]
    sentences = torch.arange(len(limits), device=limits.device)
    state = tuple(part.repeat_interleave(beam, 0) for part in state)
    tokens = limits.new_full((len(limits), beam), begin)
    outputs = limits.new_empty((len(limits), beam, 0))
    scores: Tensor | None = None
    length = 0
    while len(sentences):
        length += 1
        logits, state = step(tokens.flatten(), state)
        steps = F.log_softmax(logits, 1).view(len(sentences), beam, -1)
        vocabulary = steps.shape[2]
        if scores is None:  # all beams are the same yet, so that one is enough
            scores = steps.new_full((len(sentences), beam), -torch.inf)
            scores[:, 0] = 0
        others = torch.arange(vocabulary, device=steps.device) != end
        at_limit = limits == length
        steps = steps.masked_fill(at_limit.view(-1, 1, 1) & others, -torch.inf)
        totals = (scores.unsqueeze(2) + steps).flatten(1)
        # Twice as many as are needed, since half of them may have come to their end.
        best, places = totals.topk(min(2 * beam, totals.shape[1]))
        origins, chosen = places // vocabulary, places % vocabulary
        ends = (chosen == end) | (best == -torch.inf)
        for row, rank in (ends & (best > -torch.inf))[:, :beam].nonzero().tolist():
            found = finished[int(sentences[row])]
            if len(found) < beam:
                path = outputs[row, int(origins[row, rank])].tolist()
                found.append(
                    Hypothesis(path, float(best[row, rank]) / length**length_normalisation)
                )
        going = torch.tensor(
            [len(finished[sentence]) < beam for sentence in sentences.tolist()],
            device=limits.device,
        )
        going &= ~at_limit
        live = ends.to(torch.uint8).argsort(dim=1, stable=True)[going, :beam]
        origins, tokens = origins[going].gather(1, live), chosen[going].gather(1, live)
        scores = best.masked_fill(ends, -torch.inf)[going].gather(1, live)
        before = outputs[going].gather(1, origins.unsqueeze(2).expand(-1, -1, length - 1))
        outputs = torch.cat([before, tokens.unsqueeze(2)], 2)
        rows = (going.nonzero() * beam + origins).flatten()
        state = tuple(part[rows] for part in state)
        sentences, limits = sentences[going], limits[going]
    # A network whose probabilities are no numbers finds nothing to say.
    nothing = Hypothesis([], -math.inf)
    return [max(found, key=lambda each: each.score, default=nothing) for found in finished]
