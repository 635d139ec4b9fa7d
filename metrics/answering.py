"""A language model as the lm-evaluation-harness asks one; imported only where that is installed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from lm_eval.api.model import LM
from torch import Tensor, nn

from ..errors import UsageError


class _Question(NamedTuple):
    """Tokens that a model sees, and those at their end and behind them that it is to foretell."""

    seen: Tensor
    answer: Tensor


class Answering(LM):  # type: ignore[misc]  # whose types are not read
    """Foretells answers to questions, whose texts all begin with the token that begins texts.

    Args:
        model: gives logits (batch × steps × tokens) of what follows each token (batch × steps).
        as_tokens: tokens of a text (steps), behind the one that begins texts.
        length: the most tokens that the model sees; of longer texts it sees the end.
        batch_size: answers that are scored at once.

    Attributes:
        without_numbers: whether the network gave what is no number for some answer.
    """

    def __init__(
        self, model: nn.Module, as_tokens: Callable[[str], Tensor], length: int, batch_size: int
    ) -> None:
        super().__init__()
        self._model, self._as_tokens = model, as_tokens
        self._length, self._batch_size = length, batch_size
        self.without_numbers = False

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """The log-probability of each answer, in nats, and whether it is the most probable text.

        Args:
            requests: each has a context and an answer as its ``args``.
            disable_tqdm: part of the harness's interface; no progress is shown in either case.
        """
        questions = [self._question(*request.args) for request in requests]
        # Those of like lengths together, so that little is filled up.
        order = sorted(range(len(questions)), key=lambda place: len(questions[place].seen))
        found: dict[int, tuple[float, bool]] = {}
        for start in range(0, len(order), self._batch_size):
            places = order[start : start + self._batch_size]
            scores = self._scores([questions[place] for place in places])
            found.update(zip(places, scores, strict=True))
        return [found[place] for place in range(len(questions))]

    def _question(self, context: str, answer: str) -> _Question:
        # Spaces belong to the word behind them, as all models of the harness have it.
        before = self._as_tokens(context.rstrip())
        tokens = self._as_tokens(context + answer).long()
        # An answer that merges with the end of its context is the last token.
        answered = max(1, len(tokens) - len(before))
        tokens = tokens[-self._length - 1 :]
        return _Question(tokens[:-1], tokens[max(1, len(tokens) - answered) :])

    def _scores(self, questions: Sequence[_Question]) -> list[tuple[float, bool]]:
        device = next(self._model.parameters()).device
        filled = nn.utils.rnn.pad_sequence([each.seen for each in questions], batch_first=True)
        logits = self._model(filled.to(device))
        scores = []
        for rows, (seen, answer) in zip(logits, questions, strict=True):
            told = rows[len(seen) - len(answer) : len(seen)].log_softmax(1).cpu()
            right = told.gather(1, answer.unsqueeze(1)).sum().item()
            self.without_numbers |= math.isnan(right)
            scores.append((right, bool((told.argmax(1) == answer).all())))
        return scores

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> NoReturn:
        """Refuse: whole texts are what ``Perplexity`` is for.

        Raises:
            UsageError: always.
        """
        raise UsageError("metric ZeroShot scores answers: Perplexity scores whole texts")

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> NoReturn:
        """Refuse: answers are chosen here, and none is written.

        Raises:
            UsageError: always.
        """
        raise UsageError("metric ZeroShot has answers chosen, and none written")
