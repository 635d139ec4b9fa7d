"""Translation: pairs of sentences as subwords, learned token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ..errors import UsageError
from .subwords import BEGIN, END, PADDING, UNKNOWN, Subwords
from .task import Batch, Split, Task
from .tokens import NextToken

Pairs = tuple[Sequence[str], Sequence[str]]
"""Sentences and their translations."""

_MOST_UNKNOWN = 0.1


class Translation(NextToken):
    """Translation with cross-entropy over subwords, scored by perplexity.

    An input is a pair of sequences of tokens (2 × steps): the source with the end after it, and the
    target with the beginning before it. The labels are the target with the end after it. All are
    filled up with zeros, which no loss counts.

    A batch consists of pairs of nearly the same length, and of as many tokens of the target as
    ``batch_size`` sentences have on average, so that all batches take about the same work.

    Args:
        splits: for each of train, validation and test the sentences and their translations.
        source: the vocabulary of the sentences.
        target: the vocabulary of their translations, of the same size; it may be the same.
        longest: pairs of more tokens than this are left out of the training split.

    Raises:
        UsageError: many characters of a split are not in the vocabulary.
    """

    padding = PADDING
    begin = BEGIN
    end = END

    def __init__(
        self,
        splits: Mapping[Split, Pairs],
        source: Subwords,
        target: Subwords,
        longest: int = 100,
    ) -> None:
        self._source, self._target = source, target
        self._sentences = splits
        self.classes = len(target)
        self.vocabulary = f"{source.digest} {target.digest}"
        self._tokens: dict[Split, tuple[Tensor, Tensor]] = {}
        for split, (sources, targets) in splits.items():
            pairs = list(
                zip(
                    _encoded(sources, source, f"{split}, source"),
                    _encoded(targets, target, f"{split}, target"),
                    strict=True,
                )
            )
            if split == "train":
                pairs = [pair for pair in pairs if max(map(len, pair)) < longest]
                if not pairs:
                    raise UsageError(
                        f"longest: {longest} is not allowed: all pairs of the training split have "
                        "more tokens"
                    )
            self._tokens[split] = _as_tensors(pairs)
        self.input_shape = (2, self._tokens["test"][0].shape[2])
        self._batch_sizes: dict[tuple[Split, int], list[int]] = {}

    def to(self, device: torch.device) -> Task:
        """The same task, whose batches, inputs and sources are on ``device``."""
        moved = super().to(device)
        if device != self.device:
            moved.sources = lambda *arguments: (  # type: ignore[attr-defined]
                (places, tokens.to(device)) for places, tokens in self.sources(*arguments)
            )
        return moved

    def size(self, split: Split) -> int:
        """Number of pairs of sentences in a split."""
        return len(self._tokens[split][0])

    def steps(self, batch_size: int) -> int:
        """Number of batches in one pass over the training split."""
        return len(self._cut("train", batch_size)[1])

    def batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """One pass over a split, from the shortest sentences to the longest.

        With a ``generator`` the batches come in its random order, and so do pairs of equal length.
        """
        order, sizes = self._cut(split, batch_size, generator)
        batches = order.split(sizes)
        turns = torch.arange(len(batches))
        if generator is not None:
            turns = torch.randperm(len(batches), generator=generator)
        for turn in turns.tolist():
            yield self._batch(split, batches[turn])

    def inputs(self, batch_size: int) -> Tensor:
        """The first ``batch_size`` test pairs, from the start again if there are fewer."""
        return self._batch("test", torch.arange(batch_size) % self.size("test"))[0]

    def sources(self, split: Split, batch_size: int) -> Iterator[tuple[list[int], Tensor]]:
        """The sentences to be translated, in batches of nearly the same length.

        Yields:
            Their places in the split, and their tokens (batch × steps).
        """
        tokens = self._tokens[split][0][:, 0]
        lengths = (tokens != PADDING).sum(1)
        for places in lengths.argsort(stable=True).split(batch_size):
            batch = tokens[places, : int(lengths[places].max())]
            yield places.tolist(), batch.long()

    def references(self, split: Split) -> list[str]:
        """The translations that a split gives, as text."""
        return list(self._sentences[split][1])

    def words(self, split: Split) -> int:
        """Number of words of the translations of a split, by white space, and an end for each."""
        return sum(len(sentence.split()) + 1 for sentence in self.references(split))

    def text(self, tokens: Sequence[int]) -> str:
        """The translation that consists of ``tokens``."""
        return self._target.text(tokens)

    def _cut(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, list[int]]:
        """All pairs in the order of the target's length, and how many of them each batch takes."""
        lengths = (self._tokens[split][1] != PADDING).sum(1)
        if generator is None:
            # Pairs of equal length by the source's length, so that there is less to fill up.
            mixed = (self._tokens[split][0][:, 0] != PADDING).sum(1).argsort(stable=True)
        else:
            mixed = torch.randperm(len(lengths), generator=generator)
        order = mixed[lengths[mixed].argsort(stable=True)]
        if (split, batch_size) not in self._batch_sizes:
            self._batch_sizes[split, batch_size] = _sizes(lengths[order].tolist(), batch_size)
        return order, self._batch_sizes[split, batch_size]

    def _batch(self, split: Split, places: Tensor) -> Batch:
        pairs, labels = (each[places] for each in self._tokens[split])
        width = int((pairs != PADDING).sum(2).max())
        steps = int((labels != PADDING).sum(1).max())
        return pairs[:, :, :width].long(), labels[:, :steps].long()


def _encoded(sentences: Sequence[str], subwords: Subwords, place: str) -> list[list[int]]:
    tokens = subwords.tokens(sentences)
    unknown = sum(sentence.count(UNKNOWN) for sentence in tokens)
    if unknown > _MOST_UNKNOWN * sum(map(len, tokens)):
        share = unknown / sum(map(len, tokens))
        raise UsageError(
            f"{share:.0%} of the tokens of the sentences ({place}) are not in the vocabulary of "
            "the training split: is this the same language and alphabet?"
        )
    return tokens


def _sizes(lengths: Sequence[int], batch_size: int) -> list[int]:
    """How many pairs each batch takes, of pairs in the order of their ``lengths``."""
    most = batch_size * sum(lengths) / len(lengths)
    sizes = [0]
    for length in lengths:
        if sizes[-1] and (sizes[-1] + 1) * length > most:
            sizes.append(0)
        sizes[-1] += 1
    return sizes


def _as_tensors(pairs: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor]:
    """Inputs (pairs × 2 × steps) and labels (pairs × steps), filled up, four bytes a token."""
    width = max((len(sentence) for pair in pairs for sentence in pair), default=0) + 1
    inputs = torch.zeros(len(pairs), 2, width, dtype=torch.int32)
    labels = torch.zeros(len(pairs), width, dtype=torch.int32)
    for place, (source, target) in enumerate(pairs):
        inputs[place, 0, : len(source) + 1] = torch.tensor([*source, END])
        inputs[place, 1, : len(target) + 1] = torch.tensor([BEGIN, *target])
        labels[place, : len(target) + 1] = torch.tensor([*target, END])
    return inputs, labels
