"""A language model as the lm-evaluation-harness asks one; imported only where that is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from lm_eval.api.model import TemplateLM
from torch import Tensor, nn


class _Question(NamedTuple):
    """Tokens that a model sees, and those at their end and behind them that it is to foretell."""

    seen: Tensor
    answer: Tensor


class Answering(TemplateLM):  # type: ignore[misc]  # whose types are not read
    """Foretells answers to questions.

    Args:
        model: gives logits (batch × steps × tokens) of what follows each token (batch × steps).
        as_tokens: tokens of a text, behind the one that begins texts.
        length: the most tokens that the model sees.
        batch_size: answers that are scored at once.
    """

    def __init__(
        self, model: nn.Module, as_tokens: Callable[[str], Tensor], length: int, batch_size: int
    ) -> None:
        super().__init__()
        self._model, self._as_tokens = model, as_tokens
        self._length, self._batch_size = length, batch_size

    @property
    def eot_token_id(self) -> int:
        """The token that begins texts."""
        return int(self._as_tokens("")[0])

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """The tokens of a text, without the one that begins it."""
        return [int(token) for token in self._as_tokens(string)[1:]]

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """The log-probability of each answer, in nats, and whether it is the most probable text."""
        questions = [self._question(*request.args) for request in requests]
        # Those of like lengths together, so that little is filled up.
        order = sorted(range(len(questions)), key=lambda place: len(questions[place].seen))
        found: dict[int, tuple[float, bool]] = {}
        for start in range(0, len(order), self._batch_size):
            places = order[start : start + self._batch_size]
            scores = self._scores([questions[place] for place in places])
            found.update(zip(places, scores, strict=True))
        return [found[place] for place in range(len(questions))]

    def _question(self, context: str, continuation: str) -> _Question:
        if context:
            before, after = self._encode_pair(context, continuation)
        else:
            before, after = [], self.tok_encode(continuation)
        tokens = torch.tensor([self.eot_token_id, *before, *after])[-self._length - 1 :]
        return _Question(tokens[:-1], tokens[max(1, len(tokens) - len(after)) :])

    def _scores(self, questions: Sequence[_Question]) -> list[tuple[float, bool]]:
        device = next(self._model.parameters()).device
        filled = nn.utils.rnn.pad_sequence([each.seen for each in questions], batch_first=True)
        logits = self._model(filled.to(device))
        scores = []
        for rows, (seen, answer) in zip(logits, questions, strict=True):
            told = rows[len(seen) - len(answer) : len(seen)].log_softmax(1).cpu()
            right = told.gather(1, answer.unsqueeze(1)).sum().item()
            scores.append((right, bool((told.argmax(1) == answer).all())))
        return scores

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> NoReturn:
        raise NotImplementedError("loglikelihood() goes another way")

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> NoReturn:
        """Whole texts are what ``Perplexity`` is for."""
        raise NotImplementedError("ZeroShot.check() refuses such tasks")

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> NoReturn:
        """Answers are chosen, and not written."""
        raise NotImplementedError("ZeroShot.check() refuses such tasks")
