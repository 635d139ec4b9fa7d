"""Language modelling: text as one stream of tokens, each learned from those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UsageError
from .task import Batch, Split
from .tokens import NextToken


class Stream(NamedTuple):
    """A text as tokens.

    Attributes:
        tokens: one that stands before the text, which is not predicted, and those of the text.
        words: how many words the text has by white space, line ends among them.
        bytes: how many bytes it has in UTF-8.
    """

    tokens: Tensor
    words: int
    bytes: int


class LanguageModelling(NextToken):
    """Language modelling with cross-entropy over tokens, scored by perplexity.

    Each split is one stream, cut into blocks. An input is the tokens of a block (``length``), and
    its labels are the tokens that follow each of them. So every token of the validation and the
    test split is predicted exactly once, the last block being filled up with labels that no loss
    counts. What does not fill a block of the training split at its end is left out.

    Args:
        splits: the text of each of train, validation and test.
        classes: number of tokens of the vocabulary.
        length: tokens of a block.
        stride: how far a block of the validation and the test split begins after the one before,
            whose labels it does not count again. Blocks do not overlap if it is ``length``; a
            smaller one lets each token be predicted from at least ``length - stride`` others (but
            those of the first block).
        vocabulary: what the tokens stand for; see :class:`Task`.
        as_tokens: the tokens of any text (steps), behind the one that begins texts; None where
            there is no text.

    Raises:
        UsageError: the stride is above the length, the training split has less than a block, or
            another no text.
    """

    # Logits of large vocabularies take much memory.
    quality = "Perplexity(batch_size=16)"

    def __init__(
        self,
        splits: Mapping[Split, Stream],
        classes: int,
        length: int,
        stride: int,
        vocabulary: str = "",
        as_tokens: Callable[[str], Tensor] | None = None,
    ) -> None:
        if stride > length:
            raise UsageError(
                f"stride: {stride} is not allowed: it is at most the length of a block, {length}"
            )
        self.input_shape = (length,)
        self.classes = classes
        self.vocabulary = vocabulary
        self.as_tokens = as_tokens
        self._splits = splits
        self._strides: dict[Split, int] = dict.fromkeys(splits, stride) | {"train": length}
        for split in splits:
            least = length if split == "train" else 1
            if self._targets(split) < least:
                raise UsageError(
                    f"the {split} split has {self._targets(split):,} tokens, and blocks of "
                    f"{length} need at least {least} there"
                )
        self._padded = {
            split: torch.cat([stream.tokens, stream.tokens.new_zeros(length)])
            for split, stream in splits.items()
        }

    def size(self, split: Split) -> int:
        """Number of blocks of a split."""
        (length,) = self.input_shape
        if split == "train":
            return self._targets(split) // length
        return 1 + max(0, -(-(self._targets(split) - length) // self._strides[split]))

    def words(self, split: Split) -> int:
        """Number of words of a split by white space, line ends among them."""
        return self._splits[split].words

    def bytes(self, split: Split) -> int:
        """Number of bytes of the text of a split in UTF-8."""
        return self._splits[split].bytes

    def batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """One pass over the blocks of a split; see :meth:`Task.batches`."""
        order = torch.arange(self.size(split))
        if generator is not None:
            order = torch.randperm(len(order), generator=generator)
        for places in order.split(batch_size):
            yield self._batch(split, places)

    def inputs(self, batch_size: int) -> Tensor:
        """The first ``batch_size`` test blocks, from the start again if there are fewer."""
        return self._batch("test", torch.arange(batch_size) % self.size("test"))[0]

    def _targets(self, split: Split) -> int:
        return len(self._splits[split].tokens) - 1

    def _batch(self, split: Split, places: Tensor) -> Batch:
        (length,), stride = self.input_shape, self._strides[split]
        within = torch.arange(length)
        positions = places.unsqueeze(1) * stride + within
        stream = self._padded[split]
        labels = stream[positions + 1].long()
        is_counted = (within >= length - stride) | (places == 0).unsqueeze(1)
        is_text = positions < self._targets(split)
        return stream[positions].long(), labels.where(is_counted & is_text, self.padding)
