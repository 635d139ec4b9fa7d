"""Scores of a network, kept for those who prune the same one to another target.

A score knows the network and not the target, so that it is the same for all of them; and scoring by
curvature takes longer than a short fine-tuning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...devices import finish

Scores = Mapping[str, Tensor]


class _Scoring(NamedTuple):
    """What a scoring left: scores, what was remembered with them, random state, and its time.

    ``users`` are those that have had it, and ``peak_bytes`` is the memory that pruning took.
    """

    scores: dict[str, Tensor]
    memory: dict[str, Any]
    generator: Tensor
    seconds: float
    users: set[Hashable]
    peak_bytes: int | None = None


class Scorings:
    """The scorings that were used last.

    Args:
        most_bytes: what their tensors may take together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[Hashable, _Scoring] = {}

    def of(self, user: Hashable, *key: Hashable) -> SharedScoring:
        """The scoring of a network by a method: all that scores depend on is in ``key``.

        Args:
            user: who asks; whoever asks again, since it is run once more, has it made once more.
            key: what is scored, and how.
        """
        return SharedScoring(self, user, key)

    def take(self, user: Hashable, key: Hashable) -> _Scoring | None:
        """A copy of a scoring, for whoever is given scores may write into them."""
        scoring = self._kept.pop(key, None)
        if scoring is None or user in scoring.users:
            return None
        scoring.users.add(user)
        self._kept[key] = scoring  # the last one used is the last one to go
        return deepcopy(scoring)

    def keep(self, key: Hashable, scoring: _Scoring) -> None:
        """Keep a copy of a scoring, if it is not too large."""
        if _bytes(scoring) > self._most_bytes:
            return
        try:
            self._kept[key] = deepcopy(scoring)
        except Exception:  # what a method of a user remembers may not be of a kind to be copied
            return
        while sum(map(_bytes, self._kept.values())) > self._most_bytes:
            del self._kept[next(iter(self._kept))]

    def took(self, key: Hashable, peak_bytes: int | None) -> None:
        """Note the memory that the first pruning by a scoring took."""
        if key in self._kept:
            self._kept[key] = self._kept[key]._replace(peak_bytes=peak_bytes)


class SharedScoring:
    """A scoring that is made unless it was made before.

    Attributes:
        seconds_before: what it took when it was made before; 0 if it was not.
        bytes_before: the memory that pruning took then, if that was measured.
    """

    def __init__(self, scorings: Scorings, user: Hashable, key: Hashable) -> None:
        self._scorings, self._user, self._key = scorings, user, key
        self.seconds_before = 0.0
        self.bytes_before: int | None = None

    def scores(
        self, score: Callable[[], Scores], memory: dict[str, Any], generator: torch.Generator
    ) -> Scores:
        """The scores, with ``memory`` and ``generator`` as scoring leaves them.

        Args:
            score: makes the scores.
            memory: what is remembered beside them.
            generator: the source of their randomness.
        """
        known = self._scorings.take(self._user, self._key)
        if known is not None:
            memory.update(known.memory)
            generator.set_state(known.generator)
            self.seconds_before = known.seconds
            self.bytes_before = known.peak_bytes
            return known.scores
        start = time.perf_counter()
        scores = dict(score())
        for device in {each.device for each in scores.values()}:
            finish(device)
        seconds = time.perf_counter() - start
        state = generator.get_state()
        self._scorings.keep(self._key, _Scoring(scores, memory, state, seconds, {self._user}))
        return scores

    def took(self, peak_bytes: int | None) -> None:
        """Note the memory that pruning took, for those who take the scoring from this one."""
        if not self.seconds_before:
            self._scorings.took(self._key, peak_bytes)


def _bytes(scoring: _Scoring) -> int:
    return sum(tensor.nbytes for tensor in _tensors([scoring.scores, scoring.memory]))


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors in a value, in mappings and sequences however deep, and in objects' fields."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
    elif hasattr(value, "__dict__"):
        yield from _tensors(vars(value))
